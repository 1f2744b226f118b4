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


def _column(name: str, kind: type, *, null: bool = False, **options: object) -> Column[object]:
    return Column(name, kind, nullable=null, **options)  # type: ignore[arg-type]


meta = Table("meta", metadata, Column("key", Text, primary_key=True), _column("value", Text))

# One money fact each. (source, id) is its key; `digest` tells a repetition from a contradiction.
entries = Table(
    "entries",
    metadata,
    Column("seq", _Key, primary_key=True),
    _column("source", Text),
    _column("id", Text),
    _column("kind", Text),
    _column("side", Text),  # revenue, cost, or pending: an adjustment whose entry has not arrived yet
    _column("worker", Text, null=True),
    _column("run", Text, null=True),
    _column("micros", BigInteger),  # as given: positive, but for adjustments
    _column("currency", Text),
    _column("rate", Text, null=True),  # units of the reporting currency for one of `currency`
    _column("rate_at_us", BigInteger, null=True),
    _column("booked_micros", BigInteger, null=True),  # in the reporting currency, as given in sign; null: unconverted
    _column("at_us", BigInteger),
    _column("model", Text, null=True),
    _column("evidence", Text, null=True),
    _column("corrects", Text, null=True),  # SOURCE/ID
    _column("note", Text, null=True),
    _column("object", Text, null=True),  # what it belongs to on its platform, such as a payment intent
    _column("digest", LargeBinary),
    _column("recorded_us", BigInteger),
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
        _column("n", BigInteger),
        _column("micros", BigInteger),
        _column("squares", Float),  # sum of squares in units², a statistic and no money
        _column("peak_micros", BigInteger),  # the largest single amount
        # SQLite would go on in floating point where 64 bits end.
        CheckConstraint("micros BETWEEN -9000000000000000000 AND 9000000000000000000"),
    ]


# `worker` is '' for what is unattributed; `unit` is '' for the reporting currency, else the currency that has no rate.
rollups = Table(
    "rollups",
    metadata,
    _column("worker", Text),
    _column("hour", BigInteger),  # hours since 1970 UTC
    _column("source", Text),
    _column("kind", Text),
    _column("side", Text),
    _column("unit", Text),
    *_sums(),
    PrimaryKeyConstraint("worker", "hour", "source", "kind", "side", "unit"),
    sqlite_with_rowid=False,
)
totals = Table(
    "totals",
    metadata,
    _column("worker", Text),
    _column("source", Text),
    _column("kind", Text),
    _column("side", Text),
    _column("unit", Text),
    *_sums(),
    _column("first_us", BigInteger),
    _column("last_us", BigInteger),
    PrimaryKeyConstraint("worker", "source", "kind", "side", "unit"),
    sqlite_with_rowid=False,
)

rates = Table(
    "rates",
    metadata,
    Column("seq", _Key, primary_key=True),
    _column("currency", Text),
    _column("rate", Text),
    _column("at_us", BigInteger),
    _column("by", Text),
)

# Whose sale a platform's object is: by a worker's claim, or by hand.
claims = Table(
    "claims",
    metadata,
    _column("source", Text),
    _column("object", Text),
    _column("worker", Text),
    _column("run", Text, null=True),
    _column("by", Text),  # claim, or the person
    _column("at_us", BigInteger),
    PrimaryKeyConstraint("source", "object"),
    sqlite_with_rowid=False,
)

# A row per execution; while it runs `ended_us` is null and `manager` names who is responsible for it.
runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    _column("worker", Text),
    _column("instance", Text),
    _column("started_us", BigInteger),
    _column("ended_us", BigInteger, null=True),
    _column("status", Text),  # running, succeeded, failed, interrupted
    _column("error", Text, null=True),
    _column("crash", Boolean),
    _column("manager", Text, null=True),
    _column("cost_micros", BigInteger, null=True),  # what it spent by its own metering; null: not known
    Index("runs_by_worker", "worker", "started_us"),
    sqlite_with_rowid=False,
)
Index("runs_open", runs.c.manager, sqlite_where=runs.c.ended_us.is_(None))
run_rollups = Table(
    "run_rollups",
    metadata,
    _column("worker", Text),
    _column("hour", BigInteger),
    _column("succeeded", BigInteger),
    _column("failed", BigInteger),
    _column("interrupted", BigInteger),
    _column("crashed", BigInteger),
    _column("duration_us", BigInteger),
    PrimaryKeyConstraint("worker", "hour"),
    sqlite_with_rowid=False,
)
run_totals = Table(
    "run_totals",
    metadata,
    Column("worker", Text, primary_key=True),
    _column("succeeded", BigInteger),
    _column("failed", BigInteger),
    _column("interrupted", BigInteger),
    _column("crashed", BigInteger),
    _column("restarts", BigInteger),
    _column("first_us", BigInteger),
    _column("last_us", BigInteger),
    _column("last_error", Text, null=True),
    _column("last_error_us", BigInteger, null=True),
    _column("pruned_us", BigInteger, null=True),  # rows of runs that ended before this whole hour may be gone
    sqlite_with_rowid=False,
)
# The last recorded start of every instance: when it is due next, also across restarts and pruning.
starts = Table(
    "starts",
    metadata,
    Column("instance", Text, primary_key=True),
    _column("worker", Text),
    _column("started_us", BigInteger),
    sqlite_with_rowid=False,
)

# Money a run has set aside before spending it.
reservations = Table(
    "reservations",
    metadata,
    Column("id", Text, primary_key=True),
    _column("run", Text),
    _column("worker", Text),
    _column("department", Text),
    _column("manager", Text, null=True),
    _column("micros", BigInteger),
    _column("day", Text),  # the local day it was opened on: the window it is counted and spent in
    _column("opened_us", BigInteger),
    _column("release_on_death", Boolean),
    _column("settled_micros", BigInteger, null=True),  # null while open; kept until the run ends: settling repeats
    Index("reservations_by_run", "run"),
    sqlite_with_rowid=False,
)
# What a living run has spent and not booked yet, per local day: it becomes one cost entry when the run ends.
run_accounts = Table(
    "run_accounts",
    metadata,
    _column("run", Text),
    _column("day", Text),
    _column("worker", Text),
    _column("department", Text),
    _column("manager", Text, null=True),
    _column("micros", BigInteger),
    _column("last_us", BigInteger),
    _column("reasons", Text),  # JSON: what it was spent on
    PrimaryKeyConstraint("run", "day"),
    sqlite_with_rowid=False,
)
# Spent and reserved per scope (fleet, department:D, worker:NAME, run:ID) and window (day:…, month:…, total, run).
budget_usage = Table(
    "budget_usage",
    metadata,
    _column("scope", Text),
    _column("window", Text),
    _column("spent_micros", BigInteger),
    _column("reserved_micros", BigInteger),
    _column("warned_micros", BigInteger, server_default="0"),  # the highest threshold that people were told of
    PrimaryKeyConstraint("scope", "window"),
    sqlite_with_rowid=False,
)

# What was ever deployed, so that history keeps its department when a deployment is gone.
deployments_seen = Table(
    "deployments_seen",
    metadata,
    Column("worker", Text, primary_key=True),
    _column("department", Text),
    _column("agent", Text),
    _column("first_us", BigInteger),
    _column("updated_us", BigInteger),
    sqlite_with_rowid=False,
)

# One row an instance, replaced: what its manager last saw.
observations = Table(
    "observations",
    metadata,
    Column("instance", Text, primary_key=True),
    _column("worker", Text),
    _column("manager", Text),
    _column("state", Text),
    _column("run", Text, null=True),
    _column("run_started_us", BigInteger, null=True),
    _column("heartbeat_us", BigInteger, null=True),
    _column("cpu_percent", Float, null=True),
    _column("memory_bytes", BigInteger, null=True),
    _column("threads", Integer, null=True),
    _column("updated_us", BigInteger),
    sqlite_with_rowid=False,
)
managers = Table(
    "managers",
    metadata,
    Column("id", Text, primary_key=True),
    _column("pid", Integer),
    _column("host", Text),
    _column("department", Text),
    _column("started_us", BigInteger),
    _column("heartbeat_us", BigInteger),
    _column("stopped_us", BigInteger, null=True),
    _column("cpu_percent", Float, null=True),
    _column("memory_bytes", BigInteger, null=True),
    _column("threads", Integer, null=True),
    _column("beats", BigInteger, server_default="0"),  # rises while it lives: others judge by their own clock
    _column("fenced_by", Text, null=True),  # the manager that took its leases over; it writes nothing any more
    sqlite_with_rowid=False,
)
# Who runs a deployment. `token` rises with every change of hands.
leases = Table(
    "leases",
    metadata,
    Column("worker", Text, primary_key=True),
    _column("manager", Text, null=True),  # null: free
    _column("token", BigInteger),
    _column("at_us", BigInteger),
    Index("leases_by_manager", "manager"),
    sqlite_with_rowid=False,
)
worker_state = Table(
    "worker_state",
    metadata,
    _column("worker", Text),
    _column("key", Text),
    _column("value", Text),  # JSON
    _column("updated_us", BigInteger),
    PrimaryKeyConstraint("worker", "key"),
    sqlite_with_rowid=False,
)

# Effects that a worker means to have: recorded before they are done, marked after.
outbox = Table(
    "outbox",
    metadata,
    _column("worker", Text),
    _column("topic", Text),
    _column("key", Text),
    _column("payload", Text),  # JSON
    _column("state", Text),  # pending, done, failed
    _column("attempts", Integer),
    _column("run", Text, null=True),  # who is at it, or did it last
    _column("result", Text, null=True),  # JSON
    _column("error", Text, null=True),
    _column("at_us", BigInteger),
    _column("due_us", BigInteger),
    _column("done_us", BigInteger, null=True),
    PrimaryKeyConstraint("worker", "topic", "key"),
    sqlite_with_rowid=False,
)
Index("outbox_undone", outbox.c.worker, outbox.c.due_us, sqlite_where=outbox.c.state != "done")

# How far each platform's sync has come.
cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    _column("cursor", Text, null=True),
    _column("covered_us", BigInteger, null=True),  # everything up to here has been fetched
    _column("attempted_us", BigInteger, null=True),
    _column("succeeded_us", BigInteger, null=True),
    _column("error", Text, null=True),
    sqlite_with_rowid=False,
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    _column("cycle", Text, null=True),
    _column("at_us", BigInteger),
    _column("worker", Text),
    _column("kind", Text),
    _column("state", Text),
    _column("rule", Text),
    _column("reason", Text),
    _column("actor", Text),  # engine, manager, or the person
    _column("fingerprint", Text),  # of what is proposed, so that a rejection can silence it
    _column("expires_us", BigInteger, null=True),
    _column("updated_us", BigInteger),
    _column("body", Text),  # JSON: figures, evidence, policy and its version
    Index("decisions_by_worker", "worker", "at_us"),
    Index("decisions_by_time", "at_us"),
    Index("decisions_by_state", "state"),
)
cycles = Table(
    "cycles",
    metadata,
    Column("id", Text, primary_key=True),
    _column("at_us", BigInteger),
    _column("enabled", Boolean),
    _column("dry_run", Boolean),
    _column("policy_version", Integer),
    _column("evaluated", Integer),
    _column("body", Text),
    Index("cycles_by_time", "at_us"),
)

# A chain: `hash` covers the row and the hash before it.
audit = Table(
    "audit",
    metadata,
    Column("seq", _Key, primary_key=True),
    _column("at_us", BigInteger),
    _column("actor", Text),
    _column("action", Text),
    _column("subject", Text),
    _column("detail", Text),  # JSON
    _column("hash", Text),
)
