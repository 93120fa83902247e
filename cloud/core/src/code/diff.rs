//! Differences between two versions of a branch's snippets. Pure.

use std::time::Duration;

use similar::TextDiff;

use crate::model::{Snippet, SnippetKind};

/// Time limit for finding the shortest diff; after that a longer one, still correct, is used.
const PATIENCE: Duration = Duration::from_millis(100);

/// Kind of difference of a snippet between two versions.
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

/// Returns the snippets that are different, in the order of sections and names.
#[must_use]
pub fn diff(from: &[Snippet], to: &[Snippet]) -> Vec<SnippetDiff> {
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
    let lines = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let unified = if old == new {
        String::new()
    } else {
        lines.unified_diff().context_radius(3).to_string()
    };
    SnippetDiff {
        kind: snippet.kind,
        name: snippet.name.clone(),
        difference,
        unified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::{digest, fresh};
    use crate::command::seeded_definitions;

    #[test]
    fn differences_are_found_by_id() {
        let old = fresh(&seeded_definitions());
        let mut new = old.clone();
        assert_eq!(diff(&old, &new), []);
        new[2].code.push_str("// more\n");
        new[3].name = "_echo".into();
        let gone = new.remove(4);
        let found: Vec<_> = diff(&old, &new)
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
        let lines = &diff(&old, &new)[0].unified;
        assert!(
            lines.contains("\n+// more\n") && lines.starts_with("@@ "),
            "{lines}"
        );
    }

    #[test]
    fn digests_do_not_depend_on_the_order_of_rows() {
        let old = fresh(&seeded_definitions());
        let mut new = old.clone();
        new.reverse();
        assert_eq!(digest(&old), digest(&new));
        new[0].code.push(' ');
        assert_ne!(digest(&old), digest(&new));
    }
}
