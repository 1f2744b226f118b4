"""What X takes for a post, looked at before it is sent."""

from __future__ import annotations

import re
from collections.abc import Sequence

from platforms.base import InvalidRequest
from platforms.twitter_text import LIMIT, weighted_length
from platforms.twitter_types import Poll

_POST = re.compile(
    r"(?:https?://(?:www\.|mobile\.)?(?:x|twitter)\.com/\w+(?:/web)?/status/(\d{1,19})(?:[/?#].*)?|(\d{1,19}))",
    re.ASCII,
)
_USERNAME = re.compile(r"@?(\w{1,15})", re.ASCII)
_BETWEEN = re.compile(r"^[ \t]*-{3,}[ \t]*$", re.MULTILINE)
_NEVER = "\ufffe\ufeff\uffff"


def check_post(
    text: str,
    *,
    poll: Poll | None = None,
    media: Sequence[str] = (),
    quote: str | None = None,
    part: int | None = None,
) -> int:
    """How long X will find it. Raises InvalidRequest for what X would not take."""
    what = "the post" if part is None else f"part {part} of the thread"
    length = weighted_length(text)
    if not text.strip() and not media:
        raise InvalidRequest(f"{what} is empty", hint="give it a text or a picture")
    if length > LIMIT:
        raise InvalidRequest(
            f"{what} is {length} characters long as X counts them, {length - LIMIT} more than the {LIMIT} it may have",
            hint="a link counts 23, an emoji 2; split it into a thread",
        )
    if any(sign in text for sign in _NEVER):
        raise InvalidRequest(f"{what} has a sign that X does not take (U+FFFE, U+FEFF or U+FFFF)")
    if sum(map(bool, (poll, media, quote))) > 1:
        raise InvalidRequest(f"{what} can have one of a poll, media and a quoted post")
    if len(media) > 4:
        raise InvalidRequest(f"{what} can have four pictures at most, not {len(media)}")
    if poll:
        _check_poll(poll)
    return length


def _check_poll(poll: Poll) -> None:
    if not 2 <= len(poll.options) <= 4 or not all(0 < len(option) <= 25 for option in poll.options):
        raise InvalidRequest("a poll has 2 to 4 options of 1 to 25 characters")
    if not 5 <= poll.minutes <= 10_080:
        raise InvalidRequest("a poll is open for 5 minutes to 7 days", hint="give the minutes")


def post_id(text: str) -> str:
    """Of a post, told by its id or its address. Raises InvalidRequest."""
    found = _POST.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(f"no post: {text!r}", hint="give its id or its address, https://x.com/NAME/status/ID")
    return found[1] or found[2]


def username(text: str) -> str:
    """With or without @. Raises InvalidRequest."""
    found = _USERNAME.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(f"no name of a user: {text!r}", hint="it has up to 15 letters, digits and _")
    return found[1]


def parts_of(text: str) -> list[str]:
    """Of a thread: the texts between lines of dashes alone. Raises InvalidRequest where there is none."""
    parts = [part.strip() for part in _BETWEEN.split(text.replace("\r\n", "\n"))]
    found = [part for part in parts if part]
    if not found:
        raise InvalidRequest("the thread is empty", hint="part its posts by lines of ---")
    return found
