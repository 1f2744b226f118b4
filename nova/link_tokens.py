"""Marks on tracked links that say for whom a mail's link is: signed, so that nobody can click for another, and without
the address.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from nova.errors import ConfigInvalid

PARAMETER = "s"
WAY_OUT = "out"  # in the place of a slug: the link takes its reader off every list
_FILE = "link.key"
_KEY_BYTES = 32
_SIGN_BYTES = 12
_PREFIX = "mail:"


def link_key(home: Path) -> bytes:
    """The key of this NOVA_HOME, made where it is missing. Raises ConfigInvalid."""
    path = home / _FILE
    with suppress(OSError):
        found = path.read_bytes()
        if len(found) == _KEY_BYTES:
            return found
    draft = home / f".{_FILE}.{secrets.token_hex(6)}"
    try:
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(secrets.token_bytes(_KEY_BYTES))
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):  # who makes it at the same moment was first
            os.link(draft, path)
        draft.unlink()
        found = path.read_bytes()
    except OSError as problem:
        raise ConfigInvalid(f"{path} cannot be made: {problem.strerror}") from problem
    if len(found) != _KEY_BYTES:
        raise ConfigInvalid(f"{path} is damaged", hint="remove it; links in mails sent so far then name nobody")
    return found


def token_of(key: bytes, slug: str, subject: str) -> str | None:
    """Of one link for one person; None where the subject is no mail's."""
    try:
        person = bytes.fromhex(subject.removeprefix(_PREFIX)) if subject.startswith(_PREFIX) else b""
    except ValueError:
        return None
    return _text(person + _signed(key, slug, person)) if person else None


def subject_in(key: bytes, slug: str, token: str) -> str | None:
    """None for a mark that was not made here, or for another link."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        return None
    person, sign = raw[:-_SIGN_BYTES], raw[-_SIGN_BYTES:]
    good = bool(person) and hmac.compare_digest(sign, _signed(key, slug, person))
    return _PREFIX + person.hex() if good else None


def _signed(key: bytes, slug: str, person: bytes) -> bytes:
    return hmac.new(key, slug.encode() + b"\0" + person, hashlib.sha256).digest()[:_SIGN_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
