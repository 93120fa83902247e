//! Pure decisions about a branch's code: the contents of a new branch, handlers of changed commands, and
//! diffs.

mod diff;
mod handlers;

pub use diff::{Difference, SnippetDiff, diff};
pub use handlers::{HandlerChange, adapt, complete, fresh};

use crate::model::Snippet;

/// Returns the blake3 hash of a branch's snippets, in hex; independent of ids and of the order of rows.
#[must_use]
pub fn digest(snippets: &[Snippet]) -> String {
    let mut sorted: Vec<_> = snippets.iter().collect();
    sorted.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut hasher = blake3::Hasher::new();
    for snippet in sorted {
        for field in [
            snippet.kind.category(),
            &snippet.name,
            &snippet.description,
            &snippet.code,
        ] {
            hasher
                .update(&(field.len() as u64).to_le_bytes())
                .update(field.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
