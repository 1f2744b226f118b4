"""Sixteen spenders at once under four managers, in threads, processes and commands, against one budget in total.

Each writes down what it was granted. Bar: the budget is overshot by exactly 0, and what was granted is what is booked.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from rig import until

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.money import Money
from workers.control import start_background, stop
from workers.deployments import declare, set_budget

DEPARTMENTS = ("north", "east", "south", "west")
LIMIT = Money.parse("6.00", "USD")
AGENT = '''
import os
from decimal import Decimal
from pathlib import Path
from nova.errors import BudgetExceeded
from workers import BaseWorker

PRICES = [Decimal("0.0077"), Decimal("0.0133"), Decimal("0.0031")]


class Spender(BaseWorker):
    """Spends known prices and reservations in turn, of some of which only a part is used."""

    def run(self, ctx):
        journal = Path(os.environ["NOVA_HOME"]) / "granted" / f"{ctx.worker}-{ctx.run_id}"
        with journal.open("a", buffering=1) as granted:
            for number in range(40):
                price = PRICES[(number + ctx.index) % 3]
                if number % 2:
                    ctx.spend(price)
                    paid = price
                else:
                    with ctx.spending(price) as spending:
                        paid = price * (number % 3) / 2 if number % 3 < 2 else price
                        spending.settle(paid)
                granted.write(f"{paid}\\n")
'''
COMMAND = """
for n in 1 2 3 4 5 6 7 8 9 10; do
    echo '{"nova":"spend","amount":"0.0041"}'
    read -r answer <&$NOVA_REPLY_FD
    case $answer in *'"ok": true'*) echo 0.0041 >> $NOVA_HOME/granted/$NOVA_WORKER-$NOVA_RUN ;; esac
done
"""


def prepare(nova: Nova) -> None:
    home = nova.settings.nova_home
    (home / "agents").mkdir(mode=0o700, exist_ok=True)
    (home / "agents" / "spender.py").write_text(AGENT)
    (home / "granted").mkdir()
    set_budget(nova, "fleet", "total", LIMIT, by="bench")
    for department in DEPARTMENTS:
        common = {"department": department, "every": "0.05s", "by": "bench"}
        declare(nova, agent="spender.py:Spender", name=f"{department}-thread", replicas=2, **common)  # type: ignore[arg-type]
        declare(
            nova,
            agent="spender.py:Spender",
            name=f"{department}-process",
            runtime="process",
            env=["NOVA_HOME"],
            **common,
        )  # type: ignore[arg-type]
        declare(nova, agent="shell", name=f"{department}-command", config={"command": COMMAND}, **common)  # type: ignore[arg-type]


def used_up(nova: Nova) -> bool:
    """Everybody was refused, and nothing is held that could come free again."""
    usage = nova.ledger.budgets.usage("fleet", "total")
    left = LIMIT - usage.spent - usage.reserved
    everybody = nova.fleet.snapshot().deployments.values()
    stopped = all(one.pause_reason == "budget" and one.needs is not None and left < one.needs for one in everybody)
    return stopped and not usage.reserved


def granted(nova: Nova) -> dict[str, Money]:
    """By kind of spender, as they wrote it down themselves."""
    sums = dict.fromkeys(("thread", "process", "command"), Money.zero("USD"))
    for path in (nova.settings.nova_home / "granted").iterdir():
        kind = path.name.split("-")[1]
        sums[kind] = Money.total((Money.parse(line, "USD") for line in path.read_text().split()), "USD") + sums[kind]
    return sums


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        os.environ["NOVA_HOME"] = folder
        nova = build(load_settings(cwd=Path(folder)))
        prepare(nova)
        began = time.monotonic()
        for department in DEPARTMENTS:
            start_background(nova.settings, department)
        try:
            until(lambda: used_up(nova), 180)
            took_s = time.monotonic() - began
        finally:
            stop(nova.settings, 20.0)
        spent = nova.ledger.budgets.usage("fleet", "total").spent
        booked, by_kind = nova.ledger.reports.report().total.cost, granted(nova)
        problem = nova.ledger.verify().first_bad
        nova.close()
    overshoot = max(0, spent.micros - LIMIT.micros)
    whole = Money.total(by_kind.values(), "USD")
    shares = ", ".join(f"{kind} {amount}" for kind, amount in by_kind.items())
    print(f"16 spenders under 4 managers, {took_s:.1f} s: spent {spent} of {LIMIT} (granted to {shares})")
    state = problem or "the ledger is whole"
    print(f"overshoot {overshoot} millionths (bar 0); granted {whole}, booked {booked}; {state}")
    every_kind = all(amount.micros for amount in by_kind.values())
    return 0 if not overshoot and spent == whole == booked and every_kind and problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
