-- Keys of enrolled devices. A device key belongs to one device of the cloud.
CREATE TABLE device_keys (
    project BYTEA NOT NULL,
    device BYTEA NOT NULL,
    device_key BYTEA NOT NULL UNIQUE,
    sealing_key BYTEA NOT NULL,
    sealing_proof BYTEA NOT NULL,
    hardware TEXT COLLATE "C",
    profile TEXT COLLATE "C" NOT NULL,
    enrolled BIGINT NOT NULL,
    -- Time without a connection after which the device is deleted; null for never.
    ephemeral_ms BIGINT,
    PRIMARY KEY (project, device)
);

-- Secrets of broker logins: the newest of a device and, until its end, the one before. Hashes only.
CREATE TABLE device_secrets (
    project BYTEA NOT NULL,
    device BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    nonce BYTEA NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (project, device, hash)
);

CREATE TABLE enrolment_keys (
    project BYTEA NOT NULL,
    id BYTEA NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    prefix TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    uses BIGINT NOT NULL,
    max_uses BIGINT NOT NULL,
    group_id BYTEA,
    tags TEXT COLLATE "C" NOT NULL,
    ephemeral_ms BIGINT,
    PRIMARY KEY (project, id)
);

-- Random keys that all clouds on this database use, by their purpose.
CREATE TABLE cloud_keys (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
