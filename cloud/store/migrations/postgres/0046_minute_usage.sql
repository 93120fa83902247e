-- Messages of a project in each minute of the last day. A slot is the minute's place in its day; the next day takes it over.
CREATE TABLE minute_usage (
    project  BYTEA NOT NULL,
    slot     BIGINT NOT NULL,
    minute   BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (project, slot)
);
