"""From each schema to the next, in statements that stay as they are when the schema goes on."""

from __future__ import annotations

from sqlalchemy import Connection

from nova.ledger.schema import leases, outbox


def second(conn: Connection) -> None:
    """Leases and fences, the outbox, what a run cost, and budgets that last for ever."""
    conn.exec_driver_sql("ALTER TABLE runs ADD COLUMN cost_micros BIGINT")
    conn.exec_driver_sql("ALTER TABLE managers ADD COLUMN beats BIGINT DEFAULT '0' NOT NULL")
    conn.exec_driver_sql("ALTER TABLE managers ADD COLUMN fenced_by TEXT")
    for table in (leases, outbox):
        table.create(conn)
    conn.exec_driver_sql(_TOTALS)


# Every cost lies in exactly one month.
_TOTALS = """
    INSERT INTO budget_usage (scope, "window", spent_micros, reserved_micros)
    SELECT scope, 'total', sum(spent_micros), sum(reserved_micros)
    FROM budget_usage WHERE "window" LIKE 'month:%' GROUP BY scope"""
