"""How long from the loss of a manager to the first line of its worker under another one. Bar: at most 10 s.

Killed with `kill -9`, stopped in order, and stopped by SIGSTOP; `--times 5` of each.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time

from rig import a_manager, until

from nova.bootstrap import Nova
from nova.fleet.documents import Declaration
from workers.control import start_background, stop

COMMAND = 'while :; do echo "$NOVA_MANAGER" >> "$NOVA_HOME/ran"; sleep 0.01; done'
HOW = {"kill -9": signal.SIGKILL, "stopped in order": signal.SIGTERM, "SIGSTOP": signal.SIGSTOP}


def declare(nova: Nova) -> None:
    nova.fleet.deploy(Declaration("w", "d", "shell", every_s=0.01, config={"command": COMMAND}))


def last(nova: Nova) -> str:
    """The manager under which it ran last."""
    path = nova.settings.nova_home / "ran"
    lines = path.read_text().splitlines() if path.exists() else []
    return lines[-1] if lines else ""


def once(number: signal.Signals) -> float:
    with a_manager(declare) as (nova, first):
        until(lambda: last(nova))
        start_background(nova.settings, "d")
        holder = last(nova)
        began = time.monotonic()
        os.kill(first, number)
        until(lambda: last(nova) not in ("", holder))
        took = time.monotonic() - began
        if number is signal.SIGSTOP:
            os.kill(first, signal.SIGCONT)
        stop(nova.settings, 20.0)
        verified = nova.ledger.verify()
        if not verified.ok:
            raise SystemExit(f"the ledger does not hold together: {verified.first_bad}")
        return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    for name, number in HOW.items():
        took = sorted(once(number) for _ in range(times))
        print(f"{name}: median {statistics.median(took):.2f} s, worst {took[-1]:.2f} s (bar 10 s)")


if __name__ == "__main__":
    main()
