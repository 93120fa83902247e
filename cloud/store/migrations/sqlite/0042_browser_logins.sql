-- Logins of browsers, by the hashes of the secrets in their cookies.
CREATE TABLE browser_logins (
    hash BLOB NOT NULL PRIMARY KEY,
    -- Project of the token; none for a person.
    project BLOB,
    -- Token or person.
    actor BLOB NOT NULL,
    -- Bits of the scopes that the token had; none for a person.
    scopes INTEGER,
    -- Value of projects.logins or users.logins at the login, which ends when that changes.
    round INTEGER NOT NULL,
    created INTEGER NOT NULL,
    -- Exact to a minute.
    used INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX browser_logins_actor ON browser_logins(actor, created);
CREATE INDEX browser_logins_project ON browser_logins(project, actor, created);
CREATE INDEX browser_logins_expires ON browser_logins(expires);
