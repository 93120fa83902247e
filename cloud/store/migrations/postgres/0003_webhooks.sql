-- Counts the changes of a project's webhooks; 0 while it never had one. Who stores a message sees it and knows whether what it
-- remembers of the webhooks is still so.
ALTER TABLE projects ADD COLUMN hooks BIGINT NOT NULL DEFAULT 0;

CREATE TABLE webhooks (
    project      BYTEA NOT NULL REFERENCES projects(id),
    id           BYTEA NOT NULL,
    description  TEXT COLLATE "C" NOT NULL,
    url          TEXT COLLATE "C" NOT NULL,
    kind         BIGINT NOT NULL,
    channel      TEXT COLLATE "C",
    filter       TEXT COLLATE "C",
    payload_only BOOLEAN NOT NULL,
    ordered      BOOLEAN NOT NULL,
    enabled      BOOLEAN NOT NULL,
    reason       TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- Sealed.
    headers      BYTEA NOT NULL,
    secret       BYTEA NOT NULL,
    former       BYTEA,
    former_until BIGINT,
    created      BIGINT NOT NULL,
    changed      BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);

-- A webhook's deliveries in numbers, changed in the transactions that change them. It outlives its webhook until they are erased.
CREATE TABLE webhook_queues (
    project       BYTEA NOT NULL,
    hook          BYTEA NOT NULL,
    waiting       BIGINT NOT NULL DEFAULT 0,
    failed        BIGINT NOT NULL DEFAULT 0,
    dropped       BIGINT NOT NULL DEFAULT 0,
    skipped       BIGINT NOT NULL DEFAULT 0,
    logged        BIGINT NOT NULL DEFAULT 0,
    failing_since BIGINT,
    failures      BIGINT NOT NULL DEFAULT 0,
    probe_at      BIGINT,
    PRIMARY KEY (project, hook)
);

CREATE INDEX webhook_queues_waiting ON webhook_queues(project, hook) WHERE waiting > 0;

-- What is to be sent. While `lease` names the worker that sends it, `due` is when the lease ends.
CREATE TABLE webhook_deliveries (
    project BYTEA NOT NULL,
    hook    BYTEA NOT NULL,
    message BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    ts      BIGINT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,
    due     BIGINT NOT NULL,
    lease   BIGINT,
    PRIMARY KEY (project, hook, message)
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries(project, hook, due, message);

-- What failed for good or was skipped, and can be made again.
CREATE TABLE webhook_failures (
    project BYTEA NOT NULL,
    hook    BYTEA NOT NULL,
    at      BIGINT NOT NULL,
    message BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    ts      BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    reason  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, hook, at, message)
);

CREATE TABLE webhook_attempts (
    project BYTEA NOT NULL,
    hook    BYTEA NOT NULL,
    n       BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    message BYTEA NOT NULL,
    device  BYTEA,
    ts      BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    result  TEXT COLLATE "C" NOT NULL,
    millis  BIGINT NOT NULL,
    bytes   BIGINT NOT NULL,
    answer  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, hook, n)
);
