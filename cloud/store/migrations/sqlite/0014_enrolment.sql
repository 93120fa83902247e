-- Keys of enrolled devices. A device key belongs to one device of the cloud.
CREATE TABLE device_keys (
    project BLOB NOT NULL,
    device BLOB NOT NULL,
    device_key BLOB NOT NULL UNIQUE,
    sealing_key BLOB NOT NULL,
    sealing_proof BLOB NOT NULL,
    hardware TEXT,
    profile TEXT NOT NULL,
    enrolled INTEGER NOT NULL,
    -- Time without a connection after which the device is deleted; null for never.
    ephemeral_ms INTEGER,
    PRIMARY KEY (project, device)
) STRICT;

-- Secrets of broker logins: the newest of a device and, until its end, the one before. Hashes only.
CREATE TABLE device_secrets (
    project BLOB NOT NULL,
    device BLOB NOT NULL,
    hash BLOB NOT NULL,
    nonce BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (project, device, hash)
) STRICT;

CREATE TABLE enrolment_keys (
    project BLOB NOT NULL,
    id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    uses INTEGER NOT NULL,
    max_uses INTEGER NOT NULL,
    group_id BLOB,
    tags TEXT NOT NULL,
    ephemeral_ms INTEGER,
    PRIMARY KEY (project, id)
) STRICT;

-- Random keys that all clouds on this database use, by their purpose.
CREATE TABLE cloud_keys (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
