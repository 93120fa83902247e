-- Last proof of a device's link: kind and time of a packet, as of its last connection or the end of it.
ALTER TABLE devices ADD COLUMN proof_packet TEXT COLLATE "C";
ALTER TABLE devices ADD COLUMN proof_at BIGINT;
-- Planned absence.
ALTER TABLE devices ADD COLUMN absent_from BIGINT;
ALTER TABLE devices ADD COLUMN absent_until BIGINT;
ALTER TABLE devices ADD COLUMN absent_reason TEXT COLLATE "C";
CREATE INDEX devices_absent ON devices(absent_until) WHERE absent_until IS NOT NULL;
