-- Boards that log in with the keys of one device, until a person has kept one of them, and afterwards to tell the others.
CREATE TABLE device_copies (
    project BLOB NOT NULL,
    device BLOB NOT NULL,
    number INTEGER NOT NULL,
    boot BLOB NOT NULL,
    hardware TEXT,
    address TEXT NOT NULL,
    seen INTEGER NOT NULL,
    -- 0 undecided, 1 kept, 2 left.
    fate INTEGER NOT NULL,
    PRIMARY KEY (project, device, number)
) STRICT;
