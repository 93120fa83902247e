-- Messages of a project in each minute of the last day. A slot is the minute's place in its day; the next day takes it over.
CREATE TABLE minute_usage (
    project  BLOB NOT NULL,
    slot     INTEGER NOT NULL,
    minute   INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (project, slot)
) STRICT, WITHOUT ROWID;
