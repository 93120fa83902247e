-- The state of deliveries stays visible for a while. `ending` is 0 for the raise, 1 for the end, 2 for a test, whose `alert`
-- is an id of its own. State: 0 queued, 1 sent, 2 refused.
ALTER TABLE alert_mails ADD COLUMN state BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alert_mails ADD COLUMN queued BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alert_mails ADD COLUMN ended BIGINT;
ALTER TABLE alert_mails ADD COLUMN reason TEXT COLLATE "C";
-- 1 while a process sends it: `due` is then when another one may.
ALTER TABLE alert_mails ADD COLUMN claimed BIGINT NOT NULL DEFAULT 0;
UPDATE alert_mails SET queued = due;

DROP INDEX alert_mails_due;
CREATE INDEX alert_mails_due ON alert_mails(due) WHERE state = 0;
CREATE INDEX alert_mails_queued ON alert_mails(project, queued);
CREATE INDEX alert_mails_ended ON alert_mails(ended) WHERE ended IS NOT NULL;

-- Mails of a project in an hour, counted since 1970. Apart from the project's row: who changes a project locks that first, who
-- raises an alert comes to it last.
CREATE TABLE mail_counts (
    project BYTEA PRIMARY KEY,
    hour BIGINT NOT NULL,
    mails BIGINT NOT NULL
);

ALTER TABLE projects DROP COLUMN mail_hour;
ALTER TABLE projects DROP COLUMN mail_count;

-- Times from the start of a cloud to its last look at alerts, in Unix milliseconds.
CREATE TABLE alert_looks (
    process BYTEA PRIMARY KEY,
    began BIGINT NOT NULL,
    looked BIGINT NOT NULL
);
