-- Version of the root of releases that a device trusts, as it has reported; none before its first report.
ALTER TABLE devices ADD COLUMN root_version BIGINT;
UPDATE devices SET root_version = greatest(1, (facts::json ->> 'root_version')::bigint) WHERE facts IS NOT NULL;
CREATE INDEX devices_root ON devices(project, root_version);

-- Roots of releases that were published through the cloud. The roots themselves are files.
CREATE TABLE release_roots (
    project BYTEA NOT NULL,
    version BIGINT NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    published BIGINT NOT NULL,
    PRIMARY KEY (project, version)
);
