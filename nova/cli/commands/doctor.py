"""nova doctor: what to mend, before it costs money."""

from __future__ import annotations

from typing import Any

import typer

from nova.cli.output import Column, emit, table
from nova.cli.params import AsJson
from nova.cli.terminal import note


def doctor(json: AsJson = False) -> None:
    """Check configuration, keys, clock, disk and permissions.

    Also versions, the manager and the ledger. The exit code is 1 when something is to be mended; a warning is not.

    Example:
      nova doctor
    """
    from nova.cli.checkup import checkup

    findings = checkup()
    bad = [found for found in findings if found.state == "wrong"]
    if json:
        emit({"ok": not bad, "checks": [_plain(found) for found in findings]})
    else:
        columns = (
            Column("check"),
            Column("state", state=True),
            Column("found", wrap=True),
            Column("what to do", wrap=True),
        )
        table(columns, [(found.check, found.state, found.found, found.advice) for found in findings])
        note(f"{len(bad)} to mend" if bad else "nothing to mend")
    if bad:
        raise typer.Exit(1)


def _plain(found: Any) -> dict[str, Any]:
    return {"check": found.check, "state": found.state, "found": found.found, "advice": found.advice or None}
