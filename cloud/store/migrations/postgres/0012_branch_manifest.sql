-- Text of the firmware.toml: of a branch's working copy, and of a revision; null if there is none.
ALTER TABLE branches ADD COLUMN manifest TEXT;
ALTER TABLE revisions ADD COLUMN manifest TEXT;
