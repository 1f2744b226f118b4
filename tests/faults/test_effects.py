"""Effects on the outside world, over deaths at every moment between recording, doing and marking one."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .rig import Rig, until

POINTS = ("recorded", "asked", "answered")
WORKERS = {"th": ("thread", 2), "pr": ("process", 1)}

BODY = """
import http.client, json

def ask(point, **body):
    line = http.client.HTTPConnection("127.0.0.1", {port}, timeout=20)
    line.request("POST", "/" + point, json.dumps({{"worker": ctx.worker, **body}}))
    assert line.getresponse().read() == b"ok"
    line.close()

number = ctx.state.get(ctx.instance, 0)
ctx.outbox.put("order", f"{{ctx.instance}} {{number}}", number)
ask("recorded")
ctx.state[ctx.instance] = number + 1
for effect in ctx.outbox.due("order"):
    with effect:
        ask("asked", order=effect.key, key=effect.idempotency_key)
        ask("answered")
"""


class Receiver:
    """A shop on loopback that fills an order once for each idempotency key, as payment services do.

    Each `strike` is called once, when its worker comes to its point; that worker gets no answer.
    """

    def __init__(self) -> None:
        self.filled: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._strikes: dict[tuple[str, str], Callable[[], object]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with suppress(OSError):  # whoever asked is dead
                    if receiver.take(self.path[1:], body):
                        self.send_response(200)
                        self.end_headers()
                        self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def strike_at(self, worker: str, point: str, strike: Callable[[], object]) -> None:
        with self._lock:
            self._strikes[worker, point] = strike

    @property
    def struck(self) -> bool:
        return not self._strikes

    def take(self, point: str, body: dict[str, Any]) -> bool:
        with self._lock:
            if point == "asked":
                self.asked[body["key"]] += 1
                self.filled.setdefault(body["key"], body["order"])
            strike = self._strikes.pop((body["worker"], point), None)
        if strike is not None:
            strike()
        return strike is None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.timeout(120)
def test_an_effect_takes_place_once_whenever_its_manager_is_killed(rig: Rig, receiver: Receiver) -> None:
    for name, (runtime, replicas) in WORKERS.items():
        rig.python(name, BODY.format(port=receiver.port), runtime=runtime, replicas=replicas, every_s=0.05)
    for point in POINTS:
        for name in WORKERS:
            pid = rig.start()
            receiver.strike_at(name, point, lambda pid=pid: os.kill(pid, signal.SIGKILL))
            until(lambda: receiver.struck, f"{name} was killed when it had {point}")
            until(lambda: not rig.managers(), "the manager is dead")
    before = _filled(receiver)
    rig.start()
    until(lambda: all(_filled(receiver)[name] > before[name] + 2 for name in WORKERS), "all go on")
    assert rig.stop() == ()
    instances = sum(replicas for _, replicas in WORKERS.values())
    _check(rig, receiver, WORKERS, twice=len(POINTS) * len(WORKERS) * instances)


@pytest.mark.timeout(60)
def test_an_effect_takes_place_once_whenever_its_process_is_killed(rig: Rig, receiver: Receiver) -> None:
    body = "ctx.state['pid'] = os.getpid()\n" + BODY.format(port=receiver.port)
    for point in POINTS:  # which is the worker's name too
        rig.python(point, body, runtime="process", every_s=0.05)
        kill = lambda name=point: os.kill(rig.ledger.state.get(name, "pid"), signal.SIGKILL)  # noqa: E731
        receiver.strike_at(point, point, kill)
    rig.start()
    until(lambda: receiver.struck, "each was killed once")
    before = _filled(receiver)
    until(lambda: all(_filled(receiver)[name] > before[name] + 2 for name in POINTS), "all go on")
    assert rig.stop() == ()
    _check(rig, receiver, POINTS, twice=len(POINTS))


def _filled(receiver: Receiver) -> Counter[str]:
    return Counter(order.split("#")[0] for order in list(receiver.filled.values()))


def _check(rig: Rig, receiver: Receiver, workers: Iterable[str], twice: int) -> None:
    """`twice`: so many may have been asked for again."""
    keys = defaultdict(list)
    for key, order in receiver.filled.items():
        keys[order].append(key)
    assert {order: len(found) for order, found in keys.items()} == dict.fromkeys(keys, 1), "one key for each order"
    assert sum(receiver.asked.values()) - len(receiver.asked) <= twice
    recorded = {effect.key: effect for name in workers for effect in rig.ledger.outbox.of(name)}
    numbers = defaultdict(set)
    for order, effect in recorded.items():
        instance, number = order.split(" ")
        numbers[instance].add(int(number))
        assert effect.state != "done" or keys[order] == [effect.idempotency_key], "what is marked done was done"
    for instance, found in numbers.items():
        assert found == set(range(max(found) + 1)), f"{instance} lost an order"
    assert set(keys) <= set(recorded), "nothing is done that was not recorded"
    left = [effect for effect in recorded.values() if effect.state != "done"]
    assert len(left) <= len(numbers), "only what was recorded last may wait"
