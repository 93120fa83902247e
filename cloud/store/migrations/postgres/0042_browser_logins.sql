-- Logins of browsers, by the hashes of the secrets in their cookies.
CREATE TABLE browser_logins (
    hash BYTEA NOT NULL PRIMARY KEY,
    -- Project of the token; none for a person.
    project BYTEA,
    -- Token or person.
    actor BYTEA NOT NULL,
    -- Bits of the scopes that the token had; none for a person.
    scopes BIGINT,
    -- Value of projects.logins or users.logins at the login, which ends when that changes.
    round BIGINT NOT NULL,
    created BIGINT NOT NULL,
    -- Exact to a minute.
    used BIGINT NOT NULL,
    expires BIGINT NOT NULL
);

CREATE INDEX browser_logins_actor ON browser_logins(actor, created);
CREATE INDEX browser_logins_project ON browser_logins(project, actor, created);
CREATE INDEX browser_logins_expires ON browser_logins(expires);
