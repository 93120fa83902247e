-- Settings that people keep for a device's firmware: the text as it was set, and which version the device has said it took.
ALTER TABLE devices ADD COLUMN config TEXT;
ALTER TABLE devices ADD COLUMN config_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN config_changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN config_taken INTEGER;
ALTER TABLE devices ADD COLUMN config_taken_at INTEGER;
