-- Set while the webhook's filter still has to be evaluated on the message: that was too much work for the moment at which it was stored.
ALTER TABLE webhook_deliveries ADD COLUMN undecided BOOLEAN NOT NULL DEFAULT false;
