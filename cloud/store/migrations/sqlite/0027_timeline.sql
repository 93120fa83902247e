-- Entries of agents and of the cloud in the order of time, without those of firmware: for the timeline of a device.
CREATE INDEX messages_of_agent ON messages(project, device, ts, id) WHERE kind = 1;
-- Changes of one object, for its timeline.
CREATE INDEX audit_target ON audit(project, target, n);

-- Links that show the deliveries of one webhook to people outside; the hashes of the link's secret and of the cookie that
-- the browser gets for it.
CREATE TABLE webhook_portals (
    project BLOB NOT NULL,
    id      BLOB NOT NULL,
    hook    BLOB NOT NULL,
    link    BLOB NOT NULL UNIQUE,
    cookie  BLOB NOT NULL,
    author  TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used    INTEGER,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

-- Plots that people keep under a name; `query` is their request as JSON.
CREATE TABLE saved_plots (
    project BLOB NOT NULL,
    id      BLOB NOT NULL,
    name    TEXT NOT NULL,
    query   TEXT NOT NULL,
    author  TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (project, id),
    UNIQUE (project, name)
) STRICT, WITHOUT ROWID;
