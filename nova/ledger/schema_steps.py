"""From each schema to the next, in statements that stay as they are when the schema goes on."""

from __future__ import annotations

from sqlalchemy import Connection

from nova.ledger.schema import leases, outbox
from nova.ledger.schema_revenue import TABLES


def second(conn: Connection) -> None:
    """Leases and fences, the outbox, what a run cost, budgets that last for ever, and which warnings were given."""
    conn.exec_driver_sql("ALTER TABLE runs ADD COLUMN cost_micros BIGINT")
    conn.exec_driver_sql("ALTER TABLE managers ADD COLUMN beats BIGINT DEFAULT '0' NOT NULL")
    conn.exec_driver_sql("ALTER TABLE managers ADD COLUMN fenced_by TEXT")
    for table in (leases, outbox):
        table.create(conn)
    conn.exec_driver_sql("ALTER TABLE budget_usage ADD COLUMN warned_micros BIGINT DEFAULT '0' NOT NULL")
    # The months know which department a worker was in when its money went, but where the time zone had changed they
    # overlap: costs near the turn of a month lie in two of them, or in none.
    moved = conn.exec_driver_sql("SELECT 1 FROM meta WHERE key = 'usage_since_us'").first() is not None
    for statement in (_TOTALS, _TOTALS_OF_DEPARTMENTS_NOW if moved else _TOTALS_OF_DEPARTMENTS):
        conn.exec_driver_sql(statement)


def third(conn: Connection) -> None:
    """Webhooks, links and touches, attribution, subscriptions, suppressions and the health of platforms; which runs
    are the same one made again.
    """
    conn.exec_driver_sql("ALTER TABLE starts ADD COLUMN lineage TEXT")
    for table in TABLES:
        table.create(conn)


_COSTS = """
    WITH costs (worker, department, spent, reserved) AS (
        SELECT worker, NULL, booked_micros, 0 FROM entries WHERE side = 'cost' AND booked_micros IS NOT NULL
        UNION ALL SELECT worker, department, micros, 0 FROM run_accounts
        UNION ALL SELECT worker, department, 0, micros FROM reservations WHERE settled_micros IS NULL)"""
_INTO = 'INSERT INTO budget_usage (scope, "window", spent_micros, reserved_micros)'
_TOTALS = f"""
    {_INTO} {_COSTS}
    SELECT 'fleet', 'total', sum(spent), sum(reserved) FROM costs HAVING count(*) > 0
    UNION ALL
    SELECT 'worker:' || worker, 'total', sum(spent), sum(reserved) FROM costs
    WHERE worker IS NOT NULL GROUP BY worker"""
_TOTALS_OF_DEPARTMENTS = f"""
    {_INTO} SELECT scope, 'total', sum(spent_micros), sum(reserved_micros) FROM budget_usage
    WHERE "window" LIKE 'month:%' AND scope LIKE 'department:%' GROUP BY scope"""
_TOTALS_OF_DEPARTMENTS_NOW = f"""
    {_INTO} {_COSTS}
    SELECT 'department:' || coalesce(c.department, d.department), 'total', sum(spent), sum(reserved)
    FROM costs c LEFT JOIN deployments_seen d ON d.worker = c.worker
    WHERE coalesce(c.department, d.department) IS NOT NULL GROUP BY 1"""
