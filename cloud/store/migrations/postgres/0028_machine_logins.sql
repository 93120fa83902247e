-- Logins of people on machines, by the hashes of their secrets.
CREATE TABLE machine_logins (
    hash BYTEA NOT NULL PRIMARY KEY,
    id BYTEA NOT NULL UNIQUE,
    user_id BYTEA NOT NULL,
    machine TEXT COLLATE "C" NOT NULL,
    prefix TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C",
    -- None for all projects of the person.
    project BYTEA,
    -- Bits of the scopes.
    scopes BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT,
    -- Value of users.logins at the creation; the login ends when that changes.
    round BIGINT NOT NULL
);

CREATE INDEX machine_logins_user ON machine_logins(user_id, created);
