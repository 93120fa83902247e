//! A branch's code, as pure decisions: what a new branch holds, and what becomes of handlers when commands
//! change.

mod diff;
mod handlers;

pub use diff::{Difference, SnippetDiff, diff};
pub use handlers::{HandlerChange, adapt, complete, fresh};

use crate::model::Snippet;

/// blake3 of a branch's snippets, hex; ids and order of the store do not count.
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
