"""Measures the first `revenue sync` of many balance transactions against the bare SDK paging through the same.

Run: python tests/benchmarks/stripe_sync.py [TRANSACTIONS] [ROUNDS]

A local server in a process of its own answers both with the same pages, whose objects stand expanded behind each
transaction. The sync is the command as an operator starts it: fetched, attributed and durably stored; the SDK is a
process that reads every transaction's id and amount. They take turns.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nova.demo.storefront import Storefront

TRANSACTIONS, ROUNDS, BAR = 100_000, 3, 1.3
KEY = "sk_test_benchmark"
_PER_PAGE = 100
_SDK = """
import sys, stripe
stripe.enable_telemetry = False
client = stripe.StripeClient(sys.argv[1], base_addresses={"api": sys.argv[2]})
expand = ["data.source", "data.source.charge", "data.source.payment_intent"]
count = total = 0
for one in client.v1.balance_transactions.list({"limit": 100, "expand": expand}).auto_paging_iter():
    count += 1
    total += one.amount
print(count, total)
"""


def one_page() -> str:
    """100 transactions as the emulator tells them, their ids and times to be filled in by page."""
    import httpx

    with Storefront() as store:
        account = store.account
        for number in range(91):
            sale = store.sell(f"{10 + number}.00", worker=f"worker-{number % 10}" if number % 5 else None)
            if number % 15 == 0:
                store.refund(sale, "3.00")
        account.charge_fee(200, "Radar")
        account.payout(1000, "usd")
        query = "limit=100&expand[]=data.source&expand[]=data.source.charge&expand[]=data.source.payment_intent"
        rows = httpx.get(f"{store.url}/v1/balance_transactions?{query}", auth=(store.key, "")).json()["data"]
    assert len(rows) == _PER_PAGE
    text = json.dumps(rows)
    text = re.sub(r'"created": \d+', '"created": @CREATED', text)
    buyers = iter(range(10_000))
    text = re.sub(r'"email": null', lambda _: f'"email": "buyer{next(buyers)}.@PAGE@example.com"', text)
    rows = json.loads(text.replace("@CREATED", "0"))
    for number, row in enumerate(rows):
        charge = row["source"] if isinstance(row["source"], dict) else {}
        if charge.get("object") == "charge" and charge["metadata"]:
            charge["customer"] = f"cus_emulated{number:012d}@PAGE"
    text = json.dumps(rows).replace('"created": 0', '"created": @CREATED')
    return re.sub(r"_emulated(\d{12})", r"_emulated\1@PAGE", text)


def serve(port: int, pages: int) -> None:
    rows = one_page()
    ids = [row["id"] for row in json.loads(rows.replace("@CREATED", "0"))]
    last = ids[-1].removesuffix("@PAGE")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            known = self.path.startswith("/v1/balance_transactions?")
            after = re.search(r"starting_after=[a-z]+_emulated\d{12}p(\d{6})", self.path)
            page = int(after[1]) + 1 if after else 0
            data = rows.replace("@PAGE", f"p{page:06d}").replace("@CREATED", str(1_790_000_000 - page * 600))
            more = "true" if known and page + 1 < pages else "false"
            head = f'{{"object": "list", "url": "{self.path.partition("?")[0]}", "has_more": {more}, "data": '
            whole = f"{head}{data if known else '[]'}}}".encode()
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_1\r\n"
                b"Content-Length: %d\r\n\r\n" % len(whole) + whole
            )

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    assert last.startswith("txn_")
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def sdk(url: str) -> float:
    began, cpu = time.perf_counter(), _cpu_s()
    done = subprocess.run([sys.executable, "-c", _SDK, KEY, url], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    print(f"  bare SDK: {seconds:6.2f} s, {_cpu_s() - cpu:6.2f} s of processor  {done.stdout.strip()}", flush=True)
    return seconds


def nova(url: str) -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as home:
        environ = {**os.environ, "NOVA_HOME": home, "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": url}
        command = [str(Path(sys.executable).with_name("nova")), "revenue", "sync", "stripe", "--json"]
        began, cpu = time.perf_counter(), _cpu_s()
        done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, cwd=home)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        (source,) = json.loads(done.stdout)["sources"]
        said = {name: source[name] for name in ("fetched", "new", "attributed", "unattributed", "net")}
        print(f"  nova:     {seconds:6.2f} s, {_cpu_s() - cpu:6.2f} s of processor  {said}", flush=True)
        return seconds, source


def _cpu_s() -> float:
    """Of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(transactions: int, rounds: int) -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages = max(1, transactions // _PER_PAGE)
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(port), str(pages)])
    try:
        _wait_for(port)
        url = f"http://127.0.0.1:{port}"
        times: list[tuple[float, float]] = []
        for _ in range(rounds):
            bare = sdk(url)
            seconds, source = nova(url)
            assert source["fetched"] == pages * _PER_PAGE
            times.append((bare, seconds))
    finally:
        server.terminate()
        server.wait(10)
    ratio = statistics.median(seconds / bare for bare, seconds in times)
    bare, seconds = (statistics.median(column) for column in zip(*times, strict=True))
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{pages * _PER_PAGE} transactions: bare SDK {bare:.1f} s, nova {seconds:.1f} s, ratio {ratio:.2f}"
        f" (bar {BAR}); peak {peak_mb:.0f} MB"
    )
    return 1 if ratio > BAR else 0


def _wait_for(port: int) -> None:
    import socket

    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        given = [int(word) for word in sys.argv[1:3]]
        sys.exit(main(*(given + [TRANSACTIONS, ROUNDS][len(given) :])))
