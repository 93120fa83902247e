-- Latest report of each device about its queue and its sandbox.
CREATE TABLE device_health (
    project BLOB NOT NULL,
    device  BLOB NOT NULL,
    -- Time of receipt.
    at      INTEGER NOT NULL,
    -- The report as JSON.
    report  TEXT NOT NULL,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;
