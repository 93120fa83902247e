-- The newest entry about a gap in a stream: where it is and what it covers, so that the next gap can lengthen it.
ALTER TABLE streams ADD COLUMN last_gap BLOB;

-- When a deleted device is looked at next.
ALTER TABLE erasures ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
CREATE INDEX erasures_due ON erasures(due, device);

-- For erasing one device's rows.
CREATE INDEX idempotency_device ON idempotency(project, device);
CREATE INDEX webhook_attempts_device ON webhook_attempts(project, device);
