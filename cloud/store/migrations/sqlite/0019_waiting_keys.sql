-- True for keys whose boards a person has to approve, one by one.
ALTER TABLE enrolment_keys ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
