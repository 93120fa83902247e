CREATE TABLE projects (
    id   BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    project  BLOB NOT NULL REFERENCES projects(id),
    id       BLOB NOT NULL,
    name     TEXT NOT NULL,
    branch   TEXT NOT NULL DEFAULT '',
    status   TEXT NOT NULL DEFAULT '',
    revision TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (project, id),
    UNIQUE (project, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    project       BLOB NOT NULL REFERENCES projects(id),
    id            BLOB NOT NULL UNIQUE,
    group_id      BLOB NOT NULL,
    name          TEXT NOT NULL,
    mac           TEXT NOT NULL DEFAULT '',
    secret        BLOB NOT NULL,
    online        INTEGER NOT NULL DEFAULT 0,
    online_since  INTEGER,
    agent_version TEXT NOT NULL DEFAULT '',
    firmware      TEXT,
    PRIMARY KEY (project, id),
    FOREIGN KEY (project, group_id) REFERENCES groups(project, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_online ON devices(project, id) WHERE online = 1;

CREATE TABLE tokens (
    hash    BLOB NOT NULL PRIMARY KEY,
    project BLOB NOT NULL REFERENCES projects(id),
    name    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE definitions (
    project  BLOB NOT NULL REFERENCES projects(id),
    cmd_type TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (project, cmd_type)
) STRICT, WITHOUT ROWID;

-- The history. The key is the order of reading; the body is text because key order and duplicate keys are meaning.
CREATE TABLE messages (
    project   BLOB NOT NULL,
    device    BLOB NOT NULL,
    ts        INTEGER NOT NULL,
    id        BLOB NOT NULL,
    kind      INTEGER NOT NULL,
    device_ts INTEGER NOT NULL,
    channel   TEXT,
    stream    BLOB,
    seq       INTEGER,
    body      TEXT NOT NULL,
    PRIMARY KEY (project, device, ts, id)
) STRICT, WITHOUT ROWID;

-- What is accounted for of each stream; the only memory that tells a new record from a repeated one.
CREATE TABLE streams (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    stream  BLOB NOT NULL,
    class   INTEGER,
    upto    INTEGER NOT NULL,
    sparse  BLOB NOT NULL,
    recent  BLOB NOT NULL,
    touched INTEGER NOT NULL,
    PRIMARY KEY (project, device, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    project  BLOB NOT NULL,
    device   BLOB NOT NULL,
    id       BLOB NOT NULL,
    cmd_type TEXT NOT NULL,
    body     TEXT NOT NULL,
    status   INTEGER NOT NULL,
    detail   TEXT,
    created  INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (project, device, id)
) STRICT, WITHOUT ROWID;

-- Status 0 to 2 is queued, sent, delivered: what is still open.
CREATE INDEX commands_open ON commands(project, device, created, id) WHERE status < 3;
CREATE INDEX commands_expiry ON commands(expires) WHERE status < 2;

CREATE TABLE device_logs (
    project   BLOB NOT NULL,
    device    BLOB NOT NULL,
    n         INTEGER NOT NULL,
    level     INTEGER NOT NULL,
    body      TEXT NOT NULL,
    device_ts INTEGER NOT NULL,
    PRIMARY KEY (project, device, n)
) STRICT, WITHOUT ROWID;
