-- True if everyone may read the signed metadata and components of a project's releases, as it was up to now.
ALTER TABLE projects ADD COLUMN public_releases BOOLEAN NOT NULL DEFAULT TRUE;
