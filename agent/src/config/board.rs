//! Board of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_boards::profile::{self, Profile, ProfileError};
use iottly_boards::{Board, LinuxBoard, VirtualBoard};
use serde::Deserialize;

/// Kind of board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BoardKind {
    /// A board in memory with a device of every kind, see [`VirtualBoard::standard`].
    Virtual,
    /// The machine that the agent runs on; its model decides the profile.
    Auto,
    /// Profile that is compiled in.
    Named(String),
    /// File of a profile.
    File(PathBuf),
}

impl TryFrom<String> for BoardKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "virtual" => Ok(Self::Virtual),
            "auto" => Ok(Self::Auto),
            name if profile::names().contains(&name) => Ok(Self::Named(text)),
            file if Path::new(file).extension().is_some_and(|end| end == "toml") => {
                Ok(Self::File(text.into()))
            }
            _ => Err(format!(
                "{text:?} is no board: expected virtual, auto, {} or a file that ends with .toml",
                profile::names().join(", ")
            )),
        }
    }
}

impl BoardKind {
    /// Creates the board. Nothing of it is opened.
    ///
    /// # Errors
    /// [`ProfileError`]; a file cannot be read or is not a profile.
    pub fn board(&self) -> Result<Arc<dyn Board>, ProfileError> {
        let profile = match self {
            Self::Virtual => return Ok(Arc::new(VirtualBoard::standard())),
            Self::Auto => Profile::named(LinuxBoard::detect().1)?,
            Self::Named(name) => Profile::named(name)?,
            Self::File(path) => Profile::read(path)?,
        };
        Ok(Arc::new(LinuxBoard::new(profile)))
    }

    /// Returns the kind with the path of its file below the folder.
    pub(super) fn resolved(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_named_by_its_profile_or_a_file() {
        let kind = |text: &str| BoardKind::try_from(text.to_owned());
        assert_eq!(kind("virtual"), Ok(BoardKind::Virtual));
        assert_eq!(kind("auto"), Ok(BoardKind::Auto));
        assert_eq!(
            kind("raspberry-pi-5"),
            Ok(BoardKind::Named("raspberry-pi-5".into()))
        );
        let file = kind("mine.toml")
            .expect("a file")
            .resolved(Path::new("/etc/iottly"));
        assert_eq!(file, BoardKind::File("/etc/iottly/mine.toml".into()));
        let error = file.board().err().expect("no such file").to_string();
        assert!(
            error.starts_with("board profile /etc/iottly/mine.toml: "),
            "{error}"
        );
        let error = kind("rapsberry-pi-5").expect_err("a slip");
        assert!(
            error.contains("is no board: expected virtual, auto, raspberry-pi-zero"),
            "{error}"
        );
        let board = kind("raspberry-pi-4").and_then(|kind| kind.board().map_err(|error| error.to_string()));
        assert_eq!(board.expect("a board").kind(), "raspberry-pi-4");
    }
}
