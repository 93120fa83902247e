-- Texts compare by their bytes, as in the other store: COLLATE "C".

CREATE TABLE projects (
    id             BYTEA NOT NULL PRIMARY KEY,
    name           TEXT COLLATE "C" NOT NULL,
    created        BIGINT NOT NULL DEFAULT 0,
    -- Days that messages are kept; null for ever.
    retention_days BIGINT
);

CREATE TABLE groups (
    project  BYTEA NOT NULL REFERENCES projects(id),
    id       BYTEA NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    branch   TEXT COLLATE "C" NOT NULL DEFAULT '',
    status   TEXT COLLATE "C" NOT NULL DEFAULT '',
    revision TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (project, id),
    UNIQUE (project, name)
);

CREATE TABLE devices (
    project       BYTEA NOT NULL REFERENCES projects(id),
    id            BYTEA NOT NULL UNIQUE,
    group_id      BYTEA NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    mac           TEXT COLLATE "C" NOT NULL DEFAULT '',
    secret        BYTEA NOT NULL,
    online        BOOLEAN NOT NULL DEFAULT false,
    online_since  BIGINT,
    agent_version TEXT COLLATE "C" NOT NULL DEFAULT '',
    firmware      TEXT COLLATE "C",
    tags          TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    -- Settings for its firmware: the text as it was set, and which version the device has said it took.
    config          TEXT COLLATE "C",
    config_version  BIGINT NOT NULL DEFAULT 0,
    config_changed  BIGINT NOT NULL DEFAULT 0,
    config_taken    BIGINT,
    config_taken_at BIGINT,
    PRIMARY KEY (project, id),
    FOREIGN KEY (project, group_id) REFERENCES groups(project, id)
);

CREATE INDEX devices_online ON devices(project, id) WHERE online;
CREATE INDEX devices_group ON devices(project, group_id);

CREATE TABLE tokens (
    hash    BYTEA NOT NULL PRIMARY KEY,
    project BYTEA NOT NULL REFERENCES projects(id),
    name    TEXT COLLATE "C" NOT NULL,
    id      BYTEA NOT NULL,
    prefix  TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- Bits of the scopes.
    scopes  BIGINT NOT NULL DEFAULT 7,
    created BIGINT NOT NULL DEFAULT 0,
    expires BIGINT,
    used    BIGINT,
    UNIQUE (project, id)
);

CREATE TABLE definitions (
    project  BYTEA NOT NULL REFERENCES projects(id),
    cmd_type TEXT COLLATE "C" NOT NULL,
    body     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, cmd_type)
);

-- The history. The key is the order of reading; the body is text because key order and duplicate keys are meaning.
-- Partitions are months, made as messages come; there is no default one, so that reads in order need no sorting.
CREATE TABLE messages (
    project   BYTEA NOT NULL,
    device    BYTEA NOT NULL,
    ts        BIGINT NOT NULL,
    id        BYTEA NOT NULL,
    kind      BIGINT NOT NULL,
    device_ts BIGINT NOT NULL,
    channel   TEXT COLLATE "C",
    stream    BYTEA,
    seq       BIGINT,
    body      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, device, ts, id)
) PARTITION BY RANGE (ts);

-- What is accounted for of each stream; the only memory that tells a new record from a repeated one.
CREATE TABLE streams (
    project BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    stream  BYTEA NOT NULL,
    class   BIGINT,
    upto    BIGINT NOT NULL,
    sparse  BYTEA NOT NULL,
    recent  BYTEA NOT NULL,
    touched BIGINT NOT NULL,
    PRIMARY KEY (project, device, stream)
);

CREATE TABLE commands (
    project    BYTEA NOT NULL,
    device     BYTEA NOT NULL,
    id         BYTEA NOT NULL,
    cmd_type   TEXT COLLATE "C" NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    status     BIGINT NOT NULL,
    detail     TEXT COLLATE "C",
    created    BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    changed    BIGINT NOT NULL,
    sent       BIGINT,
    delivered  BIGINT,
    cancelling BOOLEAN NOT NULL DEFAULT false,
    PRIMARY KEY (project, device, id)
);

-- Status 0 to 2 is queued, sent, delivered: what is still open.
CREATE INDEX commands_open ON commands(project, device, created, id) WHERE status < 3;
CREATE INDEX commands_expiry ON commands(expires) WHERE status < 2;
CREATE INDEX commands_newest ON commands(project, device, created, id);

CREATE TABLE device_logs (
    project   BYTEA NOT NULL,
    device    BYTEA NOT NULL,
    n         BIGINT NOT NULL,
    level     BIGINT NOT NULL,
    body      TEXT COLLATE "C" NOT NULL,
    device_ts BIGINT NOT NULL,
    PRIMARY KEY (project, device, n)
);

-- Requests that must not act twice, for a day.
CREATE TABLE idempotency (
    project BYTEA NOT NULL,
    token   BYTEA NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    request BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    command BYTEA NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (project, token, name)
);

CREATE INDEX idempotency_age ON idempotency(created);

CREATE TABLE licences (
    project BYTEA NOT NULL,
    code    TEXT COLLATE "C" NOT NULL UNIQUE,
    device  BYTEA NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    paired  BIGINT,
    PRIMARY KEY (project, device)
);

CREATE TABLE branches (
    project BYTEA NOT NULL REFERENCES projects(id),
    name    TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

-- The working copy of a branch.
CREATE TABLE snippets (
    project     BYTEA NOT NULL,
    branch      TEXT COLLATE "C" NOT NULL,
    id          BYTEA NOT NULL,
    kind        BIGINT NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    code        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, branch, id),
    UNIQUE (project, branch, kind, name),
    FOREIGN KEY (project, branch) REFERENCES branches(project, name)
);

-- Saved versions; `body` is the list of snippets.
CREATE TABLE revisions (
    project BYTEA NOT NULL,
    branch  TEXT COLLATE "C" NOT NULL,
    n       BIGINT NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    author  TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    digest  TEXT COLLATE "C" NOT NULL,
    body    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, branch, n),
    FOREIGN KEY (project, branch) REFERENCES branches(project, name)
);

CREATE TABLE audit (
    project BYTEA NOT NULL,
    n       BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    actor   TEXT COLLATE "C" NOT NULL,
    token   BYTEA NOT NULL,
    action  TEXT COLLATE "C" NOT NULL,
    target  TEXT COLLATE "C" NOT NULL,
    detail  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, n)
);

-- Devices that are deleted and whose data is still to be erased.
CREATE TABLE erasures (
    project   BYTEA NOT NULL,
    device    BYTEA NOT NULL,
    requested BIGINT NOT NULL,
    PRIMARY KEY (project, device)
);
