-- Last proof of a device's link: kind and time of a packet, as of its last connection or the end of it.
ALTER TABLE devices ADD COLUMN proof_packet TEXT;
ALTER TABLE devices ADD COLUMN proof_at INTEGER;
-- Planned absence.
ALTER TABLE devices ADD COLUMN absent_from INTEGER;
ALTER TABLE devices ADD COLUMN absent_until INTEGER;
ALTER TABLE devices ADD COLUMN absent_reason TEXT;
CREATE INDEX devices_absent ON devices(absent_until) WHERE absent_until IS NOT NULL;
