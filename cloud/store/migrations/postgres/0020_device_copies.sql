-- Boards that log in with the keys of one device, until a person has kept one of them, and afterwards to tell the others.
CREATE TABLE device_copies (
    project BYTEA NOT NULL,
    device BYTEA NOT NULL,
    number BIGINT NOT NULL,
    boot BYTEA NOT NULL,
    hardware TEXT COLLATE "C",
    address TEXT COLLATE "C" NOT NULL,
    seen BIGINT NOT NULL,
    -- 0 undecided, 1 kept, 2 left.
    fate BIGINT NOT NULL,
    PRIMARY KEY (project, device, number)
);
