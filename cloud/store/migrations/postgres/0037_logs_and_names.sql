-- Log lines of a project in the order in which the cloud received them: clocks of devices may be wrong. For older lines the
-- time of the device stands in, if it is not ahead.
ALTER TABLE device_logs ADD COLUMN at BIGINT NOT NULL DEFAULT 0;
UPDATE device_logs SET at = least(device_ts, CAST(extract(epoch FROM now()) * 1000 AS BIGINT));
DROP INDEX device_logs_by_time;
CREATE INDEX device_logs_by_arrival ON device_logs (project, at, device, n);
-- Devices in the natural order of their names: device-2 before device-10. The cloud fills the keys of older rows.
ALTER TABLE devices ADD COLUMN name_key TEXT COLLATE "C" NOT NULL DEFAULT '';
DROP INDEX devices_named;
CREATE INDEX devices_named ON devices(project, name_key, id);
CREATE INDEX devices_without_key ON devices(project, id) WHERE name_key = '';
