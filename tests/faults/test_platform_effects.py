"""Posts on a platform that knows no idempotency key, over deaths between its yes and our mark."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nova.errors import Refused

from .rig import Rig, until

BODY = """
import http.client, json
from platforms.line import Line

hands = ctx.platforms._hands

def ask(path, **body):
    line = http.client.HTTPConnection("127.0.0.1", {port}, timeout=20)
    line.request("POST", path, json.dumps({{"worker": ctx.worker, **body}}))
    answer = json.loads(line.getresponse().read())
    line.close()
    return answer

number = ctx.state.get("number", 0)
line = Line("wall", lambda error: None, hands)
post = lambda key: line.call("post", lambda: ask("/post", number=number), repeatable=False)
find = (lambda key: ask("/find", number=number)) if {finds} else None
hands.once("vendor.post", hands.key("post", str(number)), {{"number": number}}, post, find)
ctx.state["number"] = number + 1
"""


class Wall:
    """What hangs on it was posted, and may be looked for. Each `strike` is called once, when its worker has posted
    something; that worker gets no answer.
    """

    def __init__(self) -> None:
        self.posted: Counter[tuple[str, int]] = Counter()
        self.strikes: dict[str, Callable[[], object]] = {}
        wall = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with suppress(OSError):  # whoever asked is dead
                    answer = wall.answer(self.path, body["worker"], body["number"])
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, worker: str, number: int) -> bytes:
        if path == "/find":
            return json.dumps(number if (worker, number) in self.posted else None).encode()
        self.posted[worker, number] += 1
        strike = self.strikes.pop(worker, None)
        if strike is not None:
            strike()
            raise OSError
        return json.dumps(number).encode()

    def count(self, worker: str) -> int:
        return sum(one == worker for one, _ in list(self.posted))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def wall() -> Iterator[Wall]:
    wall = Wall()
    yield wall
    wall.close()


@pytest.mark.timeout(90)
def test_nothing_is_posted_twice_whenever_the_manager_is_killed(rig: Rig, wall: Wall) -> None:
    finders, doubter = {"finds-th": "thread", "finds-pr": "process"}, "doubts"
    for name, runtime in {**finders, doubter: "process"}.items():
        body = BODY.format(port=wall.port, finds=name in finders)
        rig.python(name, body, runtime=runtime, every_s=0.5 if name == doubter else 0.05)
    for name in (*finders, doubter):
        pid = rig.start()
        until(lambda name=name: wall.count(name) > 1, f"{name} posts")
        wall.strikes[name] = lambda pid=pid: os.kill(pid, signal.SIGKILL)
        until(lambda: not wall.strikes, f"{name} was killed when it had posted")
        until(lambda: not rig.managers(), "the manager is dead")
    before = {name: wall.count(name) for name in finders}
    rig.start()
    until(lambda: all(wall.count(name) > before[name] + 1 for name in finders), "who can look goes on")
    told = until(
        lambda: next((run for run in rig.runs(doubter) if run.error and "not done again" in run.error), None),
        "who cannot look says so",
    )
    assert (told.status, told.crash) == ("failed", False)
    (effect,) = rig.ledger.outbox.of(doubter, ["doubtful"]) or rig.ledger.outbox.of(doubter, ["pending"])
    before_it = wall.count(doubter)
    until(lambda: _settled(rig, doubter, effect.key), "a person says that it was done")
    until(lambda: wall.count(doubter) > before_it, "it goes on")
    assert rig.stop() == ()
    assert set(wall.posted.values()) == {1}
    now = rig.nova.clock.now()
    counted = rig.ledger.platform_calls.sums(now - timedelta(hours=1), now)["wall"]
    assert counted.calls > 0, "what the last manager had counted was written at its end"


def _settled(rig: Rig, worker: str, key: str) -> bool:
    """Not while a run is asking for it."""
    with suppress(Refused):
        rig.ledger.once.settle(worker, key, by="kim")
        return True
    return False
