"""`nova serve` as a sender, a browser and an operator meet it: the real program, over the wire."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from nova.bootstrap import build
from nova.config import load_settings
from nova.link_tokens import link_key, token_of
from nova.people import CLICK, subject_of_click, subject_of_email
from tests import signing
from tests.acceptance.conftest import Home, until

SECRET = "gumroad-pings-nevershown00"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"}


@dataclass
class Server:
    home: Home
    process: subprocess.Popen[str]
    port: int

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request(method, path, body, dict(headers or {}))
            answer = line.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            line.close()

    def post(self, name: str, body: bytes, headers: Mapping[str, str]) -> int:
        return self.ask("POST", f"/webhooks/{name}", body, headers)[0]

    def stripe(self, id: str) -> int:
        body = signing.stripe_event(id)
        return self.post("stripe", body, signing.by_stripe(body, time.time()))

    def raw(self, sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 10) as line:
            with suppress(OSError):  # it may hang up before it has all
                line.sendall(sent)
            found = b""
            with suppress(OSError):
                while part := line.recv(65536):
                    found += part
            return found

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=20)
        return self.process.returncode, told


@pytest.fixture
def serve(nova: Home) -> Iterator[Callable[[], Server]]:
    nova.env |= {
        "STRIPE_WEBHOOK_SECRET": signing.STRIPE_SECRET,
        "GUMROAD_WEBHOOK_SECRET": SECRET,
        "SHOP_SECRET": signing.STANDARD_SECRET,
    }
    started: list[subprocess.Popen[str]] = []

    def start() -> Server:
        process = nova.start("serve", "--port", "0", "--json")
        started.append(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or json.dumps(process.communicate()))
        return Server(nova, process, int(told["address"].rpartition(":")[2]))

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def ledger(home: Home) -> Iterator[object]:
    nova = build(load_settings({"NOVA_HOME": str(home.path)}, home.path))
    try:
        yield nova.ledger
    finally:
        nova.close()


def test_what_is_asked_is_answered_in_one_line_and_no_secret_is_logged(serve: Callable[[], Server]) -> None:
    server = serve()
    body = signing.stripe_event("evt_1")
    good = signing.by_stripe(body, time.time())
    assert server.ask("POST", "/webhooks/stripe", body, good)[::2] == (200, b'{"received":true}')
    assert server.post("stripe", body[:-1], good) == 401
    assert server.post("stripe", body, signing.by_stripe(body, time.time() - 600)) == 401
    assert server.post("stripe", body, signing.by_stripe(body, time.time() + 600)) == 401
    assert server.post("stripe", body, {}) == 400
    assert server.post("stripe", b"", {}) == 400
    assert server.post("stripe/more", body, good) == 404
    assert server.post("nobody", body, good) == 404
    assert server.post(f"gumroad/{SECRET}", b"sale_id=1&test=true", {}) == 200
    assert server.post("gumroad/a-guess-at-it", b"sale_id=1", {}) == 401
    assert server.post("gumroad", b"sale_id=1", {}) == 401
    assert server.ask("GET", f"/webhooks/gumroad/{SECRET}")[0] == 405
    assert server.ask("GET", "/healthz")[::2] == (200, b'{"status":"ok"}')
    for path in (
        "/",
        "/l/",
        "/l/aaaaaaaaaaaa",
        "/l/aaaaaaaaaaaa/",
        "/healthz/",
        "/l/..%2f..",
        "/webhooks",
        "/%00",
        "/docs",
    ):
        status, headers, said = server.ask("GET", path)
        assert status == 404 and headers["content-type"] == "application/json" and said.count(b"\n") == 0
        assert json.loads(said)["error"]
    assert server.raw(b"\x16\x03\x01 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    code, told = server.end()
    assert code == 0
    assert SECRET not in told and "a-guess-at-it" not in told and signing.STRIPE_SECRET not in told
    assert "webhook_refused" in told


def test_a_body_of_ten_megabytes_is_refused_before_it_is_read(serve: Callable[[], Server]) -> None:
    server = serve()
    head = b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\n"
    said = server.raw(head + b"Content-Length: 10000000\r\n\r\n" + b"x" * 1000)
    assert said.startswith(b"HTTP/1.1 413") and b"connection: close" in said.lower()
    chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
    said = server.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 100 + b"0\r\n\r\n")
    assert said == b"" or said.startswith(b"HTTP/1.1 413")  # it hung up on who was still sending
    cut = head + b"Content-Length: 500\r\n\r\n" + b"x" * 100
    with socket.create_connection(("127.0.0.1", server.port), 10) as line:
        line.sendall(cut)
    assert server.stripe("evt_after") == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_acknowledged_is_there_however_it_ends(serve: Callable[[], Server], number: int) -> None:
    server = serve()
    taken: list[str] = []

    def send(who: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            for number in range(100_000):
                if server.stripe(f"evt_{who}_{number}") == 200:
                    taken.append(f"evt_{who}_{number}")

    senders = [threading.Thread(target=send, args=(who,)) for who in range(6)]
    for sender in senders:
        sender.start()
    until("enough were taken", lambda: len(taken) > 150)
    os.kill(server.process.pid, number)
    for sender in senders:
        sender.join(20)
    assert server.process.wait(20) == (0 if number == signal.SIGTERM else -number)
    again = serve()  # the ledger is whole
    assert again.stripe(taken[0]) == 200
    with ledger(server.home) as found:
        kept = {one.id for state in ("waiting", "done") for one in found.deliveries.in_state(state)}  # type: ignore[attr-defined]
    assert set(taken) <= kept and len(kept) <= len(taken) + len(senders)


def test_a_port_that_is_taken_is_said_so(serve: Callable[[], Server]) -> None:
    server = serve()
    done = server.home.run("serve", "--port", str(server.port), code=75)
    assert "is taken" in done.stderr and "Traceback" not in done.stderr
    assert "no address" in server.home.run("serve", "--host", "203.0.113.7", "--port", "0", code=2).stderr


def test_a_socket_of_systemd_is_taken_over(nova: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        command = f"exec 3<&{given.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec nova serve --port 1 --json"
        process = subprocess.Popen(
            ["bash", "-c", command], env=nova.environment, pass_fds=[given.fileno()], stdout=-1, stderr=-1, text=True
        )
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or json.dumps(process.communicate()))
        server = Server(nova, process, given.getsockname()[1])
        assert told["address"].endswith(f":{server.port}") and server.ask("GET", "/healthz")[0] == 200
        assert server.end()[0] == 0


def test_a_link_leads_on_and_counts_people_once_for_whom_it_was_made(serve: Callable[[], Server]) -> None:
    server = serve()
    with ledger(server.home) as found:
        link = found.links.make("mailer", "https://shop.example/p?x=1#top", channel="mail", campaign="may")  # type: ignore[attr-defined]
    path = f"/l/{link.slug}"
    token = token_of(link_key(server.home.path), link.slug, subject_of_email("ann@example.com"))
    status, headers, _ = server.ask("GET", f"{path}?s={token}&url=https://evil.example", headers=PERSON)
    there = urlsplit(headers["location"])
    query = parse_qs(there.query)
    assert status == 302 and (there.netloc, there.path, there.fragment) == ("shop.example", "/p", "top")
    assert query["utm_source"] == ["nova"] and query["utm_campaign"] == ["may"] and query["x"] == ["1"]
    [click] = query[CLICK]
    for method, others in (
        ("GET", {"User-Agent": "Googlebot/2.1"}), ("GET", {}), ("HEAD", PERSON),
        ("GET", {**PERSON, "Sec-Purpose": "prefetch;prerender"}), ("GET", {"User-Agent": "curl/8"}),
    ):  # fmt: skip
        status, headers, _ = server.ask(method, path, headers=others)
        assert status == 302 and CLICK not in headers["location"]
    assert server.ask("GET", f"{path}?s={token}x", headers=PERSON)[0] == 302
    assert server.end()[0] == 0
    with ledger(server.home) as found:
        of_ann = found.touches.of(subject_of_email("ann@example.com"))  # type: ignore[attr-defined]
        same = found.touches.of(subject_of_click(click))  # type: ignore[attr-defined]
    assert [(one.kind, one.worker, one.link) for one in of_ann] == [("click", "mailer", link.slug)]
    assert same == of_ann
    [row] = server.home.json("revenue", "links")["links"]
    assert (row["clicks"], row["worker"], row["campaign"]) == (2, "mailer", "may")


def test_a_dead_delivery_is_seen_mended_and_replayed(serve: Callable[[], Server]) -> None:
    server = serve()
    home = server.home
    home.run("webhooks", "add", "shop", "--secret-env", "SHOP_SECRET", "--amount-path", "sum", "--worker", "mailer")

    def send(body: bytes, id: str) -> int:
        return server.post("shop", body, signing.by_standard(body, time.time(), id))

    body = signing.as_json({"id": "o-1", "total": "12.50"})
    until("the sender is known", lambda: send(body, "msg_1") == 200)
    with ledger(home) as found:
        until("it is dead", lambda: found.deliveries.in_state("dead"))  # type: ignore[attr-defined]
        declared = ("--secret-env", "SHOP_SECRET", "--amount-path", "total", "--worker", "mailer")
        home.run("webhooks", "add", "shop", *declared)
        assert "1 delivery" in home.run("webhooks", "replay").stdout
        until("it is booked", lambda: found.entries.of_object("webhook:shop", "o-1"))  # type: ignore[attr-defined]
    home.run("webhooks", "remove", "shop")
    until("the sender is forgotten", lambda: send(body, "msg_2") == 404)
