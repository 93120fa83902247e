-- Paths of numbers in messages that are series, and what became no series.
CREATE TABLE series (
    project BLOB NOT NULL,
    path    TEXT NOT NULL,
    id      INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    PRIMARY KEY (project, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE series_counts (
    project BLOB NOT NULL PRIMARY KEY,
    next_id INTEGER NOT NULL,
    kept    INTEGER NOT NULL,
    deep    INTEGER NOT NULL DEFAULT 0,
    named   INTEGER NOT NULL DEFAULT 0,
    many    INTEGER NOT NULL DEFAULT 0,
    great   INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Values of a series within a minute (width 60000) or an hour (3600000). The sketch is empty for up to two values.
CREATE TABLE rollups (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    path    INTEGER NOT NULL,
    width   INTEGER NOT NULL,
    start   INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    total   REAL NOT NULL,
    low     REAL NOT NULL,
    high    REAL NOT NULL,
    sketch  BLOB NOT NULL,
    PRIMARY KEY (project, device, path, width, start)
) STRICT, WITHOUT ROWID;

-- Histories from before roll-ups were kept: what is older than (ts, id), or equal, is still to be rolled up.
CREATE TABLE series_fills (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    ts      INTEGER NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;

INSERT INTO series_fills (project, device, ts, id)
SELECT project, device, ts, x'ffffffffffffffffffffffff' FROM
    (SELECT d.project, d.id AS device, (SELECT max(m.ts) FROM messages m WHERE m.project = d.project AND m.device = d.id) AS ts FROM devices d) AS known
WHERE ts IS NOT NULL;
