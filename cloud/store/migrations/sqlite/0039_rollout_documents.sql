-- Signed documents of rollouts beside their devices: rows of 1.5 KB made each reading of the devices slow.
CREATE TABLE rollout_documents (
    project  BLOB NOT NULL,
    rollout  BLOB NOT NULL,
    device   BLOB NOT NULL,
    -- Directive that counts, or its withdrawal.
    document TEXT NOT NULL,
    PRIMARY KEY (project, rollout, device),
    FOREIGN KEY (project, rollout, device) REFERENCES rollout_devices(project, rollout, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO rollout_documents (project, rollout, device, document)
    SELECT project, rollout, device, document FROM rollout_devices ORDER BY project, rollout, device;
ALTER TABLE rollout_devices DROP COLUMN document;
