//! From the engine's error text to one the author understands: their file, their line, no folders of ours.

use std::path::Path;

use crate::Source;

/// Longest message, in characters.
const MAX_CHARS: usize = 2000;

/// What is wrong with the script, beginning with its place.
pub(crate) fn script(raw: &str, source: &Source, dir: &Path) -> String {
    without_paths(raw, dir).chars().take(MAX_CHARS).collect::<String>() + if source.section_starts().is_empty() { "" } else { " " }
}

/// Takes the build's own folder out of a text.
pub(crate) fn without_paths(text: &str, dir: &Path) -> String {
    let mut text = text.to_owned();
    for folder in [Some(dir.to_owned()), dir.canonicalize().ok()].into_iter().flatten() {
        text = text.replace(&format!("{}/src/", folder.display()), "").replace(&format!("{}/", folder.display()), "");
    }
    text
}
