"""`nova demo`: sets the stage, plays cron, tells what happens, and sums up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from nova.autonomous.cycle import run_cycle
from nova.cli import render
from nova.cli.output import Column, table
from nova.cli.terminal import printable
from nova.demo.acts import Act, acts
from nova.demo.cast import PACE
from nova.demo.stage import Stage, stage
from nova.errors import LockHeld
from nova.ledger.decisions import DecisionRecord
from nova.money import Money
from nova.revenue.sync import sync

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST_S = 48.0  # of the play itself with --quick: the curtain follows within seconds
_SHORTEST_S = 15.0  # so that there is something to sum up
_CRON_S = 2.0
_LOOK_S = 0.2
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_INTRO = f"""\
A fleet for half a minute, in a throw-away home. The manager, its worker threads, the ledger, the Stripe SDK, the sync
and the engine are the real ones; the storefront is an emulator on this machine. Only the economics are arranged: a
second stands for a quarter of an hour, so limits per day are {PACE} times the real ones (${50 * PACE:,} need approval).

  newsletter  sells well          ads      hardly sells            research  sells very well, at a price
  summaries   spends, $0.50/day   scraper  fails again and again
"""
_WORDS = {  # by rule for what the manager enforces, by kind for what the engine decides
    "crash_cooldown": ("cools down", "yellow"),
    "cooldown_over": ("tries again", ""),
    "crash_parked": ("parked", "red"),
    "budget": ("paused by its budget", "yellow"),
    "kill": ("killed", "red"),
    "scale_up": ("scaled up", "green"),
}


def run_demo(*, quick: bool, keep: bool, console: Console) -> int:
    """0 when every act was seen. Without `quick` it goes on until Ctrl-C."""
    console.print(_INTRO, soft_wrap=True)
    with stage(keep=keep) as up:
        play = _Play(up, console)
        if not quick:
            console.print(
                f"Look around from another terminal: NOVA_HOME={up.home} nova workers status   (Ctrl-C ends)\n",
                soft_wrap=True,
            )
        try:
            play.run(quick=quick)
        except KeyboardInterrupt:
            console.print("\nstopping")
        play.sum_up()
        if keep:
            console.print(f"\nThe home is kept: NOVA_HOME={up.home} nova status", soft_wrap=True)
    return play.curtain()


@dataclass(slots=True)
class _Play:
    up: Stage
    console: Console
    begun: float = field(default_factory=time.monotonic)
    waiting: list[Act] = field(default_factory=lambda: list(acts()))
    seen: list[Act] = field(default_factory=list)
    told: set[tuple[str, ...]] = field(default_factory=set)
    whole: bool = True

    def run(self, *, quick: bool) -> None:
        """A customer who found the shop by themselves; then cron's part, a sync and a cycle, every two seconds."""
        stray = self.up.storefront.sell("25.00")
        self.up.storefront.refund(stray, "5.00")
        cron = self.begun + _CRON_S
        while not (quick and self._over()):
            if time.monotonic() >= cron:
                self._cron()
                cron = time.monotonic() + _CRON_S
            self._look()
            time.sleep(_LOOK_S)

    def _over(self) -> bool:
        lasted = time.monotonic() - self.begun
        return lasted >= _LONGEST_S or (not self.waiting and lasted >= _SHORTEST_S)

    def _cron(self) -> None:
        try:
            sync(self.up.nova, ["stripe"])
        except LockHeld:  # the manager's own sync is at it
            return
        run_cycle(self.up.nova)

    def _look(self) -> None:
        history = self.up.nova.ledger.decisions.history()
        for one in reversed(history):
            about = (one.worker, one.kind, one.rule, one.state)
            if about not in self.told and one.state in ("executed", "pending", "failed"):
                self.told.add(about)
                self._tell(one)
        fleet = self.up.nova.fleet.snapshot().deployments
        for act in [act for act in self.waiting if act.seen(fleet, history)]:
            self.waiting.remove(act)
            self.seen.append(act)

    def _tell(self, one: DecisionRecord) -> None:
        from rich.padding import Padding
        from rich.text import Text

        words, colour = _told(one)
        head = Text(f"{time.monotonic() - self.begun:5.1f}s  {one.worker:<12}")
        self.console.print(head.append(words, style=f"bold {colour}"))
        self.console.print(Padding(printable(one.reason.partition("\n")[0]), (0, 0, 0, 8)))

    def sum_up(self) -> None:
        """With the manager stopped, so that nothing moves: the books, and whether they agree with the shop's."""
        from workers.control import stop

        nova = self.up.nova
        stop(nova.settings, 10.0)
        sync(nova, ["stripe"])
        self._profit_and_loss()
        shop = _held(self.up.storefront.account.balance(), nova.settings.nova_currency)
        booked = next(
            (row.totals.revenue for row in nova.ledger.reports.report("source").rows if row.key == "stripe"), None
        )
        ledger, chain = nova.ledger.verify(), nova.ledger.audit.verify()
        self.whole = booked == shop and ledger.ok and chain.ok
        self.console.print(
            f"\nStripe's balance {render.money(shop)}, booked from Stripe {render.money(booked)}: "
            + ("equal to the cent" if booked == shop else "NOT EQUAL")
        )
        self.console.print(f"ledger of {ledger.entries:,} entries and {ledger.runs:,} runs: " + _whole(ledger.ok))
        self.console.print("audit chain: " + _whole(chain.ok))
        self._what_waits()

    def _profit_and_loss(self) -> None:
        report = self.up.nova.ledger.reports.report("worker")
        rows = [
            [row.key, *_figures(row.totals.revenue, row.totals.cost, row.totals.roi_percent)] for row in report.rows
        ]
        rows.append(["unattributed", render.money(report.unattributed.revenue), "", "", ""])
        rows.append(["total", *_figures(report.total.revenue, report.total.cost, report.total.roi_percent)])
        self.console.print()
        table([Column("worker"), *(Column(head, right=True) for head in ("revenue", "cost", "profit", "ROI"))], rows)

    def _what_waits(self) -> None:
        for one in self.up.nova.ledger.decisions.by_state("pending"):
            more = render.money_text(str(one.body["daily_cost_impact"]), self.up.nova.settings.nova_currency)
            said = f"\nwaits for you: {one.kind} of {one.worker}, {more} more a day:  nova autonomous approve {one.id}"
            self.console.print(said, soft_wrap=True)

    def curtain(self) -> int:
        self.console.print()
        for act in acts():
            title = act.title
            there = any(one.title == title for one in self.seen)
            self.console.print(f"  {'yes' if there else 'NO '}  {title}", style="green" if there else "red")
        if self.waiting or not self.whole:
            self.console.print(
                "\nnot everything was seen; a slow machine may need `nova demo` without --quick", soft_wrap=True
            )
            return 1
        self.console.print(
            "\nNext, your own: nova deploy sales shell --name mailer --every 15m --set command='python3 ~/mailer.py'",
            soft_wrap=True,
        )
        return 0


def _told(one: DecisionRecord) -> tuple[str, str]:
    if one.state == "pending":
        return f"{one.kind.replace('_', ' ')} waits for your approval", "cyan"
    return _WORDS.get(one.rule) or _WORDS.get(one.kind) or (one.kind, "")


def _figures(revenue: Money, cost: Money, roi: float | None) -> Iterable[str]:
    return render.money(revenue), render.money(cost), render.money(revenue - cost), render.percent(roi)


def _held(balance: dict[str, object], currency: str) -> Money:
    """Available and pending together."""
    rows = [row for key in ("available", "pending") for row in balance[key]]  # type: ignore[attr-defined]
    mine = (Decimal(row["amount"]) for row in rows if row["currency"] == currency.lower())
    return Money.of(sum(mine, Decimal(0)).scaleb(-2), currency)


def _whole(ok: bool) -> str:
    return "whole" if ok else "DAMAGED"
