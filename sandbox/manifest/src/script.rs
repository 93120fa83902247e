//! A script as firmware: a component without code, whose section `iottly:script` holds the author's files.
//!
//! The section is a JSON object: `engine` (name of what the script relies on), `exact` (sha256 of the only engine
//! that may run it, if its author wants that), `files` (texts by path) and `sections` (names and first lines).
//! Equal scripts give equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::section::{Section, SectionError, append, sections};

/// Name of the file that an engine starts.
pub const MAIN: &str = "main.js";
/// Maximum number of files of a script.
pub const MAX_SCRIPT_FILES: usize = 256;
/// Maximum size of all files of a script together, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 4 << 20;
/// Maximum length of a file's path, in bytes.
const MAX_PATH_BYTES: usize = 256;
/// Maximum length of the name of an engine's interface, in bytes.
const MAX_ENGINE_BYTES: usize = 64;
/// Maximum size of the section, in bytes: JSON may write a byte of a file as six.
const MAX_SECTION_BYTES: usize = 6 * MAX_SCRIPT_BYTES + (MAX_SCRIPT_FILES * MAX_PATH_BYTES * 6);
/// Beginning of the paths that belong to the host of a script.
const RESERVED: &str = "__iottly/";

const NAME: &[u8] = b"iottly:script";
/// A component without sections: the header alone.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// Files of a script, and the engine that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Name of what the script relies on: language, global names and host functions, for example `script 1`.
    pub engine: String,
    /// sha256 of the only engine that may run the script, 64 hex digits; none if any engine of that name may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Texts of the files by their paths, for example `main.js` and `lib/math.js`.
    pub files: BTreeMap<String, String>,
    /// Names of the sections that `main.js` was put together from, and the lines at which they begin, counted from
    /// 1, in their order; empty when `main.js` is a file of its author's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<(String, usize)>,
}

/// Reason why a component does not hold a script, or a script does not become a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The binary or its manifest is damaged.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// The component has several scripts, or code beside one: none of them takes precedence.
    #[error("the firmware has a script and other content beside it")]
    Several,
    /// The section is not the JSON of a script.
    #[error("the script's section: {0}")]
    Malformed(String),
    /// There is no `main.js`.
    #[error("the script has no main.js")]
    NoMain,
    /// A path that no module of a script can have.
    #[error("{0:?} is not a valid path of a script's file")]
    Path(String),
    /// More or larger files than allowed.
    #[error("the script has more than {0}")]
    TooLarge(&'static str),
    /// The name or the digest of the engine is not one.
    #[error("the script's engine is not a name or digest of one")]
    Engine,
}

impl Script {
    /// Returns the script as a component without code, with the text of its manifest.
    ///
    /// # Errors
    /// [`ScriptError`] if the script breaks a limit or the manifest is too long.
    pub fn component(&self, manifest: &str) -> Result<Vec<u8>, ScriptError> {
        self.check()?;
        let json = serde_json::to_vec(self).map_err(|error| ScriptError::Malformed(error.to_string()))?;
        Ok(append(&crate::embed(EMPTY, manifest)?, NAME, &json))
    }

    /// Returns the script of a component, if it has one; then the component has no code.
    ///
    /// # Errors
    /// [`ScriptError`] if the binary is damaged, the script breaks a limit, or there is something beside it.
    pub fn extract(component: &[u8]) -> Result<Option<Self>, ScriptError> {
        let (mut found, mut others) = (None, false);
        for section in sections(component)? {
            match section? {
                Section::Custom(NAME, json) if found.is_none() => found = Some(json),
                Section::Custom(NAME, _) => return Err(ScriptError::Several),
                Section::Custom(..) => {}
                Section::Other => others = true,
            }
        }
        let Some(json) = found else { return Ok(None) };
        if others {
            return Err(ScriptError::Several);
        }
        if json.len() > MAX_SECTION_BYTES {
            return Err(ScriptError::TooLarge("4 MiB"));
        }
        let script: Self =
            serde_json::from_slice(json).map_err(|error| ScriptError::Malformed(error.to_string()))?;
        script.check()?;
        Ok(Some(script))
    }

    /// Checks names, paths and sizes.
    ///
    /// # Errors
    /// [`ScriptError`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), ScriptError> {
        let digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.engine.is_empty()
            || self.engine.len() > MAX_ENGINE_BYTES
            || !self.exact.as_ref().is_none_or(digest)
        {
            return Err(ScriptError::Engine);
        }
        if self.files.len() > MAX_SCRIPT_FILES || self.sections.len() > MAX_SCRIPT_FILES {
            return Err(ScriptError::TooLarge("256 files"));
        }
        if self.files.values().map(String::len).sum::<usize>() > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLarge("4 MiB"));
        }
        if let Some(path) = self.files.keys().find(|path| !is_plain(path)) {
            return Err(ScriptError::Path(path.chars().take(MAX_PATH_BYTES).collect()));
        }
        if !self.files.contains_key(MAIN) {
            return Err(ScriptError::NoMain);
        }
        Ok(())
    }
}

/// Returns true for a relative path without `.`, `..`, empty parts, backslashes and control characters.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.starts_with(RESERVED)
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.contains('\\')
        && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        Script {
            engine: "script 1".to_owned(),
            exact: None,
            files: BTreeMap::from([
                ("main.js".to_owned(), "import './lib/a.js';".to_owned()),
                ("lib/a.js".to_owned(), "log('😀');".to_owned()),
            ]),
            sections: vec![("global".to_owned(), 1)],
        }
    }

    #[test]
    fn a_script_comes_back_as_it_went_in_and_keeps_its_manifest() {
        let component = script().component("name = \"a\"").unwrap();
        assert_eq!(Script::extract(&component), Ok(Some(script())));
        assert_eq!(crate::extract(&component), Ok(Some("name = \"a\"")));
        assert_eq!(
            script().component("name = \"a\"").unwrap(),
            component,
            "reproducible"
        );
        assert_eq!(Script::extract(EMPTY), Ok(None));
    }

    #[test]
    fn code_or_a_second_script_beside_a_script_is_refused() {
        let component = script().component("").unwrap();
        let code = [&component[..], b"\x01\x01\x00"].concat();
        assert_eq!(Script::extract(&code), Err(ScriptError::Several));
        let twice = [&component[..], &component[EMPTY.len()..]].concat();
        assert_eq!(Script::extract(&twice), Err(ScriptError::Several));
    }

    #[test]
    fn every_rule_is_enforced_on_reading_and_writing() {
        type Change = fn(&mut Script);
        let cases: [(Change, &str); 8] = [
            (|script| script.files.clear(), "no main.js"),
            (
                |script| drop(script.files.insert("../x.js".into(), String::new())),
                "valid path",
            ),
            (
                |script| drop(script.files.insert("/x.js".into(), String::new())),
                "valid path",
            ),
            (
                |script| drop(script.files.insert("a//x.js".into(), String::new())),
                "valid path",
            ),
            (
                |script| drop(script.files.insert("__iottly/x.js".into(), String::new())),
                "valid path",
            ),
            (|script| script.engine.clear(), "engine"),
            (|script| script.exact = Some("ab".into()), "engine"),
            (
                |script| drop(script.files.insert("b.js".into(), "x".repeat(MAX_SCRIPT_BYTES))),
                "more than 4 MiB",
            ),
        ];
        for (change, reason) in cases {
            let mut script = script();
            change(&mut script);
            let text = script.component("").unwrap_err().to_string();
            assert!(text.contains(reason), "{text}");
            let json = serde_json::to_vec(&script).unwrap();
            let text = Script::extract(&append(EMPTY, NAME, &json))
                .unwrap_err()
                .to_string();
            assert!(text.contains(reason), "{text}");
        }
        let unknown = append(
            EMPTY,
            NAME,
            br#"{"engine":"script 1","files":{"main.js":""},"more":1}"#,
        );
        assert!(matches!(
            Script::extract(&unknown),
            Err(ScriptError::Malformed(_))
        ));
    }
}
