-- Long actions that the cloud carries out by itself.
CREATE TABLE jobs (
    project BYTEA NOT NULL REFERENCES projects(id),
    id BYTEA NOT NULL,
    -- JSON of the action on each device.
    task TEXT COLLATE "C" NOT NULL,
    -- Exports wait for exports, other jobs for other jobs: 1 and 0.
    lane BIGINT NOT NULL,
    -- 0 queued, 1 running, 2 finished, 3 cancelled, 4 failed.
    state BIGINT NOT NULL,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    reason TEXT COLLATE "C",
    -- 1 token, 2 person; its id, its name, the group it was bound to, and its address.
    actor_kind BIGINT NOT NULL,
    actor BYTEA NOT NULL,
    actor_name TEXT COLLATE "C" NOT NULL,
    group_id BYTEA,
    address TEXT COLLATE "C",
    created BIGINT NOT NULL,
    started BIGINT,
    ended BIGINT,
    -- Key under which the requester can repeat the request, and the hash of the request.
    key TEXT COLLATE "C",
    request BYTEA,
    -- Number of the last turn; worker that has the job, and the time until which it does.
    turn BIGINT NOT NULL,
    worker BIGINT,
    lease BIGINT NOT NULL,
    -- Export: worker with the file, place in the history of the next device, entries, bytes, and the time of its removal.
    host BIGINT,
    place TEXT COLLATE "C",
    messages BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    file_until BIGINT,
    PRIMARY KEY (project, id)
);

CREATE INDEX jobs_open ON jobs(turn) WHERE state < 2;
CREATE INDEX jobs_time ON jobs(project, created, id);
CREATE INDEX jobs_ended ON jobs(ended) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs(project, actor, key) WHERE key IS NOT NULL;

-- Devices of a job, 100 ids of 16 bytes in a row.
CREATE TABLE job_parts (
    project BYTEA NOT NULL,
    job BYTEA NOT NULL,
    part BIGINT NOT NULL,
    devices BYTEA NOT NULL,
    PRIMARY KEY (project, job, part)
);

CREATE TABLE job_failures (
    project BYTEA NOT NULL,
    job BYTEA NOT NULL,
    n BIGINT NOT NULL,
    device BYTEA NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, job, n)
);
