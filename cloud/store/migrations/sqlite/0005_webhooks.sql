-- Counts the changes of a project's webhooks; 0 while it never had one. Who stores a message sees it and knows whether what it
-- remembers of the webhooks is still so.
ALTER TABLE projects ADD COLUMN hooks INTEGER NOT NULL DEFAULT 0;

CREATE TABLE webhooks (
    project      BLOB NOT NULL REFERENCES projects(id),
    id           BLOB NOT NULL,
    description  TEXT NOT NULL,
    url          TEXT NOT NULL,
    kind         INTEGER NOT NULL,
    channel      TEXT,
    filter       TEXT,
    payload_only INTEGER NOT NULL,
    ordered      INTEGER NOT NULL,
    enabled      INTEGER NOT NULL,
    reason       TEXT NOT NULL DEFAULT '',
    -- Sealed.
    headers      BLOB NOT NULL,
    secret       BLOB NOT NULL,
    former       BLOB,
    former_until INTEGER,
    created      INTEGER NOT NULL,
    changed      INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

-- A webhook's deliveries in numbers, changed in the transactions that change them. It outlives its webhook until they are erased.
CREATE TABLE webhook_queues (
    project       BLOB NOT NULL,
    hook          BLOB NOT NULL,
    waiting       INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    dropped       INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    logged        INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    failures      INTEGER NOT NULL DEFAULT 0,
    probe_at      INTEGER,
    PRIMARY KEY (project, hook)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_queues_waiting ON webhook_queues(project, hook) WHERE waiting > 0;

-- What is to be sent. While `lease` names the worker that sends it, `due` is when the lease ends.
CREATE TABLE webhook_deliveries (
    project BLOB NOT NULL,
    hook    BLOB NOT NULL,
    message BLOB NOT NULL,
    device  BLOB NOT NULL,
    ts      INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    due     INTEGER NOT NULL,
    lease   INTEGER,
    PRIMARY KEY (project, hook, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries(project, hook, due, message);

-- What failed for good or was skipped, and can be made again.
CREATE TABLE webhook_failures (
    project BLOB NOT NULL,
    hook    BLOB NOT NULL,
    at      INTEGER NOT NULL,
    message BLOB NOT NULL,
    device  BLOB NOT NULL,
    ts      INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (project, hook, at, message)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_attempts (
    project BLOB NOT NULL,
    hook    BLOB NOT NULL,
    n       INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    message BLOB NOT NULL,
    device  BLOB,
    ts      INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    result  TEXT NOT NULL,
    millis  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    answer  TEXT NOT NULL,
    PRIMARY KEY (project, hook, n)
) STRICT, WITHOUT ROWID;
