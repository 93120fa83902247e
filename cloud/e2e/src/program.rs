//! Paths of the programs that the tests start.
//!
//! Cargo passes the path of a program only to tests of the same package, so the programs are looked up beside
//! the test program. Nothing detects one that is older than its sources: with `--workspace` cargo builds the
//! programs first, because their own packages have tests; with `-p iottly-e2e` or a single `--test` it may
//! not.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Returns the path of `iottly`.
///
/// # Panics
/// When the program is missing.
pub fn program() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = beside_this_program("iottly");
        path.to_str()
            .expect("the target folder has a UTF-8 path")
            .to_owned()
    })
}

/// Returns the path of `iottly-agent`.
///
/// # Panics
/// When the program is missing.
pub fn agent_program() -> PathBuf {
    beside_this_program("iottly-agent")
}

/// Tests, benches and examples are in the folders `deps` and `examples` beside the programs.
fn beside_this_program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    let folder = own.ancestors().nth(2).expect("cargo builds into folders");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --release --workspace`",
        path.display()
    );
    path
}
