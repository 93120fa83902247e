-- Organisations other than the default one, whose id is sixteen zero bytes and which has a row only when it was renamed.
CREATE TABLE organizations (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    created BIGINT NOT NULL
);
ALTER TABLE projects ADD COLUMN organization BYTEA NOT NULL DEFAULT '\x00000000000000000000000000000000';
CREATE INDEX projects_organization ON projects(organization);

-- People who can log in: with a password (an Argon2 hash), or by an identity provider, which names them by issuer and subject.
CREATE TABLE users (
    id BYTEA NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    password TEXT COLLATE "C",
    issuer TEXT COLLATE "C",
    subject TEXT COLLATE "C",
    created BIGINT NOT NULL,
    seen BIGINT,
    logins BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX users_subject ON users(issuer, subject);

CREATE TABLE members (
    organization BYTEA NOT NULL,
    user_id BYTEA NOT NULL,
    role BIGINT NOT NULL,
    PRIMARY KEY (organization, user_id)
);
CREATE INDEX members_user ON members(user_id);

-- Links that make their holder a member, or let a user choose a new password; by the hashes of their secrets.
CREATE TABLE invitations (
    hash BYTEA NOT NULL PRIMARY KEY,
    organization BYTEA NOT NULL,
    role BIGINT NOT NULL,
    user_id BYTEA,
    author TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX invitations_organization ON invitations(organization);

-- Changes of organisations and their members; those of projects are in `audit`.
CREATE TABLE organization_audit (
    organization BYTEA NOT NULL,
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    actor_id BYTEA NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (organization, n)
);

-- Until now `write` included sending commands and rollouts, which have scopes of their own from here on.
UPDATE tokens SET scopes = scopes | 48 WHERE scopes & 2 <> 0;
