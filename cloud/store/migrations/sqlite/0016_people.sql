-- Organisations other than the default one, whose id is sixteen zero bytes and which has a row only when it was renamed.
CREATE TABLE organizations (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT;
ALTER TABLE projects ADD COLUMN organization BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
CREATE INDEX projects_organization ON projects(organization);

-- People who can log in: with a password (an Argon2 hash), or by an identity provider, which names them by issuer and subject.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT,
    issuer TEXT,
    subject TEXT,
    created INTEGER NOT NULL,
    seen INTEGER,
    logins INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX users_subject ON users(issuer, subject);

CREATE TABLE members (
    organization BLOB NOT NULL,
    user_id BLOB NOT NULL,
    role INTEGER NOT NULL,
    PRIMARY KEY (organization, user_id)
) STRICT;
CREATE INDEX members_user ON members(user_id);

-- Links that make their holder a member, or let a user choose a new password; by the hashes of their secrets.
CREATE TABLE invitations (
    hash BLOB NOT NULL PRIMARY KEY,
    organization BLOB NOT NULL,
    role INTEGER NOT NULL,
    user_id BLOB,
    author TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX invitations_organization ON invitations(organization);

-- Changes of organisations and their members; those of projects are in `audit`.
CREATE TABLE organization_audit (
    organization BLOB NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_id BLOB NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (organization, n)
) STRICT;

-- Until now `write` included sending commands and rollouts, which have scopes of their own from here on.
UPDATE tokens SET scopes = scopes | 48 WHERE scopes & 2 <> 0;
