"""Feeds of what scraper_agent watches, for who bought them: each asks with a key, and gets the file as it is now."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from nova.errors import NovaError
from platforms.base import InvalidRequest, Missing

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from nova.clock import Clock
    from nova.fleet.documents import Deployment

log = logging.getLogger(__name__)

SELLER = "scraper_agent"
PUBLIC, KEYS, GUMROAD = "public", "keys:", "gumroad:"
_TYPES = {".xml": "application/atom+xml", ".json": "application/feed+json"}
_GOOD_S, _BAD_S = 600.0, 60.0
_MOST_KNOWN = 10_000
_STRANGERS, _STRANGERS_S = 30, 60.0  # unknown keys that are asked about at Gumroad in so long
_LONGEST_KEY = 200


class Feeds:
    """`deployments` tells what is declared now; `is_good` asks Gumroad whether a product's licence key is good."""

    def __init__(
        self,
        deployments: Callable[[], Mapping[str, Deployment]],
        is_good: Callable[[str, str], bool],
        data: Path,
        clock: Clock,
    ) -> None:
        self._deployments = deployments
        self._is_good = is_good
        self._data = data
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._asked: list[float] = []

    async def answer(self, request: Request) -> Response:
        return await asyncio.to_thread(self._answer, request.path_params["name"], _key_of(request))

    def _answer(self, name: str, key: str) -> Response:
        one = self._deployments().get(name)
        sold = one is not None and one.agent == SELLER and one.state != "killed"
        config: Mapping[str, Any] = one.config if one is not None and sold else {}
        feed, buyers = config.get("feed"), config.get("buyers")
        if not feed or not buyers:
            return JSONResponse({"error": "no such feed"}, 404)
        try:
            allowed = self._may(str(buyers), key)
        except NovaError as problem:
            log.warning("feed_not_given", extra={"action": "feed_not_given", "feed": name, "error": problem.message})
            return JSONResponse({"error": "the key cannot be looked into now"}, 503, {"retry-after": "60"})
        if allowed is None:
            return JSONResponse({"error": "too many unknown keys"}, 429, {"retry-after": "60"})
        if not allowed:
            return JSONResponse({"error": "the key is not good"}, 401, {"www-authenticate": f'Basic realm="{name}"'})
        path = self._data / Path(str(feed)).expanduser()
        if not path.is_file():
            return JSONResponse({"error": "there is nothing yet"}, 404)
        return FileResponse(
            path, media_type=_TYPES[path.suffix.lower()], headers={"cache-control": "private, max-age=60"}
        )

    def _may(self, buyers: str, key: str) -> bool | None:
        """None: too many keys that nobody knows were tried."""
        if buyers == PUBLIC:
            return True
        if not key or len(key) > _LONGEST_KEY:
            return False
        if buyers.startswith(KEYS):
            return _stands_in(self._data / Path(buyers.removeprefix(KEYS)).expanduser(), key)
        return self._bought(buyers.removeprefix(GUMROAD), key)

    def _bought(self, product: str, key: str) -> bool | None:
        mark, now = hashlib.sha256(f"{product}\0{key}".encode()).digest(), self._clock.monotonic()
        with self._lock:
            good, until = self._known.get(mark, (False, 0.0))
            if now < until:
                return good
            self._asked = [at for at in self._asked if now - at < _STRANGERS_S]
            if not good and len(self._asked) >= _STRANGERS:
                return None
            if not good:
                self._asked.append(now)
        good = self._is_good(product, key)
        with self._lock:
            self._known[mark] = good, now + (_GOOD_S if good else _BAD_S)
            self._known.move_to_end(mark)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return good


def _key_of(request: Request) -> str:
    """By `?key=`, or as feed readers have it: Basic, the key as its password; or Bearer."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    return request.query_params.get("key", "")


def _stands_in(path: Path, key: str) -> bool:
    """A line each; what stands behind a blank is the operator's own note."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    given = key.encode()
    found = False
    for line in lines:
        known = line.split("#")[0].split()
        found |= bool(known) and hmac.compare_digest(known[0].encode(), given)
    return found


def licensed(nova: Nova, product: str, key: str) -> bool:
    """Whether Gumroad knows the key, for an access that stands. Raises what says that it cannot be asked."""
    try:
        license = nova.platforms.gumroad.verify_license(product, key)
    except (Missing, InvalidRequest):
        return False
    return bool(license.good(nova.clock.now()))
