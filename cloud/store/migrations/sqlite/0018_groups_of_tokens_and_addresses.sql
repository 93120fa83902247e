-- Deployment group that a token is bound to; null for the whole project.
ALTER TABLE tokens ADD COLUMN group_id BLOB;

-- Address that a change was requested from; null for changes of the cloud itself and of before.
ALTER TABLE audit ADD COLUMN address TEXT;
ALTER TABLE organization_audit ADD COLUMN address TEXT;
