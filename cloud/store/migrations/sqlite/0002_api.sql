ALTER TABLE projects ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
-- Days that messages are kept; null for ever.
ALTER TABLE projects ADD COLUMN retention_days INTEGER;

ALTER TABLE devices ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';

ALTER TABLE tokens ADD COLUMN id BLOB NOT NULL DEFAULT x'';
ALTER TABLE tokens ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
-- Bits of the scopes; 7 is everything within the project, which tokens were good for until now.
ALTER TABLE tokens ADD COLUMN scopes INTEGER NOT NULL DEFAULT 7;
ALTER TABLE tokens ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN expires INTEGER;
ALTER TABLE tokens ADD COLUMN used INTEGER;
UPDATE tokens SET id = randomblob(16);
CREATE UNIQUE INDEX tokens_id ON tokens(project, id);

ALTER TABLE commands ADD COLUMN sent INTEGER;
ALTER TABLE commands ADD COLUMN delivered INTEGER;
ALTER TABLE commands ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0;
CREATE INDEX commands_newest ON commands(project, device, created, id);

-- Requests that must not act twice, for a day.
CREATE TABLE idempotency (
    project BLOB NOT NULL,
    token   BLOB NOT NULL,
    name    TEXT NOT NULL,
    request BLOB NOT NULL,
    device  BLOB NOT NULL,
    command BLOB NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (project, token, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency(created);

CREATE TABLE licences (
    project BLOB NOT NULL,
    code    TEXT NOT NULL UNIQUE,
    device  BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    paired  INTEGER,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE branches (
    project BLOB NOT NULL REFERENCES projects(id),
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

-- The working copy of a branch.
CREATE TABLE snippets (
    project     BLOB NOT NULL,
    branch      TEXT NOT NULL,
    id          BLOB NOT NULL,
    kind        INTEGER NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    code        TEXT NOT NULL,
    PRIMARY KEY (project, branch, id),
    UNIQUE (project, branch, kind, name),
    FOREIGN KEY (project, branch) REFERENCES branches(project, name)
) STRICT, WITHOUT ROWID;

-- Saved versions; `body` is the list of snippets.
CREATE TABLE revisions (
    project BLOB NOT NULL,
    branch  TEXT NOT NULL,
    n       INTEGER NOT NULL,
    message TEXT NOT NULL,
    author  TEXT NOT NULL,
    created INTEGER NOT NULL,
    digest  TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (project, branch, n),
    FOREIGN KEY (project, branch) REFERENCES branches(project, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    project BLOB NOT NULL,
    n       INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    token   BLOB NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    detail  TEXT NOT NULL,
    PRIMARY KEY (project, n)
) STRICT, WITHOUT ROWID;

-- Devices that are deleted and whose data is still to be erased.
CREATE TABLE erasures (
    project   BLOB NOT NULL,
    device    BLOB NOT NULL,
    requested INTEGER NOT NULL,
    PRIMARY KEY (project, device)
) STRICT, WITHOUT ROWID;

-- Every project has a branch; its sections and handlers are made at the first start after this step.
INSERT INTO branches (project, name, created, changed) SELECT id, 'main', 0, 0 FROM projects;
