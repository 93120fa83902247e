-- How far the cloud's steady clock has come, milliseconds. It begins at the date of the first start, goes on only while a cloud
-- runs, and nobody sets it: durations are measured by it.
CREATE TABLE steady_clock (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);

-- The order in which the project's rollouts were started, from 1 on.
ALTER TABLE rollouts ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
UPDATE rollouts SET number = (SELECT count(*) FROM rollouts o WHERE o.project = rollouts.project
    AND (o.created < rollouts.created OR (o.created = rollouts.created AND o.id <= rollouts.id)));
CREATE INDEX rollouts_number ON rollouts(project, number);
-- How many devices it was for when it was started.
ALTER TABLE rollouts ADD COLUMN devices BIGINT NOT NULL DEFAULT 0;
-- Why it was given up; set together with the wish to cancel.
ALTER TABLE rollouts ADD COLUMN ended TEXT COLLATE "C";
-- When the device's last word was noticed, by the steady clock; none until the executor has noticed it.
ALTER TABLE rollout_devices ADD COLUMN heard BIGINT;
-- How often the firmware failed while it was on trial, and what it said last.
ALTER TABLE rollout_devices ADD COLUMN faults BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollout_devices ADD COLUMN fault TEXT COLLATE "C";

-- Bytes of code in the database, bytes of the project's files as they were measured last, and how many both may be in sum.
ALTER TABLE projects ADD COLUMN code_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN file_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN max_code_bytes BIGINT;
UPDATE projects SET code_bytes =
    (SELECT coalesce(sum(octet_length(body) + octet_length(message) + 200), 0) FROM revisions r WHERE r.project = projects.id)
    + (SELECT coalesce(sum(octet_length(code) + octet_length(description) + 100), 0) FROM snippets s WHERE s.project = projects.id);
-- Finds out whether a component is named by a revision.
CREATE INDEX revisions_component ON revisions(project, component) WHERE component IS NOT NULL;
