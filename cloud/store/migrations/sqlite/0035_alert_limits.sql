-- Messages that a rule was not applied to, because the filters of its project had used up the steps of a transaction.
ALTER TABLE alert_rules ADD COLUMN unexamined INTEGER NOT NULL DEFAULT 0;
-- Time of the last message of the firmware in a stream: known after a restart however much the agent has sent since.
ALTER TABLE streams ADD COLUMN sent INTEGER;
UPDATE streams SET sent = (SELECT max(ts) FROM (SELECT ts, kind FROM messages
    WHERE messages.project = streams.project AND messages.device = streams.device ORDER BY ts DESC, id DESC LIMIT 1000)
    WHERE kind = 0) WHERE class = 0;
