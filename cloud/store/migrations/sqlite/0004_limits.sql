-- What a project may hold and keep; null for no limit.
ALTER TABLE projects ADD COLUMN max_devices INTEGER;
ALTER TABLE projects ADD COLUMN max_definitions INTEGER;
ALTER TABLE projects ADD COLUMN max_messages_per_day INTEGER;
ALTER TABLE projects ADD COLUMN max_bytes INTEGER;
-- Bytes of messages that are kept; the oldest go first.
ALTER TABLE projects ADD COLUMN retention_bytes INTEGER;

-- Messages by the hour that they were received in, counted from 1970; the row of hour -1 is the project's total.
CREATE TABLE usage (
    project  BLOB NOT NULL,
    hour     INTEGER NOT NULL,
    -- All that came, and what of it is there now.
    received INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (project, hour)
) STRICT, WITHOUT ROWID;

INSERT INTO usage SELECT project, ts / 3600000, count(*), count(*), sum(octet_length(body)) FROM messages GROUP BY project, ts / 3600000;
INSERT INTO usage SELECT project, -1, sum(received), sum(messages), sum(bytes) FROM usage GROUP BY project;
