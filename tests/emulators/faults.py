"""What networks and vendors do to a request, and what every client of a platform promises then.

`Faulty` stands between a client and the emulator of its vendor; `FAULTS` is the table that each client is held to by
`hold_reading` and `hold_effect`. `python -m tests.emulators.faults` prints it as docs/platforms.md has it.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

import pytest

from nova.errors import NovaError
from platforms.base import (
    BadAnswer,
    Conflicting,
    Forbidden,
    InvalidRequest,
    Missing,
    PlatformRefused,
    RateLimited,
    Unreachable,
    nothing_done,
)  # fmt: skip
from tests.emulators.loopback import Loopback
from tests.hands import QuickHands

ASKED_S = 7
LONGEST_S = 15.0  # of all that a client does about silence, with timeouts below a second


@dataclass(frozen=True, slots=True)
class Fault:
    """`raises` when it stays so; a reading is made again where it is `passing`. `act` is what the server does.

    `carried_out`: the vendor does what it was asked for, and the answer goes wrong.
    """

    name: str
    raises: type[NovaError]
    act: Literal["answer", "hang", "reset", "garbage", "html", "drip"] = "answer"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    passing: bool = False
    carried_out: bool = False


FAULTS = (
    Fault("401", PlatformRefused, status=401),
    Fault("403", Forbidden, status=403),
    Fault("404", Missing, status=404),
    Fault("409", Conflicting, status=409),
    Fault("422", InvalidRequest, status=422),
    Fault("429 with a time", RateLimited, status=429, headers=(("Retry-After", str(ASKED_S)),), passing=True),
    Fault("429 without a time", RateLimited, status=429, passing=True),
    Fault("500", Unreachable, status=500, passing=True),
    Fault("503", Unreachable, status=503, passing=True),
    Fault("timeout", Unreachable, "hang", passing=True),
    Fault("reset in the middle of a body", Unreachable, "reset", passing=True),
    Fault("not JSON", BadAnswer, "garbage", passing=True),
    Fault("another type", BadAnswer, "html", passing=True),
    Fault("drip", Unreachable, "drip", passing=True),
)
_SILENT = ("hang", "drip")


def seconds_for(fault: Fault | None) -> tuple[float, float]:
    """How long a client may wait for a byte, and for the whole: short only where that is what is tried, so that a slow
    machine is no fault.
    """
    return (0.5, 0.8) if fault is not None and fault.act in _SILENT else (10.0, 20.0)


def fault_of(request: pytest.FixtureRequest) -> Fault | None:
    """What the test that a fixture is made for is about."""
    about = getattr(request.node, "callspec", None)
    return None if about is None else about.params.get("fault")


each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
# Where nobody can tell whether the vendor did it: the request is carried out, and then this comes back.
LOST = tuple(
    replace(fault, carried_out=True)
    for fault in FAULTS
    if fault.act != "answer" or fault.status >= 500
)  # fmt: skip
each_lost_answer = pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)


class Held(NamedTuple):
    """Where a client is held to the table: the functions, of a file under tests/integration."""

    client: str
    file: str
    reading: str
    effect: str
    unlike: str


CLIENTS = (
    Held("Stripe", "stripe/test_faults.py", "test_a_reading_waits_out_what_passes",
         "test_whatever_comes_back_there_is_one_payment_at_most",
         "each effect bears an idempotency key, and is made again like a reading"),
    Held("Gumroad", "gumroad/test_faults.py", "test_a_reading_waits_out_what_passes",
         "test_whatever_comes_back_there_is_one_refund_at_most",
         "a refund in doubt is looked for on its sale"),
    Held("SendGrid", "sendgrid/test_mail.py", "test_what_goes_wrong_with_a_reading",
         "test_whatever_comes_back_a_mail_is_sent_once_at_most", "a mail in doubt stays so"),
    Held("X", "twitter/test_reading.py", "test_a_reading_holds_the_promises", "",
         "a post in doubt is looked for among the account's own"),
    Held("X, posting", "twitter/test_posting.py", "", "test_whatever_comes_back_there_is_one_post_at_most", ""),
    Held("web scraper", "scraper/test_faults.py", "test_a_page_waits_out_what_passes", "",
         "every other status is `PlatformFailed`, at once; so is what is no page, and HTML is one"),
    Held("language models", "agents/test_llm_faults.py", "",
         "test_a_question_is_asked_again_only_where_nothing_was_done",
         "a question is an effect, since it is paid for; 5xx did nothing, so it is waited for like 429"),
)  # fmt: skip
_NAMES = {
    "429 with a time": "429 with `Retry-After`", "429 without a time": "429 without it", "timeout": "no answer in time",
    "reset in the middle of a body": "cut off in the middle of a body", "another type": "another content type",
    "drip": "an answer that drips",
}  # fmt: skip


def table() -> str:
    """As docs/platforms.md has it."""
    lines = ["| what comes back | error in the end | a reading | an effect |", "|---|---|---|---|"]
    for fault in FAULTS:
        told = _NAMES.get(fault.name, fault.name)
        lines.append(f"| {told} | `{fault.raises.__name__}` | {_reading(fault)} | {_effect(fault)} |")
    clients = [f"| {one.client} | {one.unlike} |" for one in CLIENTS if one.unlike]
    return "\n".join([*lines, "", "| client | in its own way |", "|---|---|", *clients])


def _reading(fault: Fault) -> str:
    if not fault.passing:
        return "told at once"
    return "made again after that time" if fault.headers else "made again, after waits that double"


def _effect(fault: Fault) -> str:
    if not fault.passing:
        return "was not done; told at once"
    return "was not done; made again" if nothing_done(fault.raises()) else "never a second time: keyed, or in doubt"


class Faulty(Loopback):
    """A context manager: requests to `url` reach `upstream`, unless a fault is planned for them.

    `said` makes the body of a refusal as the vendor writes it. A drip sends a byte every `drip_s`.
    """

    def __init__(
        self,
        upstream: str,
        said: Callable[[int], Any] = lambda status: {"error": f"refused with {status}"},
        drip_s: float = 0.02,
    ) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.said = said
        self.drip_s = drip_s
        self.ended = threading.Event()
        self.requests: list[str] = []
        self.keys: set[str] = set()  # that requests bore
        self._planned: list[list[Any]] = []
        self._lock = threading.Lock()
        self.listen(_Handler)

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        super().__exit__()

    def plan(self, fault: Fault, times: int = 1, method: str | None = None) -> None:
        """For the next `times` requests, of that method where one is given."""
        with self._lock:
            self._planned.append([fault, times, method])

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()
            self.requests.clear()

    def bears(self, authorization: str) -> None:
        """A vendor may quote a key that it refuses, and so does this one. OAuth's signature is no secret."""
        scheme, _, key = authorization.partition(" ")
        if key and scheme.lower() in ("bearer", "basic"):
            self.keys.add(key)

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            for planned in self._planned:
                if planned[1] > 0 and planned[2] in (None, method):
                    planned[1] -= 1
                    fault: Fault = planned[0]
                    return fault
        return None


def hold_reading(fault: Fault, faulty: Faulty, hands: QuickHands, read: Callable[[], Any]) -> None:
    """What passes is waited out, as long as was asked for; the rest is told by its error at once.

    The client must have the patience for two attempts, no more, and timeouts well below a second. No error shows a key.
    """
    faulty.plan(fault)
    began = time.monotonic()
    if fault.passing:
        read()
        assert len(faulty.requests) == 2, faulty.requests
        asked = dict(fault.headers).get("Retry-After")
        assert len(hands.slept) == 1 and (asked is None or ASKED_S <= hands.slept[0] <= ASKED_S * 1.5)
    else:
        _raises(fault, faulty, read)
        assert len(faulty.requests) == 1, faulty.requests
        assert hands.slept == []
    faulty.clear()
    hands.now += 3600
    faulty.plan(fault, times=99)
    _raises(fault, faulty, read)
    assert fault.act not in _SILENT or time.monotonic() - began < LONGEST_S


def hold_effect(
    fault: Fault, faulty: Faulty, act: Callable[[], Any], done: Callable[[], int], method: str = "POST"
) -> None:
    """Whatever comes back, and however often it is asked for under one key, the vendor has `done` it at most once.

    What was surely not done is done in the end.
    """
    faulty.plan(fault, method=method)
    began = time.monotonic()
    for _ in range(3):
        try:
            act()
        except NovaError as problem:  # anything else fails the test
            _shows_no_key(problem, faulty)
    assert done() <= 1, faulty.requests
    assert done() == 1 or not (fault.carried_out or nothing_done(fault.raises())), faulty.requests
    assert fault.act not in _SILENT or time.monotonic() - began < LONGEST_S


def _raises(fault: Fault, faulty: Faulty, read: Callable[[], Any]) -> None:
    with pytest.raises(fault.raises) as caught:
        read()
    assert caught.value.message and "\n" not in caught.value.message
    _shows_no_key(caught.value, faulty)
    if fault.status == 429 and fault.headers:
        assert caught.value.retry_after_s == ASKED_S  # type: ignore[attr-defined]


def _shows_no_key(problem: NovaError, faulty: Faulty) -> None:
    told = "".join(traceback.format_exception(problem)) + repr(problem) + str(problem.hint)
    assert not [key for key in faulty.keys if key in told], told


def _quoting(said: Any, authorization: str) -> Any:
    """The same with what the request bore behind every text of words."""
    if isinstance(said, dict):
        return {name: _quoting(one, authorization) for name, one in said.items()}
    if isinstance(said, list):
        return [_quoting(one, authorization) for one in said]
    return f"{said} ({authorization})" if isinstance(said, str) and " " in said else said


class _Handler(BaseHTTPRequestHandler):
    emulator: ClassVar[Faulty]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.emulator.bears(self.headers.get("Authorization", ""))
        fault = self.emulator.next_fault(self.command, self.path)
        if fault is None or fault.carried_out:
            status, headers, content = self._forwarded(body)
            if fault is None:
                self._answer(status, headers, content)
                return
        self._go_wrong(fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815 - as http.server calls them

    def _go_wrong(self, fault: Fault) -> None:
        sent = json.dumps(_quoting(self.emulator.said(fault.status), self.headers.get("Authorization", ""))).encode()
        plain = {"Content-Type": "application/json"}
        self.close_connection = True
        if fault.act == "answer":
            self._answer(fault.status, {**plain, **dict(fault.headers)}, sent)
        elif fault.act == "hang":
            self.emulator.ended.wait(20)
        elif fault.act == "garbage":
            self._answer(200, plain, b'{"id": "x_1", "object": ')
        elif fault.act == "html":
            self._answer(200, {"Content-Type": "text/html"}, b"<html><body>Be right back</body></html>")
        elif fault.act == "reset":
            self._head(200, {**plain, "Content-Length": "1000"})
            self.wfile.write(b'{"id": "x_1"')
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self._drip(plain)

    def _drip(self, plain: dict[str, str]) -> None:
        self._head(200, {**plain, "Content-Length": "100000"})
        while not self.emulator.ended.wait(self.emulator.drip_s):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(*self.emulator.upstream, timeout=20)
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "accept-encoding")}
            upstream.request(self.command, self.path, body, kept)
            answer = upstream.getresponse()
            content = answer.read()
            drop = ("content-length", "connection", "transfer-encoding", "date", "server")
            return answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in drop}, content
        finally:
            upstream.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(content))})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:  # said, so that no client sends its next request into it
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: `requests` tells."""


if __name__ == "__main__":
    print(table())
