"""`nova demo`: sets the stage, plays cron, tells what happens, and sums up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from nova.autonomous.cycle import run_cycle
from nova.cli import render
from nova.cli.layout import folded_text
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

_LONGEST_S = 42.0  # with --quick, the stage included: stopping and summing up may take ten more on a loaded machine
_SHORTEST_S = 15.0  # so that there is something to sum up
_CRON_S = 2.0
_LOOK_S = 0.2
_WIDEST = 100  # lines that are longer are hard to read
_INTRO = (
    "A fleet for half a minute, in a throw-away home. The manager, its worker threads, the ledger, the Stripe SDK, the "
    "sync and the engine are the real ones; the storefront is an emulator on this machine. Only the economics are "
    f"arranged: a second stands for a quarter of an hour, so limits per day are {PACE} times the real ones "
    f"(${50 * PACE:,} need approval)."
)
_CAST = """
  newsletter   sells well
  ads          hardly sells
  research     sells very well, at a price
  summaries    spends, and may spend $0.50 a day
  scraper      fails again and again
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
    begun = time.monotonic()
    _say(console, _INTRO)
    console.print(_CAST)
    with stage(keep=keep) as up:
        play = _Play(up, console, keep, begun)
        try:
            if not quick:
                console.print("It goes on until Ctrl-C. To look around, from another terminal:")
                console.print(f"  NOVA_HOME={up.home} nova workers status\n", soft_wrap=True)
            play.run(quick=quick)
        except KeyboardInterrupt:
            play.interrupted = True
            console.print("\nstopping")
        play.sum_up()
        if keep:
            console.print(f"\nThe home is kept: NOVA_HOME={up.home} nova status", soft_wrap=True)
    return play.curtain()


def _say(console: Console, text: str, indent: int = 0) -> None:
    """Folded between words, without blanks at the end of a line."""
    width = min(console.width, _WIDEST) if console.is_terminal else _WIDEST
    for line in folded_text(printable(text), width - indent):
        console.print(" " * indent + line, soft_wrap=True)


@dataclass(slots=True)
class _Play:
    up: Stage
    console: Console
    keep: bool
    invited: float  # when the whole began; the play itself begins with the stage set
    begun: float = field(default_factory=time.monotonic)
    waiting: list[Act] = field(default_factory=lambda: list(acts()))
    seen: list[Act] = field(default_factory=list)
    told: set[tuple[str, ...]] = field(default_factory=set)
    whole: bool = True
    interrupted: bool = False

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
        now = time.monotonic()
        return now - self.invited >= _LONGEST_S or (not self.waiting and now - self.begun >= _SHORTEST_S)

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
        from rich.text import Text

        words, colour = _told(one)
        head = Text(f"{time.monotonic() - self.begun:5.1f}s  {one.worker:<12}")
        self.console.print(head.append(words, style=f"bold {colour}"))
        _say(self.console, one.reason.partition("\n")[0], indent=8)

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
            home = f"NOVA_HOME={self.up.home} " if self.keep else ""
            what = one.kind.replace("_", " ")
            self.console.print(f"\nwaits for your approval: {what} of {one.worker}, {more} more a day")
            self.console.print(f"  you would answer: {home}nova autonomous approve {one.id}", soft_wrap=True)

    def curtain(self) -> int:
        self.console.print()
        for act in acts():
            title = act.title
            there = any(one.title == title for one in self.seen)
            self.console.print(f"  {'yes' if there else 'NO '}  {title}", style="green" if there else "red")
        if self.waiting or not self.whole:
            self.console.print(f"\n{self._why_not()}", soft_wrap=True)
            return 1
        self.console.print("\nNext, your own script:")
        self.console.print(
            "  nova deploy sales shell --name mailer --every 15m --set command='python3 ~/mailer.py'", soft_wrap=True
        )
        return 0

    def _why_not(self) -> str:
        if not self.whole:
            return "the books do not agree with the shop: please report it"
        if self.interrupted:
            return "it was ended before everything was seen"
        return "not everything was seen; a slow machine may need `nova demo` without --quick"


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
