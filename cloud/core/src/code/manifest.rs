//! Rules for the `firmware.toml` of a branch. Pure.

use iottly_manifest::{Lang, Manifest, ManifestError};

/// Reason why a branch does not take a text as its `firmware.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestRefused {
    /// The text is not a manifest.
    #[error("firmware.toml: {0}")]
    Invalid(#[from] ManifestError),
    /// The manifest is of firmware in Rust.
    #[error("firmware.toml: lang: the code of a branch is JavaScript; upload other firmware as a component")]
    Language,
}

/// Checks the text of a `firmware.toml` for a branch, whose code is JavaScript.
///
/// # Errors
/// [`ManifestRefused`] with the line or the name that is wrong.
pub fn check_manifest(text: &str) -> Result<(), ManifestRefused> {
    match Manifest::parse(text)?.lang {
        None | Some(Lang::Js) => Ok(()),
        Some(Lang::Rust) => Err(ManifestRefused::Language),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_manifests_of_scripts_are_taken() {
        let refused = |text: &str| check_manifest(text).expect_err("is refused").to_string();
        for good in [
            "name = \"a\"",
            "name = \"a\"\nlang = \"js\"\n[capabilities]\ngpio = [\"led\"]\n",
        ] {
            assert_eq!(check_manifest(good), Ok(()));
        }
        assert_eq!(refused(""), "firmware.toml: line 1: missing field `name`");
        assert!(refused("name = \"a\"\nlang = \"rust\"").contains("JavaScript"));
        assert!(
            refused("name = \"a\" # \0").starts_with("firmware.toml: line 1: "),
            "no database stores this character"
        );
        assert!(refused(&"#".repeat((64 << 10) + 1)).contains("the limit is 65536"));
    }
}
