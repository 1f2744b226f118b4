CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
);
CREATE TABLE entries (
    seq INTEGER NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    side TEXT NOT NULL,
    worker TEXT,
    run TEXT,
    micros BIGINT NOT NULL,
    currency TEXT NOT NULL,
    rate TEXT,
    rate_at_us BIGINT,
    booked_micros BIGINT,
    at_us BIGINT NOT NULL,
    model TEXT,
    evidence TEXT,
    corrects TEXT,
    note TEXT,
    object TEXT,
    digest BLOB NOT NULL,
    recorded_us BIGINT NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (source, id)
);
CREATE INDEX entries_by_object ON entries (source, object) WHERE object IS NOT NULL;
CREATE INDEX entries_unconverted ON entries (currency, worker, at_us) WHERE booked_micros IS NULL;
CREATE INDEX entries_pending ON entries (corrects) WHERE side = 'pending';
CREATE INDEX entries_by_correction ON entries (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX entries_by_time ON entries (at_us);
CREATE TABLE rollups (
    worker TEXT NOT NULL,
    hour BIGINT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    side TEXT NOT NULL,
    unit TEXT NOT NULL,
    n BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    squares FLOAT NOT NULL,
    peak_micros BIGINT NOT NULL,
    PRIMARY KEY (worker, hour, source, kind, side, unit),
    CHECK (micros BETWEEN -9000000000000000000 AND 9000000000000000000)
)
 WITHOUT ROWID;
CREATE TABLE totals (
    worker TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    side TEXT NOT NULL,
    unit TEXT NOT NULL,
    n BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    squares FLOAT NOT NULL,
    peak_micros BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    PRIMARY KEY (worker, source, kind, side, unit),
    CHECK (micros BETWEEN -9000000000000000000 AND 9000000000000000000)
)
 WITHOUT ROWID;
CREATE TABLE rates (
    seq INTEGER NOT NULL,
    currency TEXT NOT NULL,
    rate TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    "by" TEXT NOT NULL,
    PRIMARY KEY (seq)
);
CREATE TABLE claims (
    source TEXT NOT NULL,
    object TEXT NOT NULL,
    worker TEXT NOT NULL,
    run TEXT,
    "by" TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (source, object)
)
 WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT NOT NULL,
    worker TEXT NOT NULL,
    instance TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    ended_us BIGINT,
    status TEXT NOT NULL,
    error TEXT,
    crash BOOLEAN NOT NULL,
    manager TEXT,
    PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX runs_by_worker ON runs (worker, started_us);
CREATE INDEX runs_open ON runs (manager) WHERE ended_us IS NULL;
CREATE TABLE run_rollups (
    worker TEXT NOT NULL,
    hour BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    crashed BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (worker, hour)
)
 WITHOUT ROWID;
CREATE TABLE run_totals (
    worker TEXT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    crashed BIGINT NOT NULL,
    restarts BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    last_error TEXT,
    last_error_us BIGINT,
    pruned_us BIGINT,
    PRIMARY KEY (worker)
)
 WITHOUT ROWID;
CREATE TABLE starts (
    instance TEXT NOT NULL,
    worker TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    PRIMARY KEY (instance)
)
 WITHOUT ROWID;
CREATE TABLE reservations (
    id TEXT NOT NULL,
    run TEXT NOT NULL,
    worker TEXT NOT NULL,
    department TEXT NOT NULL,
    manager TEXT,
    micros BIGINT NOT NULL,
    day TEXT NOT NULL,
    opened_us BIGINT NOT NULL,
    release_on_death BOOLEAN NOT NULL,
    settled_micros BIGINT,
    PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX reservations_by_run ON reservations (run);
CREATE TABLE run_accounts (
    run TEXT NOT NULL,
    day TEXT NOT NULL,
    worker TEXT NOT NULL,
    department TEXT NOT NULL,
    manager TEXT,
    micros BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    reasons TEXT NOT NULL,
    PRIMARY KEY (run, day)
)
 WITHOUT ROWID;
CREATE TABLE budget_usage (
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    spent_micros BIGINT NOT NULL,
    reserved_micros BIGINT NOT NULL,
    PRIMARY KEY (scope, window)
)
 WITHOUT ROWID;
CREATE TABLE deployments_seen (
    worker TEXT NOT NULL,
    department TEXT NOT NULL,
    agent TEXT NOT NULL,
    first_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (worker)
)
 WITHOUT ROWID;
CREATE TABLE observations (
    instance TEXT NOT NULL,
    worker TEXT NOT NULL,
    manager TEXT NOT NULL,
    state TEXT NOT NULL,
    run TEXT,
    run_started_us BIGINT,
    heartbeat_us BIGINT,
    cpu_percent FLOAT,
    memory_bytes BIGINT,
    threads INTEGER,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (instance)
)
 WITHOUT ROWID;
CREATE TABLE managers (
    id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    department TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    heartbeat_us BIGINT NOT NULL,
    stopped_us BIGINT,
    cpu_percent FLOAT,
    memory_bytes BIGINT,
    threads INTEGER,
    PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE TABLE worker_state (
    worker TEXT NOT NULL,
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (worker, "key")
)
 WITHOUT ROWID;
CREATE TABLE cursors (
    source TEXT NOT NULL,
    cursor TEXT,
    covered_us BIGINT,
    attempted_us BIGINT,
    succeeded_us BIGINT,
    error TEXT,
    PRIMARY KEY (source)
)
 WITHOUT ROWID;
CREATE TABLE decisions (
    id TEXT NOT NULL,
    cycle TEXT,
    at_us BIGINT NOT NULL,
    worker TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    expires_us BIGINT,
    updated_us BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX decisions_by_worker ON decisions (worker, at_us);
CREATE INDEX decisions_by_state ON decisions (state);
CREATE INDEX decisions_by_time ON decisions (at_us);
CREATE TABLE cycles (
    id TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    enabled BOOLEAN NOT NULL,
    dry_run BOOLEAN NOT NULL,
    policy_version INTEGER NOT NULL,
    evaluated INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX cycles_by_time ON cycles (at_us);
CREATE TABLE audit (
    seq INTEGER NOT NULL,
    at_us BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (seq)
);
