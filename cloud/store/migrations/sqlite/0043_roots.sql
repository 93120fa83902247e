-- Version of the root of releases that a device trusts, as it has reported; none before its first report.
ALTER TABLE devices ADD COLUMN root_version INTEGER;
UPDATE devices SET root_version = max(1, json_extract(facts, '$.root_version')) WHERE facts IS NOT NULL;
CREATE INDEX devices_root ON devices(project, root_version);

-- Roots of releases that were published through the cloud. The roots themselves are files.
CREATE TABLE release_roots (
    project BLOB NOT NULL,
    version INTEGER NOT NULL,
    author TEXT NOT NULL,
    published INTEGER NOT NULL,
    PRIMARY KEY (project, version)
) STRICT, WITHOUT ROWID;
