"""What every step of money does to the rows: it is counted in its windows, and charged to its run's account."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from nova.clock import to_us
from nova.ledger.limits import Key, RunRef, Used
from nova.ledger.schema import budget_usage

_REASONS_CHARS = 400

# One statement counts every scope of a run, in one order, so that two writers never wait for each other in a circle.
_COUNT = text("""
    INSERT INTO budget_usage (scope, "window", spent_micros, reserved_micros) VALUES
        ('fleet', :day, :spent, :reserved), ('fleet', :month, :spent, :reserved), ('fleet', 'total', :spent, :reserved),
        (:department, :day, :spent, :reserved), (:department, :month, :spent, :reserved),
        (:department, 'total', :spent, :reserved),
        (:worker, :day, :spent, :reserved), (:worker, :month, :spent, :reserved), (:worker, 'total', :spent, :reserved),
        (:run, 'run', :spent, :reserved)
    ON CONFLICT (scope, "window") DO UPDATE SET
        spent_micros = budget_usage.spent_micros + excluded.spent_micros,
        reserved_micros = budget_usage.reserved_micros + excluded.reserved_micros
    RETURNING scope, "window", spent_micros, reserved_micros
""")
_CHARGE = text("""
    INSERT INTO run_accounts (run, day, worker, department, manager, micros, last_us, reasons)
    VALUES (:run, :day, :worker, :department, :manager, :micros, :at, :reason)
    ON CONFLICT (run, day) DO UPDATE SET
        micros = run_accounts.micros + excluded.micros,
        last_us = CASE WHEN excluded.last_us > run_accounts.last_us THEN excluded.last_us ELSE run_accounts.last_us END,
        reasons = CASE
            WHEN excluded.reasons = '' OR length(run_accounts.reasons) > :enough
                OR replace(run_accounts.reasons, excluded.reasons, '') <> run_accounts.reasons
            THEN run_accounts.reasons ELSE run_accounts.reasons || excluded.reasons END
""")
_USED = (budget_usage.c.scope, budget_usage.c.window, budget_usage.c.spent_micros, budget_usage.c.reserved_micros)
_USAGE = select(*_USED).where(
    budget_usage.c.scope.in_(bindparam("scopes", expanding=True)),
    budget_usage.c.window.in_(bindparam("windows", expanding=True)),
)


def count(conn: Connection, run: RunRef, day: str, *, spent: int = 0, reserved: int = 0) -> Used:
    """Adds to every scope and window of the run and returns what was there before."""
    values = {"department": f"department:{run.department}", "worker": f"worker:{run.worker}", "run": f"run:{run.run}"}
    windows = {"day": f"day:{day}", "month": f"month:{day[:7]}"}
    rows = conn.execute(_COUNT, {**values, **windows, "spent": spent, "reserved": reserved})
    return {(scope, window): (after - spent, held - reserved) for scope, window, after, held in rows}


def take_back(conn: Connection, run: RunRef, day: str, micros: int) -> None:
    """Takes spending out of its day's windows, because it is booked, and so counted, on another day."""
    count(conn, run, day, spent=-micros)


def charge(conn: Connection, run: RunRef, day: str, at: datetime, micros: int, reason: str | None) -> None:
    """Adds to the run's account of that day, which becomes a cost entry when the run ends."""
    if not micros:
        return
    line = json.dumps(reason) + "\n" if reason else ""
    row = {**who(run), "day": day, "micros": micros, "at": to_us(at), "reason": line, "enough": _REASONS_CHARS}
    conn.execute(_CHARGE, row)


def who(run: RunRef) -> dict[str, str | None]:
    """The columns that say whose money it is."""
    return {"run": run.run, "worker": run.worker, "department": run.department, "manager": run.manager}


def read_usage(conn: Connection, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
    """Millionths spent and reserved of every (scope, window) asked for."""
    used = dict.fromkeys(keys, (0, 0))
    scopes, windows = ({key[part] for key in used} for part in (0, 1))
    for scope, window, gone, held in conn.execute(_USAGE, {"scopes": list(scopes), "windows": list(windows)}):
        if (scope, window) in used:
            used[scope, window] = (gone, held)
    return used
