"""nova audit: who did what, and whether the record is as it was written."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, Since, instant
from nova.cli.render import count, when
from nova.cli.session import session
from nova.cli.terminal import note


def log(
    n: Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="At most so many rows, the newest.")] = 50,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show who did what and when.

    Example:
      nova audit log -n 20
    """
    with session() as nova:
        rows = nova.ledger.audit.log(limit=n, since=instant(since))
    if json:
        emit({"rows": rows})
        return
    if not rows:
        note("nothing is recorded yet")
        return
    columns = (
        Column("#", right=True),
        Column("at"),
        Column("who"),
        Column("what"),
        Column("subject", wrap=True),
        Column("detail", wrap=True),
    )
    table(
        columns,
        [
            (
                str(row.seq),
                when(row.at),
                row.actor,
                row.action,
                row.subject,
                _words(row.detail),
            )
            for row in rows
        ],
    )


def _words(detail: Mapping[str, Any]) -> str:
    """`limit 5.00, per day`: the same as --json has, without its punctuation."""
    return ", ".join(f"{name} {_word(value)}" for name, value in detail.items())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)


def verify(json: AsJson = False) -> None:
    """Derive the audit chain again and compare.

    The exit code is 1 when a row was changed, removed or added by other means.

    Example:
      nova audit verify
    """
    with session() as nova:
        found = nova.ledger.audit.verify()
    if json:
        emit(found)
    else:
        rows = count(found.rows, "row")
        line(f"the chain of {rows} is whole" if found.ok else f"the chain is broken after {rows}: {found.problem}")
    if not found.ok:
        raise typer.Exit(1)
