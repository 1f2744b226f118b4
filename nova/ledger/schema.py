"""The ledger's tables. Instants are microseconds since 1970 UTC (`_us`), money is millionths (`_micros`).

Rows of money and history are only ever added; what changes are derived sums (rollups, totals, usage), the open
side of a run, and the life of a decision, whose every step leaves an audit row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# A 64-bit key that SQLite assigns by itself only under the name INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")


def column(name: str, kind: type, *, null: bool = False, **options: object) -> Column[object]:
    return Column(name, kind, nullable=null, **options)  # type: ignore[arg-type]


meta = Table("meta", metadata, Column("key", Text, primary_key=True), column("value", Text))

# One money fact each. (source, id) is its key; `digest` tells a repetition from a contradiction.
entries = Table(
    "entries",
    metadata,
    Column("seq", _Key, primary_key=True),
    column("source", Text),
    column("id", Text),
    column("kind", Text),
    column("side", Text),  # revenue, cost, or pending: an adjustment whose entry has not arrived yet
    column("worker", Text, null=True),
    column("run", Text, null=True),
    column("micros", BigInteger),  # as given: positive, but for adjustments
    column("currency", Text),
    column("rate", Text, null=True),  # units of the reporting currency for one of `currency`
    column("rate_at_us", BigInteger, null=True),
    column("booked_micros", BigInteger, null=True),  # in the reporting currency, as given in sign; null: unconverted
    column("at_us", BigInteger),
    column("model", Text, null=True),
    column("evidence", Text, null=True),
    column("corrects", Text, null=True),  # SOURCE/ID
    column("note", Text, null=True),
    column("object", Text, null=True),  # what it belongs to on its platform, such as a payment intent
    column("digest", LargeBinary),
    column("recorded_us", BigInteger),
    UniqueConstraint("source", "id"),
    Index("entries_by_time", "at_us"),
)
Index("entries_by_object", entries.c.source, entries.c.object, sqlite_where=entries.c.object.is_not(None))
Index(
    "entries_unconverted",
    entries.c.currency,
    entries.c.worker,
    entries.c.at_us,
    sqlite_where=entries.c.booked_micros.is_(None),
)
Index("entries_by_correction", entries.c.corrects, sqlite_where=entries.c.corrects.is_not(None))
Index("entries_pending", entries.c.corrects, sqlite_where=entries.c.side == "pending")


def _sums() -> list[Column[object] | CheckConstraint]:
    return [
        column("n", BigInteger),
        column("micros", BigInteger),
        column("squares", Float),  # sum of squares in units², a statistic and no money
        column("peak_micros", BigInteger),  # the largest single amount
        # SQLite would go on in floating point where 64 bits end.
        CheckConstraint("micros BETWEEN -9000000000000000000 AND 9000000000000000000"),
    ]


# `worker` is '' for what is unattributed; `unit` is '' for the reporting currency, else the currency that has no rate.
rollups = Table(
    "rollups",
    metadata,
    column("worker", Text),
    column("hour", BigInteger),  # hours since 1970 UTC
    column("source", Text),
    column("kind", Text),
    column("side", Text),
    column("unit", Text),
    *_sums(),
    PrimaryKeyConstraint("worker", "hour", "source", "kind", "side", "unit"),
    sqlite_with_rowid=False,
)
totals = Table(
    "totals",
    metadata,
    column("worker", Text),
    column("source", Text),
    column("kind", Text),
    column("side", Text),
    column("unit", Text),
    *_sums(),
    column("first_us", BigInteger),
    column("last_us", BigInteger),
    PrimaryKeyConstraint("worker", "source", "kind", "side", "unit"),
    sqlite_with_rowid=False,
)

rates = Table(
    "rates",
    metadata,
    Column("seq", _Key, primary_key=True),
    column("currency", Text),
    column("rate", Text),
    column("at_us", BigInteger),
    column("by", Text),
)

# Whose sale a platform's object is: by a worker's claim, or by hand.
claims = Table(
    "claims",
    metadata,
    column("source", Text),
    column("object", Text),
    column("worker", Text),
    column("run", Text, null=True),
    column("by", Text),  # claim, or the person
    column("at_us", BigInteger),
    PrimaryKeyConstraint("source", "object"),
    sqlite_with_rowid=False,
)

# A row per execution; while it runs `ended_us` is null and `manager` names who is responsible for it.
runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    column("worker", Text),
    column("instance", Text),
    column("started_us", BigInteger),
    column("ended_us", BigInteger, null=True),
    column("status", Text),  # running, succeeded, failed, interrupted
    column("error", Text, null=True),
    column("crash", Boolean),
    column("manager", Text, null=True),
    column("cost_micros", BigInteger, null=True),  # what it spent by its own metering; null: not known
    Index("runs_by_worker", "worker", "started_us"),
    sqlite_with_rowid=False,
)
Index("runs_open", runs.c.manager, sqlite_where=runs.c.ended_us.is_(None))
run_rollups = Table(
    "run_rollups",
    metadata,
    column("worker", Text),
    column("hour", BigInteger),
    column("succeeded", BigInteger),
    column("failed", BigInteger),
    column("interrupted", BigInteger),
    column("crashed", BigInteger),
    column("duration_us", BigInteger),
    PrimaryKeyConstraint("worker", "hour"),
    sqlite_with_rowid=False,
)
run_totals = Table(
    "run_totals",
    metadata,
    Column("worker", Text, primary_key=True),
    column("succeeded", BigInteger),
    column("failed", BigInteger),
    column("interrupted", BigInteger),
    column("crashed", BigInteger),
    column("restarts", BigInteger),
    column("first_us", BigInteger),
    column("last_us", BigInteger),
    column("last_error", Text, null=True),
    column("last_error_us", BigInteger, null=True),
    column("pruned_us", BigInteger, null=True),  # rows of runs that ended before this whole hour may be gone
    sqlite_with_rowid=False,
)
# The last recorded start of every instance: when it is due next, also across restarts and pruning.
starts = Table(
    "starts",
    metadata,
    Column("instance", Text, primary_key=True),
    column("worker", Text),
    column("started_us", BigInteger),
    column("lineage", Text, null=True),  # its first run since one succeeded; null: none
    sqlite_with_rowid=False,
)

# Money a run has set aside before spending it.
reservations = Table(
    "reservations",
    metadata,
    Column("id", Text, primary_key=True),
    column("run", Text),
    column("worker", Text),
    column("department", Text),
    column("manager", Text, null=True),
    column("micros", BigInteger),
    column("day", Text),  # the local day it was opened on: the window it is counted and spent in
    column("opened_us", BigInteger),
    column("release_on_death", Boolean),
    column("settled_micros", BigInteger, null=True),  # null while open; kept until the run ends: settling repeats
    Index("reservations_by_run", "run"),
    sqlite_with_rowid=False,
)
# What a living run has spent and not booked yet, per local day: it becomes one cost entry when the run ends.
run_accounts = Table(
    "run_accounts",
    metadata,
    column("run", Text),
    column("day", Text),
    column("worker", Text),
    column("department", Text),
    column("manager", Text, null=True),
    column("micros", BigInteger),
    column("last_us", BigInteger),
    column("reasons", Text),  # JSON: what it was spent on
    PrimaryKeyConstraint("run", "day"),
    sqlite_with_rowid=False,
)
# Spent and reserved per scope (fleet, department:D, worker:NAME, run:ID) and window (day:…, month:…, total, run).
budget_usage = Table(
    "budget_usage",
    metadata,
    column("scope", Text),
    column("window", Text),
    column("spent_micros", BigInteger),
    column("reserved_micros", BigInteger),
    column("warned_micros", BigInteger, server_default="0"),  # the highest threshold that people were told of
    PrimaryKeyConstraint("scope", "window"),
    sqlite_with_rowid=False,
)

# What was ever deployed, so that history keeps its department when a deployment is gone.
deployments_seen = Table(
    "deployments_seen",
    metadata,
    Column("worker", Text, primary_key=True),
    column("department", Text),
    column("agent", Text),
    column("first_us", BigInteger),
    column("updated_us", BigInteger),
    sqlite_with_rowid=False,
)

# One row an instance, replaced: what its manager last saw.
observations = Table(
    "observations",
    metadata,
    Column("instance", Text, primary_key=True),
    column("worker", Text),
    column("manager", Text),
    column("state", Text),
    column("run", Text, null=True),
    column("run_started_us", BigInteger, null=True),
    column("heartbeat_us", BigInteger, null=True),
    column("cpu_percent", Float, null=True),
    column("memory_bytes", BigInteger, null=True),
    column("threads", Integer, null=True),
    column("updated_us", BigInteger),
    sqlite_with_rowid=False,
)
managers = Table(
    "managers",
    metadata,
    Column("id", Text, primary_key=True),
    column("pid", Integer),
    column("host", Text),
    column("department", Text),
    column("started_us", BigInteger),
    column("heartbeat_us", BigInteger),
    column("stopped_us", BigInteger, null=True),
    column("cpu_percent", Float, null=True),
    column("memory_bytes", BigInteger, null=True),
    column("threads", Integer, null=True),
    column("beats", BigInteger, server_default="0"),  # rises while it lives: others judge by their own clock
    column("fenced_by", Text, null=True),  # the manager that took its leases over; it writes nothing any more
    sqlite_with_rowid=False,
)
# Who runs a deployment. `token` rises with every change of hands.
leases = Table(
    "leases",
    metadata,
    Column("worker", Text, primary_key=True),
    column("manager", Text, null=True),  # null: free
    column("token", BigInteger),
    column("at_us", BigInteger),
    Index("leases_by_manager", "manager"),
    sqlite_with_rowid=False,
)
worker_state = Table(
    "worker_state",
    metadata,
    column("worker", Text),
    column("key", Text),
    column("value", Text),  # JSON
    column("updated_us", BigInteger),
    PrimaryKeyConstraint("worker", "key"),
    sqlite_with_rowid=False,
)

# Effects that a worker means to have: recorded before they are done, marked after.
outbox = Table(
    "outbox",
    metadata,
    column("worker", Text),
    column("topic", Text),
    column("key", Text),
    column("payload", Text),  # JSON
    column("state", Text),  # pending, done, failed, doubtful
    column("attempts", Integer),
    column("run", Text, null=True),  # who is at it, or did it last
    column("result", Text, null=True),  # JSON
    column("error", Text, null=True),
    column("at_us", BigInteger),
    column("due_us", BigInteger),
    column("done_us", BigInteger, null=True),
    PrimaryKeyConstraint("worker", "topic", "key"),
    sqlite_with_rowid=False,
)
Index("outbox_undone", outbox.c.worker, outbox.c.due_us, sqlite_where=outbox.c.state != "done")

# How far each platform's sync has come.
cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    column("cursor", Text, null=True),
    column("covered_us", BigInteger, null=True),  # everything up to here has been fetched
    column("attempted_us", BigInteger, null=True),
    column("succeeded_us", BigInteger, null=True),
    column("error", Text, null=True),
    sqlite_with_rowid=False,
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    column("cycle", Text, null=True),
    column("at_us", BigInteger),
    column("worker", Text),
    column("kind", Text),
    column("state", Text),
    column("rule", Text),
    column("reason", Text),
    column("actor", Text),  # engine, manager, or the person
    column("fingerprint", Text),  # of what is proposed, so that a rejection can silence it
    column("expires_us", BigInteger, null=True),
    column("updated_us", BigInteger),
    column("body", Text),  # JSON: figures, evidence, policy and its version
    Index("decisions_by_worker", "worker", "at_us"),
    Index("decisions_by_time", "at_us"),
    Index("decisions_by_state", "state"),
)
cycles = Table(
    "cycles",
    metadata,
    Column("id", Text, primary_key=True),
    column("at_us", BigInteger),
    column("enabled", Boolean),
    column("dry_run", Boolean),
    column("policy_version", Integer),
    column("evaluated", Integer),
    column("body", Text),
    Index("cycles_by_time", "at_us"),
)

# A chain: `hash` covers the row and the hash before it.
audit = Table(
    "audit",
    metadata,
    Column("seq", _Key, primary_key=True),
    column("at_us", BigInteger),
    column("actor", Text),
    column("action", Text),
    column("subject", Text),
    column("detail", Text),  # JSON
    column("hash", Text),
)
