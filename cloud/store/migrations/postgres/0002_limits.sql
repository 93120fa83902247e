-- What a project may hold and keep; null for no limit.
ALTER TABLE projects ADD COLUMN max_devices BIGINT;
ALTER TABLE projects ADD COLUMN max_definitions BIGINT;
ALTER TABLE projects ADD COLUMN max_messages_per_day BIGINT;
ALTER TABLE projects ADD COLUMN max_bytes BIGINT;
-- Bytes of messages that are kept; the oldest go first.
ALTER TABLE projects ADD COLUMN retention_bytes BIGINT;

-- Messages by the hour that they were received in, counted from 1970; the row of hour -1 is the project's total.
CREATE TABLE usage (
    project  BYTEA NOT NULL,
    hour     BIGINT NOT NULL,
    -- All that came, and what of it is there now.
    received BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    bytes    BIGINT NOT NULL,
    PRIMARY KEY (project, hour)
);

INSERT INTO usage SELECT project, ts / 3600000, count(*), count(*), sum(octet_length(body)) FROM messages GROUP BY project, ts / 3600000;
INSERT INTO usage SELECT project, -1, sum(received), sum(messages), sum(bytes) FROM usage GROUP BY project;
