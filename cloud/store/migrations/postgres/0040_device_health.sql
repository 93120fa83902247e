-- Latest report of each device about its queue and its sandbox.
CREATE TABLE device_health (
    project BYTEA NOT NULL,
    device  BYTEA NOT NULL,
    -- Time of receipt.
    at      BIGINT NOT NULL,
    -- The report as JSON.
    report  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, device)
);
