"""nova autonomous approvals|approve|reject|history|explain: decisions and what people say to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli import render
from nova.cli.commands.autonomous import DECISIONS, decision_rows, replicas
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, Note, Since, instant, person
from nova.cli.session import session
from nova.cli.terminal import note as say

if TYPE_CHECKING:
    from nova.ledger.decisions import DecisionRecord

DecisionId = Annotated[str, typer.Argument(metavar="ID", help="The decision, as `nova autonomous approvals` lists it.")]


def approvals(json: AsJson = False) -> None:
    """Show the decisions that wait for a person.

    Example:
      nova autonomous approvals
    """
    from nova.autonomous.approvals import approvals as waiting_ones

    with session() as nova:
        document = waiting_ones(nova)
        currency = nova.settings.nova_currency
    if json:
        emit(document)
        return
    waiting = document["approvals"]
    if not waiting:
        say("nothing waits for you")
        return
    rows = zip(decision_rows(waiting, currency), waiting, strict=True)
    table((*DECISIONS, Column("until")), [[*cells, _to_the_second(row["expires_at"])] for cells, row in rows])
    say("nova autonomous explain ID shows why; approve ID or reject ID answers; silence means no")


def approve(decision: DecisionId, by: By = None, note: Note = None, json: AsJson = False) -> None:
    """Approve a waiting decision; it is executed at once.

    It is decided again first: when the figures now say something else, the approval is refused with exit code 4.

    Example:
      nova autonomous approve d-7k2m9x --by dana --note "worth a try"
    """
    from nova.autonomous.approvals import approve as decide

    with session() as nova:
        record = decide(nova, decision, by=person(by), note=note)
        _answer(record, nova.settings.nova_currency, json)


def reject(decision: DecisionId, by: By = None, note: Note = None, json: AsJson = False) -> None:
    """Reject a waiting decision and silence it for a day.

    Example:
      nova autonomous reject d-7k2m9x --note "not before the launch"
    """
    from nova.autonomous.approvals import reject as decide

    with session() as nova:
        record = decide(nova, decision, by=person(by), note=note)
        _answer(record, nova.settings.nova_currency, json)


def _answer(record: DecisionRecord, currency: str, json: bool) -> None:
    from nova.autonomous.records import shown

    row = shown(record)
    if json:
        emit(row)
    else:
        steps = f" ({replicas(row)})" if replicas(row) else ""
        cost = render.money_text(row["daily_cost_impact"], currency)
        line(f"{row['id']}: {row['kind']} {row['worker']}{steps}, {cost} a day: {row['state']}")


def history(
    worker: Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Only this deployment's.")] = None,
    since: Since = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", "--limit", min=1, metavar="N", help="At most so many, the newest; else 100, and with --json all."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what was decided and enforced, newest first.

    What the manager enforced (budgets, crash limits) stands here too, with `manager` as the actor.

    Example:
      nova autonomous history --worker mailer --since 2026-11-01
    """
    from nova.autonomous.explain import history as decided

    with session() as nova:
        document = decided(nova, worker=worker, since=instant(since), limit=n or (None if json else 100))
    if json:
        emit(document)
        return
    if not document["decisions"]:
        of = f" of {worker}" if worker else ""
        say(f"nothing has been decided{of} {'since then' if since else 'yet'}")
        return
    columns = (
        Column("at"),
        Column("id"),
        Column("worker"),
        Column("decision"),
        Column("state", state=True),
        Column("by"),
    )
    rows = [
        [_to_the_second(row["at"]), row["id"], row["worker"], row["kind"], row["state"], row["actor"], row["reason"]]
        for row in document["decisions"]
    ]
    table((*columns, Column("why", wrap=True)), rows)


def _to_the_second(at: str | None) -> str:
    from nova.clock import parse_time

    return render.when(parse_time(at) if at else None)


def explain(decision: DecisionId, json: AsJson = False) -> None:
    """Show the evidence, the rule and the policy of a decision.

    Example:
      nova autonomous explain d-7k2m9x
    """
    from nova.autonomous.explain import explain as memo
    from nova.autonomous.explain import explained

    with session() as nova:
        if json:
            emit(explained(nova, decision))
        else:
            for text in memo(nova, decision).splitlines():
                line(text)
