-- How often all logins of the project were ended; a login that began before the last time is over.
ALTER TABLE projects ADD COLUMN logins BIGINT NOT NULL DEFAULT 0;

-- The entry's number among those of its action.
ALTER TABLE audit ADD COLUMN k BIGINT NOT NULL DEFAULT 0;
UPDATE audit SET k = numbered.k FROM
    (SELECT project, n, row_number() OVER (PARTITION BY project, action ORDER BY n) AS k FROM audit) AS numbered
    WHERE audit.project = numbered.project AND audit.n = numbered.n;
CREATE INDEX audit_action ON audit(project, action, k);
