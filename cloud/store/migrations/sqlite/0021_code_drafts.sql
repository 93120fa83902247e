-- Texts of files of a branch that their authors, users or tokens, have not saved yet.
CREATE TABLE code_drafts (
    project BLOB NOT NULL,
    branch TEXT NOT NULL,
    author BLOB NOT NULL,
    -- Id of a snippet, or firmware.toml.
    file TEXT NOT NULL,
    base TEXT NOT NULL,
    base_text TEXT,
    text TEXT NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (project, branch, author, file)
) STRICT;
