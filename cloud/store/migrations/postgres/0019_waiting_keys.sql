-- True for keys whose boards a person has to approve, one by one.
ALTER TABLE enrolment_keys ADD COLUMN waiting BOOLEAN NOT NULL DEFAULT false;
