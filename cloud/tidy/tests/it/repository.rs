//! Files and packages of the repository, and Rust source without comments, texts and tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("cloud/tidy is two folders below the root")
        .to_owned()
}

/// Returns what `cargo metadata` prints.
pub(crate) fn metadata(extra: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(extra)
        .current_dir(root())
        .output()
        .expect("cargo metadata starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo prints json")
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a json array")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a json string")
}

/// Folder and name of each package of the workspace.
pub(crate) fn packages() -> Vec<(String, PathBuf)> {
    let metadata = metadata(&["--no-deps"]);
    let packages = list(&metadata["packages"]).iter().map(|package| {
        let manifest = Path::new(text(&package["manifest_path"]));
        let folder = manifest.parent().expect("a manifest is in a folder");
        (text(&package["name"]).to_owned(), folder.to_owned())
    });
    packages.collect()
}

/// Returns all files below `folder` with one of the extensions, without what builds make.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, extensions, &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        let name = path.file_name().expect("entries have names").to_string_lossy();
        if path.is_dir() {
            if !["target", ".git", "node_modules"].contains(&&*name) {
                walk(&path, extensions, found);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
        {
            found.push(path);
        }
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the path below the root, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Says whether a file holds tests only.
pub(crate) fn is_test(path: &Path) -> bool {
    let shown = shown(path);
    let folders = ["/tests/", "/benches/", "/examples/", "fuzz/"];
    folders.iter().any(|folder| shown.contains(folder)) || shown.ends_with("tests.rs")
}

/// Returns the code of a source file: comments are cut, texts and characters are empty, and items behind
/// `#[cfg(test)]` are cut.
pub(crate) fn code(source: &str) -> String {
    without_tests(&without_comments_and_texts(source))
}

fn without_comments_and_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest).filter(|_| !code.ends_with(is_word)) {
            code.push_str("\"\"");
            length
        } else if first == '"' {
            code.push_str("\"\"");
            quoted(rest, '"')
        } else if let Some(length) = character(rest) {
            code.push_str("' '");
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    code
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Length of a raw text (`r"…"`, `r#"…"#`, `br"…"`) at the start.
fn raw_text(rest: &str) -> Option<usize> {
    let prefix = usize::from(rest.starts_with('b'));
    let hashes = rest[prefix..].strip_prefix('r')?;
    let count = hashes.bytes().take_while(|byte| *byte == b'#').count();
    let inner = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    Some(prefix + 1 + count + 1 + inner.find(&end)? + end.len())
}

/// Length of a quoted text at the start, escapes considered.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Length of a character literal at the start; none for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return Some(quoted(rest, '\''));
    }
    let first = inner.chars().next()?;
    inner[first.len_utf8()..]
        .starts_with('\'')
        .then_some(first.len_utf8() + 2)
}

fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min()
    {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(body) = rest.find(['{', ';']) else {
            return kept;
        };
        let end = if rest[body..].starts_with(';') {
            body + 1
        } else {
            body + block(&rest[body..])
        };
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

/// Length of the block in braces at the start.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        depth += match byte {
            b'{' => 1,
            b'}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn code_is_what_the_compiler_sees() {
    let source = r##"
        use crate::a; // use crate::b
        let text = "use crate::c // \" {"; let raw = r#"crate::d "{" "#; let c = '{'; let s: &'static str = "";
        #[cfg(test)]
        mod tests { use crate::e; fn f() { {} } }
        use crate::g;
    "##;
    let code = code(source);
    for (name, is_there) in [
        ("a", true),
        ("b", false),
        ("c", false),
        ("d", false),
        ("e", false),
        ("g", true),
    ] {
        assert_eq!(
            code.contains(&format!("crate::{name}")),
            is_there,
            "{name}: {code}"
        );
    }
    assert!(code.contains("&'static str"), "{code}");
}
