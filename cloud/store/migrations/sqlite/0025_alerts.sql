-- Counts the changes of a project's alert rules; 0 while it never had one. Who stores a message sees it and knows whether
-- what it remembers of the rules is still so.
ALTER TABLE projects ADD COLUMN alert_changes INTEGER NOT NULL DEFAULT 0;
-- Hour of the last mail about an alert, since 1970, and the number of mails in it.
ALTER TABLE projects ADD COLUMN mail_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN mail_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE alert_rules (
    project BLOB NOT NULL REFERENCES projects(id),
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    condition TEXT NOT NULL,
    after_ms INTEGER,
    filter TEXT,
    clear_filter TEXT,
    -- 0 project, 1 group, 2 device; the id of the group or device.
    target_kind INTEGER NOT NULL,
    target BLOB,
    -- JSON list of addresses.
    mails TEXT NOT NULL,
    muted_until INTEGER,
    created INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

CREATE TABLE alerts (
    project BLOB NOT NULL,
    id BLOB NOT NULL,
    rule BLOB NOT NULL,
    rule_name TEXT NOT NULL,
    condition TEXT NOT NULL,
    -- 0 project, 1 group, 2 device; the id of the group or device, empty for the project.
    subject_kind INTEGER NOT NULL,
    subject BLOB NOT NULL,
    detail TEXT NOT NULL,
    raised INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    cleared INTEGER,
    muted_until INTEGER,
    PRIMARY KEY (project, id)
) STRICT;

-- A rule has one raised alert for each subject, whoever raises it.
CREATE UNIQUE INDEX alerts_raised ON alerts(project, rule, subject) WHERE cleared IS NULL;
CREATE INDEX alerts_cleared ON alerts(project, cleared) WHERE cleared IS NOT NULL;
CREATE INDEX alerts_time ON alerts(project, raised, id);

-- Mails that wait to be sent. While one is being sent, `due` is when that is given up.
CREATE TABLE alert_mails (
    project BLOB NOT NULL,
    alert BLOB NOT NULL,
    -- 0 for the raise, 1 for the end.
    ending INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    due INTEGER NOT NULL,
    PRIMARY KEY (project, alert, ending, recipient)
) STRICT;

CREATE INDEX alert_mails_due ON alert_mails(due);
