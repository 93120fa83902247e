//! Files of a branch as people and programs name them: its snippets and its `firmware.toml`. Pure.

use crate::model::{BranchCode, Snippet, SnippetId};

/// Name of the manifest among the files of a branch.
pub const MANIFEST_FILE: &str = "firmware.toml";
/// Length of a version, in hex digits.
const VERSION_DIGITS: usize = 16;

/// File of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFile {
    /// The `firmware.toml`.
    Manifest,
    /// A snippet.
    Snippet(SnippetId),
}

impl CodeFile {
    /// Returns the file of a branch that a text names: `firmware.toml`, or the name or id of a snippet. Sections come
    /// before handlers of the same name, which are named by their id.
    #[must_use]
    pub fn named(code: &BranchCode, name: &str) -> Option<Self> {
        if name == MANIFEST_FILE {
            return Some(Self::Manifest);
        }
        let by_name = code.snippets.iter().filter(|snippet| snippet.name == name);
        let found = by_name.min_by_key(|snippet| snippet.kind).map(|found| found.id);
        let found = found.or_else(|| {
            let id = name.parse().ok()?;
            code.snippets
                .iter()
                .find(|snippet| snippet.id == id)
                .map(|found| found.id)
        });
        found.map(Self::Snippet)
    }

    /// Returns the text that stays the same when the file is renamed: `firmware.toml`, or the id of the snippet.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Manifest => MANIFEST_FILE.to_owned(),
            Self::Snippet(id) => id.to_string(),
        }
    }

    /// Returns the text of the file in a version of its branch; none if the version has no such file.
    #[must_use]
    pub fn text<'a>(&self, code: &'a BranchCode) -> Option<&'a str> {
        match self {
            Self::Manifest => code.manifest.as_deref(),
            Self::Snippet(_) => self.snippet(code).map(|snippet| snippet.code.as_str()),
        }
    }

    /// Returns the snippet in a version of its branch; none for the manifest, and for one that the version does not have.
    #[must_use]
    pub fn snippet<'a>(&self, code: &'a BranchCode) -> Option<&'a Snippet> {
        let Self::Snippet(id) = self else { return None };
        code.snippets.iter().find(|snippet| snippet.id == *id)
    }

    /// Replaces the text of the file; an empty manifest is none.
    pub fn put(&self, code: &mut BranchCode, text: String) {
        match self {
            Self::Manifest => code.manifest = Some(text).filter(|text| !text.trim().is_empty()),
            Self::Snippet(id) => {
                if let Some(snippet) = code.snippets.iter_mut().find(|snippet| snippet.id == *id) {
                    snippet.code = text;
                }
            }
        }
    }
}

/// Returns the version of a file's text, by which an edit names what it is based on: 16 hex digits. A missing manifest
/// has the version of an empty one.
#[must_use]
pub fn version(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..VERSION_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SnippetKind;

    fn snippet(id: u8, kind: SnippetKind, name: &str) -> Snippet {
        Snippet {
            id: SnippetId::from_bytes([id; 16]),
            kind,
            name: name.into(),
            description: String::new(),
            code: format!("// {id}"),
        }
    }

    #[test]
    fn files_are_found_by_name_and_by_id() {
        let mut code = BranchCode {
            snippets: vec![
                snippet(1, SnippetKind::Handler, "loop"),
                snippet(2, SnippetKind::Loop, "loop"),
                snippet(3, SnippetKind::Handler, "echo"),
            ],
            manifest: None,
        };
        let id = |byte| CodeFile::Snippet(SnippetId::from_bytes([byte; 16]));
        assert_eq!(CodeFile::named(&code, "loop"), Some(id(2)), "the section");
        assert_eq!(CodeFile::named(&code, &id(1).key()), Some(id(1)));
        assert_eq!(CodeFile::named(&code, "reboot"), None);
        assert_eq!(
            CodeFile::named(&code, "00000000-0000-0000-0000-000000000000"),
            None
        );
        let manifest = CodeFile::named(&code, "firmware.toml").expect("every branch may have one");
        assert_eq!(
            (manifest.key().as_str(), manifest.text(&code)),
            ("firmware.toml", None)
        );
        manifest.put(&mut code, "name = \"a\"".into());
        id(3).put(&mut code, "x".into());
        assert_eq!(
            (manifest.text(&code), id(3).text(&code)),
            (Some("name = \"a\""), Some("x"))
        );
        manifest.put(&mut code, " \n".into());
        assert_eq!(code.manifest, None);
        assert_ne!(version("a"), version("b"));
        assert_eq!(version("").len(), 16);
    }
}
