-- Set while the cloud has only presumed the status, because the device has not reported: a report then replaces it.
ALTER TABLE commands ADD COLUMN presumed BOOLEAN NOT NULL DEFAULT false;
-- Until now the status was known to be presumed by its detail.
UPDATE commands SET presumed = true
    WHERE (status = 5 AND detail = 'the device did not report the command in time')
    OR (status = 7 AND detail = 'withdrawn before the device reported it');
