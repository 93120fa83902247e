-- Long actions that the cloud carries out by itself.
CREATE TABLE jobs (
    project BLOB NOT NULL REFERENCES projects(id),
    id BLOB NOT NULL,
    -- JSON of the action on each device.
    task TEXT NOT NULL,
    -- Exports wait for exports, other jobs for other jobs: 1 and 0.
    lane INTEGER NOT NULL,
    -- 0 queued, 1 running, 2 finished, 3 cancelled, 4 failed.
    state INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    reason TEXT,
    -- 1 token, 2 person; its id, its name, the group it was bound to, and its address.
    actor_kind INTEGER NOT NULL,
    actor BLOB NOT NULL,
    actor_name TEXT NOT NULL,
    group_id BLOB,
    address TEXT,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    -- Key under which the requester can repeat the request, and the hash of the request.
    key TEXT,
    request BLOB,
    -- Number of the last turn; worker that has the job, and the time until which it does.
    turn INTEGER NOT NULL,
    worker INTEGER,
    lease INTEGER NOT NULL,
    -- Export: worker with the file, place in the history of the next device, entries, bytes, and the time of its removal.
    host INTEGER,
    place TEXT,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    file_until INTEGER,
    PRIMARY KEY (project, id)
) STRICT;

CREATE INDEX jobs_open ON jobs(turn) WHERE state < 2;
CREATE INDEX jobs_time ON jobs(project, created, id);
CREATE INDEX jobs_ended ON jobs(ended) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs(project, actor, key) WHERE key IS NOT NULL;

-- Devices of a job, 100 ids of 16 bytes in a row.
CREATE TABLE job_parts (
    project BLOB NOT NULL,
    job BLOB NOT NULL,
    part INTEGER NOT NULL,
    devices BLOB NOT NULL,
    PRIMARY KEY (project, job, part)
) STRICT;

CREATE TABLE job_failures (
    project BLOB NOT NULL,
    job BLOB NOT NULL,
    n INTEGER NOT NULL,
    device BLOB NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (project, job, n)
) STRICT;
