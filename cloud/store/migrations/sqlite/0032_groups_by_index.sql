-- Groups, releases and rollouts of many devices: counts and pages from indexes.
ALTER TABLE devices ADD COLUMN digest TEXT NOT NULL DEFAULT '';
UPDATE devices SET digest = coalesce(json_extract(firmware, '$.digest'), '') WHERE firmware IS NOT NULL;
CREATE INDEX devices_grouped ON devices(project, group_id, id);
CREATE INDEX devices_running ON devices(project, group_id, digest);
CREATE INDEX devices_since ON devices(project, online_since DESC);
-- The index of connected devices tells their groups as well.
DROP INDEX devices_online;
CREATE INDEX devices_online ON devices(project, group_id, online, id) WHERE online = 1;
CREATE INDEX rollout_devices_states ON rollout_devices(project, rollout, device, state, withdrawn, reason, faults, changed);
