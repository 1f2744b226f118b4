"""Measures how many webhooks one `nova serve` takes: Stripe's signature verified, durable, then acknowledged.

wrk sends with 32 connections, each event under an id of its own, while the server looks into what came (a sync with an
emulated Stripe). Then the server is killed in the middle of a second round, and what was acknowledged is looked for.

Run: python tests/benchmarks/webhooks.py [SECONDS]      (needs wrk: apt-get install wrk)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from nova.demo.storefront import Storefront
from nova.demo.stripe_account import Account

CONNECTIONS = 32
LEAST_A_SECOND = 2000
MOST_P99_MS = 50.0
SECRET = "whsec_of_the_benchmark"
_PREPARED_A_SECOND = 6000

SCRIPT = """
function init(args)
  lines, sent = {}, 0
  for line in io.lines(args[1]) do lines[#lines + 1] = line end
end
function request()
  sent = sent + 1
  local headers = {["Stripe-Signature"] = lines[2 * sent - 1], ["Content-Type"] = "application/json"}
  return wrk.format("POST", "/webhooks/stripe", headers, lines[2 * sent])
end
function done(summary, latency, requests)
  local failed = summary.errors.status
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f\\n", summary.requests, failed, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""


def write_requests(path: Path, count: int) -> None:
    """A line with the signature and a line with the event, in turn."""
    charge = {"id": "ch_3N", "object": "charge", "amount": 1999, "currency": "usd", "description": "x" * 700}
    rest = {"object": "event", "type": "charge.succeeded", "data": {"object": charge}, "livemode": False}
    told, tail = str(int(time.time())), json.dumps(rest)[1:]
    with path.open("w") as out:
        for _ in range(count):
            body = f'{{"id": "evt_{uuid.uuid4().hex}", {tail}'
            sign = hmac.new(SECRET.encode(), f"{told}.{body}".encode(), hashlib.sha256).hexdigest()
            out.write(f"t={told},v1={sign}\n{body}\n")


@contextmanager
def serving(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    nova = Path(sys.executable).with_name("nova")
    with Storefront(Account()) as shop:
        given = {"STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_KEY": shop.key, "STRIPE_API_BASE": shop.url}
        environ = {"PATH": os.environ["PATH"], "NOVA_HOME": str(home), "NOVA_LOG_LEVEL": "WARNING", **given}
        process = subprocess.Popen([nova, "serve", "--port", "0", "--json"], env=environ, stdout=-1, text=True)
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["address"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def send(address: str, folder: Path, seconds: int) -> subprocess.Popen[str]:
    script, requests = folder / "send.lua", folder / f"requests-{uuid.uuid4().hex}"
    script.write_text(SCRIPT)
    write_requests(requests, _PREPARED_A_SECOND * seconds)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, address, "--", requests]
    return subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True)


def result(wrk: subprocess.Popen[str]) -> tuple[int, int, float, float, float, float]:
    """Acknowledged, refused, seconds, and the median, the 99th percentile and the most in milliseconds."""
    said, _ = wrk.communicate()
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", said)
    if found is None:
        raise SystemExit(said)
    done, failed, us = (int(number) for number in found.groups()[:3])
    return done - failed, failed, us / 1e6, *(float(number) for number in found.groups()[3:])  # type: ignore[return-value]


def stored(home: Path) -> int:
    with sqlite3.connect(home / "ledger.db") as conn:
        return int(conn.execute("SELECT count(*) FROM deliveries").fetchone()[0])


def rate(folder: Path, seconds: int) -> bool:
    home = folder / "rate"
    home.mkdir(0o700)
    with serving(home) as (process, address):
        before = sum(psutil.Process(process.pid).cpu_times()[:2])
        taken, failed, took_s, median, p99, most = result(send(address, folder, seconds))
        cpu_s = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
    kept = stored(home)
    print(
        f"{taken / took_s:,.0f}/s ({taken:,} in {took_s:.1f} s, {failed} refused, {kept:,} stored), "
        f"p50 {median:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms, {1e6 * cpu_s / taken:.0f} µs of processor each, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return taken / took_s >= LEAST_A_SECOND and p99 <= MOST_P99_MS and failed == 0 and kept >= taken


def survives(folder: Path) -> bool:
    """wrk counts what was answered; the events that were under way may be stored and not acknowledged."""
    home = folder / "killed"
    home.mkdir(0o700)
    with serving(home) as (process, address):
        wrk = send(address, folder, 3)
        time.sleep(1.5)
        process.kill()
        process.wait()
        taken = result(wrk)[0]
    kept = stored(home)
    print(f"kill -9: {taken:,} acknowledged, {kept:,} stored, {max(0, taken - kept)} lost")
    return 0 < taken <= kept <= taken + CONNECTIONS


def main() -> int:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        fast, safe = rate(Path(folder), seconds), survives(Path(folder))
    print("as it should be" if fast and safe else f"not {LEAST_A_SECOND}/s with p99 ≤ {MOST_P99_MS:g} ms and none lost")
    return 0 if fast and safe else 1


if __name__ == "__main__":
    sys.exit(main())
