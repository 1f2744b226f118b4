"""nova workers outbox: the effects a deployment has recorded, and a new chance for those that were given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, Worker, person
from nova.cli.session import session
from nova.cli.terminal import note

if TYPE_CHECKING:
    from datetime import datetime

    from nova.bootstrap import Nova
    from nova.ledger.effects import Effect

_ERROR_WIDTH = 60
_SHOWN = ("pending", "failed", "done")  # also where there is none
_COLUMNS = (
    Column("topic"),
    Column("key"),
    Column("state", state=True),
    Column("attempts", right=True),
    Column("recorded"),
    Column("due"),
    Column("last error", wrap=True),
)


def outbox(
    name: Worker,
    everything: Annotated[bool, typer.Option("--all", help="Also what was done in the last 30 days.")] = False,
    n: Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="At most so many.")] = 100,
    retry: Annotated[
        str | None,
        typer.Option("--retry", metavar="KEY", help="Let what was given up or is in doubt under KEY be done again."),
    ] = None,
    done: Annotated[
        str | None, typer.Option("--done", metavar="KEY", help="Say that what is in doubt under this key was done.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="TOPIC", help="With --retry or --done: of this topic only.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Show which effects of a deployment wait, were given up or are in doubt.

    An effect is what an agent recorded with ctx.outbox before it did it. It is tried up to ten times, over about three
    hours; then it is failed, until you let it be tried again.

    What a run posted or sent on a platform stands here too. Where the run was cut off and nobody knows whether it was
    done, it is in doubt and not done again: look at the platform, and say --done or --retry.

    Example:
      nova workers outbox mailer --retry order-17
    """
    from nova.errors import UsageProblem

    if topic is not None and retry is None and done is None:
        hint = "nova workers outbox mailer --retry order-17 --topic mail"
        raise UsageProblem("--topic needs --retry or --done", hint=hint)
    if retry is not None and done is not None:
        raise UsageProblem("--retry and --done contradict each other", hint="nova workers outbox mailer --done KEY")
    with session() as nova:
        _check(nova, name)
        chosen = nova.ledger.outbox.retry(name, retry, topic, by=person(by)) if retry is not None else None
        if done is not None:
            chosen = nova.ledger.once.settle(name, done, topic, by=person(by))
        states = ("pending", "failed", "doubtful", "done") if everything else ("pending", "failed", "doubtful")
        effects = nova.ledger.outbox.of(name, states, n) if chosen is None else chosen
        counts = nova.ledger.outbox.counts(name)
        now = nova.clock.now()
    if json:
        emit({"name": name, "counts": counts, "effects": [_row(effect) for effect in effects]})
    else:
        _show(name, effects, counts, now)


def _check(nova: Nova, name: str) -> None:
    """Raises NotFound for a name that neither is deployed nor ever recorded an effect."""
    if not nova.ledger.outbox.of(name, limit=1):
        nova.fleet.get(name)


def _row(effect: Effect) -> dict[str, Any]:
    return {
        "topic": effect.topic, "key": effect.key, "state": effect.state, "attempts": effect.attempts,
        "idempotency_key": effect.idempotency_key, "run": effect.run, "error": effect.error, "recorded_at": effect.at,
        "due_at": effect.due_at if effect.state == "pending" else None, "done_at": effect.done_at,
        "payload": effect.payload, "result": effect.result,
    }  # fmt: skip


def _show(name: str, effects: list[Effect], counts: dict[str, int], now: datetime) -> None:
    if effects:
        table(_COLUMNS, [_cells(effect, now) for effect in effects])
    else:
        note(f"{name} has no effect that waits or was given up")
    told = [f"{count:,} {_said(state)}" for state, count in counts.items() if count or state in _SHOWN]
    line(f"{name}: {', '.join(told)}")


def _said(state: str) -> str:
    return "in doubt" if state == "doubtful" else state


def _cells(effect: Effect, now: datetime) -> list[str]:
    due = render.NOTHING
    if effect.state == "pending":
        due = "now" if effect.attempts == 0 or effect.due_at <= now else render.age(effect.due_at, now)
    error = render.short(effect.error, _ERROR_WIDTH)
    return [
        effect.topic,
        effect.key,
        _said(effect.state),
        str(effect.attempts),
        render.age(effect.at, now),
        due,
        error,
    ]
