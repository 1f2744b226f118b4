"""Media for posts on X, by paths that tweepy does not wrap yet: images at once, GIFs and video in parts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from platforms.base import BadAnswer, Declined, InvalidRequest, Unreachable
from platforms.line import Stopped
from platforms.reading import readable
from platforms.twitter_types import Media
from platforms.twitter_wire import understood

_PART = 4_000_000
_MOST_CHECKS = 120
_LONGEST_CHECK_S = 30.0
_ALT_CHARS = 1000

Step = Callable[..., dict[str, Any]]  # method, route, json or params: the `data` of the answer


class Kind(NamedTuple):
    name: str
    type: str
    most: int

    @property
    def category(self) -> str:
        return f"tweet_{self.name}"


_IMAGE, _GIF, _VIDEO = 5_000_000, 15_000_000, 512_000_000
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", Kind("image", "image/png", _IMAGE)),
    (0, b"\xff\xd8\xff", Kind("image", "image/jpeg", _IMAGE)),
    (0, b"GIF8", Kind("gif", "image/gif", _GIF)),
    (8, b"WEBP", Kind("image", "image/webp", _IMAGE)),
    (4, b"ftypqt", Kind("video", "video/quicktime", _VIDEO)),
    (4, b"ftyp", Kind("video", "video/mp4", _VIDEO)),
    (0, b"\x1aE\xdf\xa3", Kind("video", "video/webm", _VIDEO)),
)


def upload(step: Step, wait: Callable[[float], bool], file: Path | bytes, alt_text: str | None) -> Media:
    """Raises InvalidRequest before anything is sent where X would not take it; Declined where it could not use it."""
    content = file if isinstance(file, bytes) else _content(file)
    kind = kind_of(content)
    if alt_text is not None and not 0 < len(alt_text) <= _ALT_CHARS:
        raise InvalidRequest(f"a description has 1 to {_ALT_CHARS} characters, not {len(alt_text)}")
    media_id = _at_once(step, content, kind) if kind.name == "image" else _in_parts(step, wait, content, kind)
    if alt_text is not None:
        described = {"id": media_id, "metadata": {"alt_text": {"text": alt_text}}}
        step("POST", "/2/media/metadata", json=described, user_auth=True)
    return Media(media_id, kind.name, len(content))


def kind_of(content: bytes) -> Kind:
    """By its first bytes, whatever its file is called. Raises InvalidRequest."""
    for at, sign, kind in _SIGNATURES:
        if content[at : at + len(sign)] == sign:
            if len(content) > kind.most:
                raise InvalidRequest(
                    f"the {kind.name} has {len(content):,} bytes; X takes {kind.most:,} at most", hint="make it smaller"
                )
            return kind
    raise InvalidRequest("X takes PNG, JPEG, WebP, GIF, MP4, MOV and WebM; this is none of them")


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _VIDEO:
            raise InvalidRequest(f"{path} is larger than X takes ({_VIDEO:,} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from None


def _at_once(step: Step, content: bytes, kind: Kind) -> str:
    sent = {"media": base64.b64encode(content).decode(), "media_category": kind.category}
    return _id(step("POST", "/2/media/upload", json=sent, user_auth=True))


def _in_parts(step: Step, wait: Callable[[float], bool], content: bytes, kind: Kind) -> str:
    begun = {"media_category": kind.category, "media_type": kind.type, "total_bytes": len(content)}
    media_id = _id(step("POST", "/2/media/upload/initialize", json=begun, user_auth=True))
    for number, first in enumerate(range(0, len(content), _PART)):
        part = base64.b64encode(content[first : first + _PART]).decode()
        sent = {"media": part, "segment_index": number}
        step("POST", f"/2/media/upload/{media_id}/append", json=sent, user_auth=True)
    state = step("POST", f"/2/media/upload/{media_id}/finalize", user_auth=True)
    for _ in range(_MOST_CHECKS):
        told, after_s = understood(_progress, state)
        if told == "succeeded":
            return media_id
        if told == "failed":
            raise Declined(f"twitter could not use the {kind.name}", hint="see its rules for codecs, size and length")
        if wait(after_s):
            raise Stopped("twitter's work on the upload was not waited for: the run is to end")
        asked = {"command": "STATUS", "media_id": media_id}
        state = step("GET", "/2/media/upload", params=asked, user_auth=True)
    raise Unreachable(f"twitter has not made the {kind.name} ready in time", hint="try again later")


@readable("twitter")
def _progress(data: dict[str, Any]) -> tuple[str, float]:
    """Its state, and in how many seconds to ask again; what says nothing of it is ready."""
    progress = data.get("processing_info") or {"state": "succeeded"}
    return progress["state"], min(max(float(progress.get("check_after_secs") or 1), 0.1), _LONGEST_CHECK_S)


def _id(data: dict[str, Any]) -> str:
    if not isinstance(data.get("id"), str):
        raise BadAnswer("twitter did not say which upload it made")
    return str(data["id"])
