//! Pure decisions about a branch's code: the contents of a new branch, handlers of changed commands, and
//! diffs.

mod diff;
mod file;
mod handlers;
mod manifest;
mod problem;
mod three_way;

pub use diff::{CodeDiff, Difference, ManifestDiff, SnippetDiff, diff};
pub use file::{CodeFile, MANIFEST_FILE, version};
pub use handlers::{HandlerChange, adapt, complete, fresh};
pub use manifest::{ManifestRefused, check_manifest};
pub use problem::{Problem, problem};
pub use three_way::{Side, compare, merge};

use crate::model::BranchCode;

/// Returns the blake3 hash of a branch's code, in hex; independent of ids and of the order of rows.
#[must_use]
pub fn digest(code: &BranchCode) -> String {
    let mut sorted: Vec<_> = code.snippets.iter().collect();
    sorted.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut hasher = blake3::Hasher::new();
    let mut add = |field: &str| {
        hasher
            .update(&(field.len() as u64).to_le_bytes())
            .update(field.as_bytes());
    };
    for snippet in sorted {
        [
            snippet.kind.category(),
            &snippet.name,
            &snippet.description,
            &snippet.code,
        ]
        .into_iter()
        .for_each(&mut add);
    }
    // A snippet has four fields and the manifest has one, so that neither passes for the other.
    if let Some(manifest) = &code.manifest {
        add(manifest);
    }
    hasher.finalize().to_hex().to_string()
}
