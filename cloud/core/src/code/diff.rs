//! Differences between two versions of a branch's code. Pure.

use std::time::Duration;

use similar::TextDiff;

use crate::model::{BranchCode, Snippet, SnippetKind};

/// Time limit for finding the shortest diff; after that a longer one, still correct, is used.
const PATIENCE: Duration = Duration::from_millis(100);

/// Kind of difference of a snippet or a manifest between two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Only the newer version has it.
    Added,
    /// Only the older version has it.
    Removed,
    /// Name, description or code are different.
    Modified,
}

/// A snippet that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetDiff {
    /// Role of the snippet.
    pub kind: SnippetKind,
    /// Name; in the newer version, if the snippet is in it.
    pub name: String,
    /// Kind of difference.
    pub difference: Difference,
    /// Different lines, in the unified format; empty when the code is the same.
    pub unified: String,
}

/// A manifest that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDiff {
    /// Kind of difference.
    pub difference: Difference,
    /// Different lines, in the unified format.
    pub unified: String,
}

/// Differences between two versions of a branch's code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeDiff {
    /// Snippets that are different, in the order of sections and names.
    pub snippets: Vec<SnippetDiff>,
    /// Difference of the manifests; none if they are the same.
    pub manifest: Option<ManifestDiff>,
}

/// Returns the differences between two versions.
#[must_use]
pub fn diff(from: &BranchCode, to: &BranchCode) -> CodeDiff {
    CodeDiff {
        snippets: snippets(&from.snippets, &to.snippets),
        manifest: manifest(from.manifest.as_deref(), to.manifest.as_deref()),
    }
}

fn manifest(from: Option<&str>, to: Option<&str>) -> Option<ManifestDiff> {
    let difference = match (from, to) {
        (None, Some(_)) => Difference::Added,
        (Some(_), None) => Difference::Removed,
        (Some(old), Some(new)) if old != new => Difference::Modified,
        _ => return None,
    };
    Some(ManifestDiff {
        difference,
        unified: unified(from.unwrap_or_default(), to.unwrap_or_default()),
    })
}

fn snippets(from: &[Snippet], to: &[Snippet]) -> Vec<SnippetDiff> {
    let mut found: Vec<_> = to
        .iter()
        .filter_map(|new| match from.iter().find(|old| old.id == new.id) {
            None => Some(entry(new, Difference::Added, "", &new.code)),
            Some(old) if old == new => None,
            Some(old) => Some(entry(new, Difference::Modified, &old.code, &new.code)),
        })
        .collect();
    let removed = from.iter().filter(|old| !to.iter().any(|new| new.id == old.id));
    found.extend(removed.map(|old| entry(old, Difference::Removed, &old.code, "")));
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    found
}

fn entry(snippet: &Snippet, difference: Difference, old: &str, new: &str) -> SnippetDiff {
    SnippetDiff {
        kind: snippet.kind,
        name: snippet.name.clone(),
        difference,
        unified: unified(old, new),
    }
}

/// Returns the different lines in the unified format; nothing when the texts are the same.
fn unified(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    lines.unified_diff().context_radius(3).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::{digest, fresh};
    use crate::command::seeded_definitions;
    use crate::model::SnippetId;

    fn code() -> BranchCode {
        BranchCode {
            snippets: fresh(&seeded_definitions(), SnippetId::random),
            manifest: None,
        }
    }

    #[test]
    fn differences_are_found_by_id() {
        let old = code();
        let mut new = old.clone();
        assert_eq!(diff(&old, &new), CodeDiff::default());
        new.snippets[2].code.push_str("// more\n");
        new.snippets[3].name = "_echo".into();
        let gone = new.snippets.remove(4);
        let found: Vec<_> = diff(&old, &new)
            .snippets
            .into_iter()
            .map(|d| (d.name, d.difference))
            .collect();
        assert_eq!(
            found,
            [
                ("loop".to_owned(), Difference::Modified),
                ("_echo".to_owned(), Difference::Modified),
                (gone.name, Difference::Removed),
            ]
        );
        let lines = &diff(&old, &new).snippets[0].unified;
        assert!(
            lines.contains("\n+// more\n") && lines.starts_with("@@ "),
            "{lines}"
        );
    }

    #[test]
    fn digests_do_not_depend_on_the_order_of_rows() {
        let old = code();
        let mut new = old.clone();
        new.snippets.reverse();
        assert_eq!(digest(&old), digest(&new));
        new.snippets[0].code.push(' ');
        assert_ne!(digest(&old), digest(&new));
    }

    #[test]
    fn a_digest_without_a_manifest_is_what_it_was_before_there_were_manifests() {
        let id = crate::model::SnippetId::from_bytes([1; 16]);
        let snippet = Snippet {
            id,
            kind: SnippetKind::Init,
            name: "init".into(),
            description: String::new(),
            code: "function init() {}\n".into(),
        };
        let mut code = BranchCode {
            snippets: vec![snippet],
            manifest: None,
        };
        let plain = digest(&code);
        assert_eq!(
            plain,
            "9cafdc36b9483d355b45c50764e23be21ca4ec8b5040402f97118893a8accbb8"
        );
        code.manifest = Some("name = \"a\"\n".into());
        let with = digest(&code);
        code.manifest = Some("name = \"b\"\n".into());
        assert!(plain != with && with != digest(&code));
    }

    #[test]
    fn a_manifest_is_compared_as_a_snippet_is() {
        let mut old = code();
        let mut new = old.clone();
        new.manifest = Some("name = \"a\"\n".into());
        let found = diff(&old, &new).manifest.expect("different");
        assert_eq!(found.difference, Difference::Added);
        assert!(found.unified.contains("+name = \"a\""), "{}", found.unified);
        let found = diff(&new, &old).manifest.expect("different");
        assert_eq!(found.difference, Difference::Removed);
        old.manifest = Some("name = \"b\"\n".into());
        let found = diff(&old, &new).manifest.expect("different");
        assert_eq!(found.difference, Difference::Modified);
        assert_eq!(diff(&new, &new).manifest, None);
    }
}
