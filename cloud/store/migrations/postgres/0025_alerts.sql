-- Counts the changes of a project's alert rules; 0 while it never had one. Who stores a message sees it and knows whether
-- what it remembers of the rules is still so.
ALTER TABLE projects ADD COLUMN alert_changes BIGINT NOT NULL DEFAULT 0;
-- Hour of the last mail about an alert, since 1970, and the number of mails in it.
ALTER TABLE projects ADD COLUMN mail_hour BIGINT NOT NULL DEFAULT 0;
ALTER TABLE projects ADD COLUMN mail_count BIGINT NOT NULL DEFAULT 0;

CREATE TABLE alert_rules (
    project BYTEA NOT NULL REFERENCES projects(id),
    id BYTEA NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    condition TEXT COLLATE "C" NOT NULL,
    after_ms BIGINT,
    filter TEXT COLLATE "C",
    clear_filter TEXT COLLATE "C",
    -- 0 project, 1 group, 2 device; the id of the group or device.
    target_kind BIGINT NOT NULL,
    target BYTEA,
    -- JSON list of addresses.
    mails TEXT COLLATE "C" NOT NULL,
    muted_until BIGINT,
    created BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);

CREATE TABLE alerts (
    project BYTEA NOT NULL,
    id BYTEA NOT NULL,
    rule BYTEA NOT NULL,
    rule_name TEXT COLLATE "C" NOT NULL,
    condition TEXT COLLATE "C" NOT NULL,
    -- 0 project, 1 group, 2 device; the id of the group or device, empty for the project.
    subject_kind BIGINT NOT NULL,
    subject BYTEA NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    raised BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    cleared BIGINT,
    muted_until BIGINT,
    PRIMARY KEY (project, id)
);

-- A rule has one raised alert for each subject, whoever raises it.
CREATE UNIQUE INDEX alerts_raised ON alerts(project, rule, subject) WHERE cleared IS NULL;
CREATE INDEX alerts_cleared ON alerts(project, cleared) WHERE cleared IS NOT NULL;
CREATE INDEX alerts_time ON alerts(project, raised, id);

-- Mails that wait to be sent. While one is being sent, `due` is when that is given up.
CREATE TABLE alert_mails (
    project BYTEA NOT NULL,
    alert BYTEA NOT NULL,
    -- 0 for the raise, 1 for the end.
    ending BIGINT NOT NULL,
    recipient TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    due BIGINT NOT NULL,
    PRIMARY KEY (project, alert, ending, recipient)
);

CREATE INDEX alert_mails_due ON alert_mails(due);
