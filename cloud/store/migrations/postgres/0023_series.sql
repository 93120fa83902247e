-- Paths of numbers in messages that are series, and what became no series.
CREATE TABLE series (
    project BYTEA NOT NULL,
    path    TEXT COLLATE "C" NOT NULL,
    id      BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    PRIMARY KEY (project, path)
);

CREATE TABLE series_counts (
    project BYTEA NOT NULL PRIMARY KEY,
    next_id BIGINT NOT NULL,
    kept    BIGINT NOT NULL,
    deep    BIGINT NOT NULL DEFAULT 0,
    named   BIGINT NOT NULL DEFAULT 0,
    many    BIGINT NOT NULL DEFAULT 0,
    great   BIGINT NOT NULL DEFAULT 0,
    refused BIGINT NOT NULL DEFAULT 0
);

-- Values of a series within a minute (width 60000) or an hour (3600000). The sketch is empty for up to two values.
CREATE TABLE rollups (
    project BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    path    BIGINT NOT NULL,
    width   BIGINT NOT NULL,
    start   BIGINT NOT NULL,
    n       BIGINT NOT NULL,
    total   DOUBLE PRECISION NOT NULL,
    low     DOUBLE PRECISION NOT NULL,
    high    DOUBLE PRECISION NOT NULL,
    sketch  BYTEA NOT NULL,
    PRIMARY KEY (project, device, path, width, start)
);

-- Histories from before roll-ups were kept: what is older than (ts, id), or equal, is still to be rolled up.
CREATE TABLE series_fills (
    project BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    ts      BIGINT NOT NULL,
    id      BYTEA NOT NULL,
    PRIMARY KEY (project, device)
);

INSERT INTO series_fills (project, device, ts, id)
SELECT project, device, ts, '\xffffffffffffffffffffffff'::BYTEA FROM
    (SELECT d.project, d.id AS device, (SELECT max(m.ts) FROM messages m WHERE m.project = d.project AND m.device = d.id) AS ts FROM devices d) AS known
WHERE ts IS NOT NULL;
