-- What decides on releases on a device, in its own words (JSON), and the highest counter of a directive to it.
ALTER TABLE devices ADD COLUMN facts TEXT;
ALTER TABLE devices ADD COLUMN directive_counter INTEGER NOT NULL DEFAULT 0;
-- How rollouts in a group spread, and the one that counts now.
ALTER TABLE groups ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE groups ADD COLUMN rollout BLOB;
-- sha256 of the component that was uploaded in place of code.
ALTER TABLE revisions ADD COLUMN component TEXT;

-- Signed releases; the files lie in the project's repository.
CREATE TABLE releases (
    project      BLOB NOT NULL REFERENCES projects(id),
    seq          INTEGER NOT NULL,
    path         TEXT NOT NULL,
    branch       TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    sha256       TEXT NOT NULL,
    size         INTEGER NOT NULL,
    -- Names what it was made from and by which builder.
    source       TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    grace_ms     INTEGER NOT NULL,
    author       TEXT NOT NULL,
    created      INTEGER NOT NULL,
    PRIMARY KEY (project, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    project   BLOB NOT NULL REFERENCES projects(id),
    id        BLOB NOT NULL,
    group_id  BLOB NOT NULL,
    release_seq INTEGER NOT NULL,
    -- 0 brings a release, 1 brings an earlier one back.
    kind      INTEGER NOT NULL,
    policy    TEXT NOT NULL,
    approved  TEXT NOT NULL,
    -- Devices may try again what they rolled back.
    forced    INTEGER NOT NULL,
    wish      TEXT NOT NULL,
    halted    INTEGER NOT NULL,
    soaked    INTEGER,
    soaked_at INTEGER,
    status    TEXT NOT NULL,
    evidence  TEXT,
    -- 1 while its executor has something to do or may have.
    active    INTEGER NOT NULL,
    -- Grows with every change: who decided on an older state decides again.
    version   INTEGER NOT NULL,
    author    TEXT NOT NULL,
    created   INTEGER NOT NULL,
    changed   INTEGER NOT NULL,
    PRIMARY KEY (project, id),
    FOREIGN KEY (project, release_seq) REFERENCES releases(project, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollouts_active ON rollouts(created) WHERE active = 1;
CREATE INDEX rollouts_newest ON rollouts(project, created, id);

-- Devices that a rollout has told, and what became of it.
CREATE TABLE rollout_devices (
    project   BLOB NOT NULL,
    rollout   BLOB NOT NULL,
    device    BLOB NOT NULL,
    -- Id of the directive that counts, its document or that of its withdrawal, and when it was decided.
    directive TEXT NOT NULL,
    counter   INTEGER NOT NULL,
    document  TEXT NOT NULL,
    told      INTEGER NOT NULL,
    withdrawn INTEGER,
    state     TEXT,
    reason    TEXT,
    detail    TEXT,
    failures  INTEGER NOT NULL,
    changed   INTEGER NOT NULL,
    -- The states that it went through, each with its time: `state@millis` and a blank.
    steps     TEXT NOT NULL,
    PRIMARY KEY (project, rollout, device),
    FOREIGN KEY (project, rollout) REFERENCES rollouts(project, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollout_devices_directive ON rollout_devices(project, device, directive);
