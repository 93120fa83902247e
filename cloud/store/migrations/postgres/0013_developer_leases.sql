-- Developer leases: permission to run scripts that are not released on some devices for some hours, with the newest signed order.
-- Script and order are dropped when nothing needs them any more; the rest stays for people.
CREATE TABLE developer_leases (
    project BYTEA NOT NULL,
    id BYTEA NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    approved TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    ended BIGINT,
    ending TEXT COLLATE "C",
    counter BIGINT NOT NULL,
    order_id TEXT COLLATE "C",
    sha256 TEXT COLLATE "C",
    size BIGINT,
    sent BIGINT,
    document TEXT COLLATE "C",
    script BYTEA,
    PRIMARY KEY (project, id)
);
CREATE INDEX developer_leases_open ON developer_leases(expires) WHERE ended IS NULL;

-- The devices of leases, with what they reported last about the lease's orders, as JSON.
CREATE TABLE developer_lease_devices (
    project BYTEA NOT NULL,
    lease BYTEA NOT NULL,
    device BYTEA NOT NULL,
    report TEXT COLLATE "C",
    PRIMARY KEY (project, lease, device)
);
CREATE INDEX developer_lease_devices_device ON developer_lease_devices(project, device);
