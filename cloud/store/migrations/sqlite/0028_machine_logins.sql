-- Logins of people on machines, by the hashes of their secrets.
CREATE TABLE machine_logins (
    hash BLOB NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    user_id BLOB NOT NULL,
    machine TEXT NOT NULL,
    prefix TEXT NOT NULL,
    address TEXT,
    -- None for all projects of the person.
    project BLOB,
    -- Bits of the scopes.
    scopes INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER,
    -- Value of users.logins at the creation; the login ends when that changes.
    round INTEGER NOT NULL
) STRICT;

CREATE INDEX machine_logins_user ON machine_logins(user_id, created);
