"""nova workers run: one run now, in this terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from nova.cli import render
from nova.cli.output import emit
from nova.cli.params import AsJson, Worker
from nova.cli.session import session
from nova.cli.terminal import note, printable

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from workers.foreground import ForegroundRun
    from workers.hosts.base import RunEnded

_REFUSED = 4
_INTERRUPTED = 130


def run(name: Worker, json: AsJson = False) -> None:
    """Run a deployment once, now, in this terminal.

    As the manager would: with its configuration, budgets, state and timeout, recorded like any run, and whatever its
    schedule says. A manager need not run; one that does goes on beside it. What the worker prints comes to standard
    output (with --json to standard error) and stands in its log as NAME#0. Ctrl-C ends it.

    Exit code 0: it succeeded. 1: it failed. 4: a budget ended it, or the deployment was killed. 130: Ctrl-C.

    Example:
      nova workers run mailer
    """
    from nova.daemon import manager_settings
    from workers.foreground import ForegroundRun
    from workers.printed import captured

    terminal = sys.stderr if json else sys.stdout

    def show(lines: Sequence[str]) -> None:
        terminal.write("".join(f"{printable(line)}\n" for line in lines))
        terminal.flush()

    with session() as nova:
        _say_what_holds_it(nova, name)
        once = ForegroundRun(
            nova.fleet, nova.ledger, manager_settings(nova), nova.clock, show, alerts=nova.alerts,
            exchange=nova.exchange,
        )  # fmt: skip
        with captured(), _obeying_signals(once) as asked:
            ended = once.run(name)
        document = _document(nova, ended)
    if json:
        emit(document)
    else:
        note(_told(document, asked=bool(asked)))
    if code := _exit_code(ended, refused=once.refused, asked=bool(asked)):
        raise typer.Exit(code)


def _say_what_holds_it(nova: Nova, name: str) -> None:
    one = nova.fleet.get(name)
    if one.state not in ("active", "killed"):
        reason = f" ({one.pause_reason})" if one.pause_reason else ""
        note(f"{name} is {one.state}{reason}; this one run is made all the same")


@contextmanager
def _obeying_signals(once: ForegroundRun) -> Iterator[list[int]]:
    """Yields the signals that came."""
    asked: list[int] = []

    def stop(number: int, _frame: object) -> None:
        asked.append(number)
        once.ask_to_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _document(nova: Nova, ended: RunEnded) -> dict[str, Any]:
    cost, revenue = nova.ledger.reports.of_run(ended.run, ended.started_at)
    return {
        "name": ended.worker,
        "instance": ended.instance,
        "run": ended.run,
        "status": ended.status,
        "crash": ended.crash,
        "error": ended.error,
        "started_at": ended.started_at,
        "ended_at": ended.ended_at,
        "duration_s": round((ended.ended_at - ended.started_at).total_seconds(), 3),
        "cost": cost,
        "revenue": revenue,
        "currency": nova.settings.nova_currency,
    }


def _told(document: dict[str, Any], *, asked: bool) -> str:
    money = ", ".join(
        f"{word} {render.money_text(str(document[key]), document['currency'])}"
        for key, word in (("cost", "spent"), ("revenue", "earned"))
        if document[key]
    )
    error = f": {render.short(document['error'], 200)}" if document["error"] and not asked else ""
    return f"{document['status']} after {document['duration_s']:g} s{', ' + money if money else ''}{error}"


def _exit_code(ended: RunEnded, *, refused: bool, asked: bool) -> int:
    if ended.status == "succeeded":
        return 0
    if refused:
        return _REFUSED
    return _INTERRUPTED if asked else 1
