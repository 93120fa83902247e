//! Files stay readable.

use crate::repository::{files, is_test, read, root, shown};

/// Maximum length of a source file, in lines; a longer one has outgrown its shape. Tests are exempt.
const MAX_LINES: usize = 540;

#[test]
fn files_stay_readable() {
    let files = files(&root(), &["rs"]);
    assert!(files.len() > 20, "the walk finds the sources");
    let sources = files.iter().filter(|path| !is_test(path));
    let long: Vec<_> = sources
        .map(|path| (shown(path), read(path).lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}
