-- Set while the webhook's filter still has to be evaluated on the message: that was too much work for the moment at which it was stored.
ALTER TABLE webhook_deliveries ADD COLUMN undecided INTEGER NOT NULL DEFAULT 0;
