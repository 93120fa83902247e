-- What decides on releases on a device, in its own words (JSON), and the highest counter of a directive to it.
ALTER TABLE devices ADD COLUMN facts TEXT COLLATE "C";
ALTER TABLE devices ADD COLUMN directive_counter BIGINT NOT NULL DEFAULT 0;
-- How rollouts in a group spread, and the one that counts now.
ALTER TABLE groups ADD COLUMN policy TEXT COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE groups ADD COLUMN rollout BYTEA;
-- sha256 of the component that was uploaded in place of code.
ALTER TABLE revisions ADD COLUMN component TEXT COLLATE "C";

-- Signed releases; the files lie in the project's repository.
CREATE TABLE releases (
    project      BYTEA NOT NULL REFERENCES projects(id),
    seq          BIGINT NOT NULL,
    path         TEXT COLLATE "C" NOT NULL,
    branch       TEXT COLLATE "C" NOT NULL,
    revision     BIGINT NOT NULL,
    sha256       TEXT COLLATE "C" NOT NULL,
    size         BIGINT NOT NULL,
    -- Names what it was made from and by which builder.
    source       TEXT COLLATE "C" NOT NULL,
    capabilities TEXT COLLATE "C" NOT NULL,
    grace_ms     BIGINT NOT NULL,
    author       TEXT COLLATE "C" NOT NULL,
    created      BIGINT NOT NULL,
    PRIMARY KEY (project, seq)
);

CREATE TABLE rollouts (
    project   BYTEA NOT NULL REFERENCES projects(id),
    id        BYTEA NOT NULL,
    group_id  BYTEA NOT NULL,
    release_seq BIGINT NOT NULL,
    -- 0 brings a release, 1 brings an earlier one back.
    kind      BIGINT NOT NULL,
    policy    TEXT COLLATE "C" NOT NULL,
    approved  TEXT COLLATE "C" NOT NULL,
    -- Devices may try again what they rolled back.
    forced    BIGINT NOT NULL,
    wish      TEXT COLLATE "C" NOT NULL,
    halted    BIGINT NOT NULL,
    soaked    BIGINT,
    soaked_at BIGINT,
    status    TEXT COLLATE "C" NOT NULL,
    evidence  TEXT COLLATE "C",
    -- 1 while its executor has something to do or may have.
    active    BIGINT NOT NULL,
    -- Grows with every change: who decided on an older state decides again.
    version   BIGINT NOT NULL,
    author    TEXT COLLATE "C" NOT NULL,
    created   BIGINT NOT NULL,
    changed   BIGINT NOT NULL,
    PRIMARY KEY (project, id),
    FOREIGN KEY (project, release_seq) REFERENCES releases(project, seq)
);

CREATE INDEX rollouts_active ON rollouts(created) WHERE active = 1;
CREATE INDEX rollouts_newest ON rollouts(project, created, id);

-- Devices that a rollout has told, and what became of it.
CREATE TABLE rollout_devices (
    project   BYTEA NOT NULL,
    rollout   BYTEA NOT NULL,
    device    BYTEA NOT NULL,
    -- Id of the directive that counts, its document or that of its withdrawal, and when it was decided.
    directive TEXT COLLATE "C" NOT NULL,
    counter   BIGINT NOT NULL,
    document  TEXT COLLATE "C" NOT NULL,
    told      BIGINT NOT NULL,
    withdrawn BIGINT,
    state     TEXT COLLATE "C",
    reason    TEXT COLLATE "C",
    detail    TEXT COLLATE "C",
    failures  BIGINT NOT NULL,
    changed   BIGINT NOT NULL,
    -- The states that it went through, each with its time: `state@millis` and a blank.
    steps     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, rollout, device),
    FOREIGN KEY (project, rollout) REFERENCES rollouts(project, id)
);

CREATE INDEX rollout_devices_directive ON rollout_devices(project, device, directive);
