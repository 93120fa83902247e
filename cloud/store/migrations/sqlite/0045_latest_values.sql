-- Latest values of a device, packed in one text, and the time of the oldest of them.
CREATE TABLE latest_values (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    oldest  INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;

-- Histories from before latest values were kept: what is older than (ts, id), or equal, is still to be looked at.
CREATE TABLE latest_fills (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    ts      INTEGER NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;

INSERT INTO latest_fills (project, device, ts, id)
SELECT project, device, ts, x'ffffffffffffffffffffffff' FROM
    (SELECT d.project, d.id AS device, (SELECT max(m.ts) FROM messages m WHERE m.project = d.project AND m.device = d.id) AS ts FROM devices d) AS known
WHERE ts IS NOT NULL;
