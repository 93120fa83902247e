//! Rules of the repository that a compiler does not check: who may depend on whom, licences, file sizes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Longest source file, in lines; a longer one has outgrown its shape. Tests are exempt.
const MAX_LINES: usize = 540;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root")
        .to_owned()
}

fn metadata(extra: &[&str]) -> Value {
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

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a json array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a json string")
}

/// The arrows of ARCHITECTURE.md: a crate may use these of ours, in programs and libraries. Tests may see
/// more.
#[test]
fn crates_depend_only_as_designed() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("iottly-protocol", &[][..]),
        ("iottly-boards", &[]),
        ("iottly-manifest", &[]),
        ("iottly-firmware", &[]),
        (
            "iottly-sandbox",
            &[
                "iottly-boards",
                "iottly-child",
                "iottly-manifest",
                "iottly-protocol",
            ],
        ),
        ("iottly-update", &["iottly-protocol"]),
        (
            "iottly-agent",
            &[
                "iottly-sandbox",
                "iottly-boards",
                "iottly-protocol",
                "iottly-update",
            ],
        ),
        ("iottly-child", &[]),
        (
            "iottly-builder",
            &["iottly-child", "iottly-manifest", "iottly-protocol"],
        ),
        ("iottly-filter", &["iottly-protocol"]),
        (
            "iottly-cloud",
            &["iottly-protocol", "iottly-builder", "iottly-filter"],
        ),
        (
            "iottly",
            &[
                "iottly-agent",
                "iottly-boards",
                "iottly-builder",
                "iottly-cloud",
                "iottly-filter",
                "iottly-manifest",
                "iottly-protocol",
                "iottly-sandbox",
            ],
        ),
        (
            "iottly-e2e",
            &[
                "iottly-agent",
                "iottly-builder",
                "iottly-protocol",
                "iottly-sandbox",
            ],
        ),
    ]);
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name}: say in this test what the new crate may use"));
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let ours = used == "iottly" || used.starts_with("iottly-");
            if ours && dependency["kind"].is_null() {
                assert!(allowed.contains(&used), "{name} must not depend on {used}");
            }
        }
    }
}

/// The protocol is pure: no runtime, no network, no file system crates.
#[test]
fn protocol_does_no_io() {
    let metadata = metadata(&["--no-deps"]);
    let protocol = list(&metadata["packages"])
        .iter()
        .find(|package| package["name"] == "iottly-protocol")
        .expect("protocol crate");
    for dependency in list(&protocol["dependencies"]) {
        let used = text(&dependency["name"]);
        assert!(
            !["tokio", "rumqttc", "sqlx", "axum", "rustix", "sled", "ureq"].contains(&used),
            "iottly-protocol uses {used}"
        );
    }
}

const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Evaluates an SPDX expression against [`LICENCES`]: AND binds tighter than OR; parentheses are honoured.
fn licence_allowed(expression: &str) -> bool {
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens = expression.split_whitespace().peekable();
    let result = any_of(&mut tokens);
    result && tokens.next().is_none()
}

type Tokens<'t> = std::iter::Peekable<std::str::SplitWhitespace<'t>>;

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        result |= all_of(tokens);
    }
    result
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        result &= one(tokens);
    }
    result
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        Some("(") => {
            let result = any_of(tokens);
            tokens.next() == Some(")") && result
        }
        Some(name) if tokens.next_if_eq(&"WITH").is_some() => {
            let exception = tokens.next().unwrap_or_default();
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        Some(name) => LICENCES.contains(&name),
        None => false,
    }
}

#[test]
fn licence_expressions_are_read_right() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(licence_allowed(good), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
        "",
        "MIT )",
        "Apache-2.0 WITH other",
    ] {
        assert!(!licence_allowed(bad), "{bad}");
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if let Some(source) = package["source"].as_str() {
            assert!(source.starts_with("registry+"), "{name} comes from {source}");
        }
        // A crate that names a file instead of an expression: `ring` states "Apache-2.0 AND ISC" since 0.17.
        let licence = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} states no licence"));
        assert!(licence_allowed(licence), "{name} has licence {licence}");
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        let name = path
            .file_name()
            .expect("entries have names")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !["target", ".git", "tests", "benches", "examples"].contains(&name.as_str()) {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 20, "the walk finds the sources");
    let long: Vec<_> = files
        .iter()
        .map(|path| {
            (
                path,
                std::fs::read_to_string(path)
                    .expect("utf-8 source")
                    .lines()
                    .count(),
            )
        })
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}
