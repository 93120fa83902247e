-- Beginning of the sha256 of the script that made an entry under a developer lease; null for the committed release.
ALTER TABLE messages ADD COLUMN firmware TEXT;
