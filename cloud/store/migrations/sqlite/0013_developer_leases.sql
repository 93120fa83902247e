-- Developer leases: permission to run scripts that are not released on some devices for some hours, with the newest signed order.
-- Script and order are dropped when nothing needs them any more; the rest stays for people.
CREATE TABLE developer_leases (
    project BLOB NOT NULL,
    id BLOB NOT NULL,
    author TEXT NOT NULL,
    approved TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    ended INTEGER,
    ending TEXT,
    counter INTEGER NOT NULL,
    order_id TEXT,
    sha256 TEXT,
    size INTEGER,
    sent INTEGER,
    document TEXT,
    script BLOB,
    PRIMARY KEY (project, id)
) STRICT;
CREATE INDEX developer_leases_open ON developer_leases(expires) WHERE ended IS NULL;

-- The devices of leases, with what they reported last about the lease's orders, as JSON.
CREATE TABLE developer_lease_devices (
    project BLOB NOT NULL,
    lease BLOB NOT NULL,
    device BLOB NOT NULL,
    report TEXT,
    PRIMARY KEY (project, lease, device)
) STRICT;
CREATE INDEX developer_lease_devices_device ON developer_lease_devices(project, device);
