-- Texts of files of a branch that their authors, users or tokens, have not saved yet.
CREATE TABLE code_drafts (
    project BYTEA NOT NULL,
    branch TEXT COLLATE "C" NOT NULL,
    author BYTEA NOT NULL,
    -- Id of a snippet, or firmware.toml.
    file TEXT COLLATE "C" NOT NULL,
    base TEXT COLLATE "C" NOT NULL,
    base_text TEXT COLLATE "C",
    text TEXT COLLATE "C" NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (project, branch, author, file)
);
