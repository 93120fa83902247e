-- Entries of agents and of the cloud in the order of time, without those of firmware: for the timeline of a device.
CREATE INDEX messages_of_agent ON messages(project, device, ts, id) WHERE kind = 1;
-- Changes of one object, for its timeline.
CREATE INDEX audit_target ON audit(project, target, n);

-- Links that show the deliveries of one webhook to people outside; the hashes of the link's secret and of the cookie that
-- the browser gets for it.
CREATE TABLE webhook_portals (
    project BYTEA NOT NULL,
    id      BYTEA NOT NULL,
    hook    BYTEA NOT NULL,
    link    BYTEA NOT NULL UNIQUE,
    cookie  BYTEA NOT NULL,
    author  TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used    BIGINT,
    PRIMARY KEY (project, id)
);

-- Plots that people keep under a name; `query` is their request as JSON.
CREATE TABLE saved_plots (
    project BYTEA NOT NULL,
    id      BYTEA NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    query   TEXT COLLATE "C" NOT NULL,
    author  TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (project, id),
    UNIQUE (project, name)
);
