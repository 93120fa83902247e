//! The programs that the tests start: found beside the test program, and never older than their sources.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Command that builds the programs and runs the tests.
const COMMAND: &str = "cargo test --release --workspace";

/// Returns the path of `iottly`.
///
/// # Panics
/// When the program is missing or older than one of its sources.
pub fn program() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = built("iottly");
        path.to_str()
            .expect("the target folder has a UTF-8 path")
            .to_owned()
    })
}

/// Returns the path of `iottly-agent`.
///
/// # Panics
/// When the program is missing or older than one of its sources.
pub fn agent_program() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built("iottly-agent")).clone()
}

/// Cargo passes the path of a program only to tests of the same package. Tests, benches and examples are in
/// `deps` or `examples` beside the programs.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    let folder = own.ancestors().nth(2).expect("cargo builds into folders");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: build it with `{COMMAND}`",
        path.display()
    );
    if let Some(source) = newer_source(&path) {
        panic!(
            "{} is older than {}: build it with `{COMMAND}`",
            path.display(),
            source.display()
        );
    }
    path
}

/// Returns a source that was changed after the program was built, from the list that cargo writes beside it.
///
/// Changes after the start of the tests do not count: they were not there when cargo looked.
fn newer_source(program: &Path) -> Option<PathBuf> {
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified());
    let list = std::fs::read_to_string(program.with_extension("d")).expect("cargo lists the sources");
    let (_, sources) = list.split_once(": ").expect("a rule of a makefile");
    let built = changed(program).expect("the program is a file");
    let started = parent_started().unwrap_or_else(SystemTime::now);
    // Cargo escapes spaces in paths.
    let sources = sources.trim_end().replace("\\ ", "\0");
    sources
        .split(' ')
        .map(|source| PathBuf::from(source.replace('\0', " ")))
        .find(|source| {
            let changed = changed(source).unwrap_or(SystemTime::UNIX_EPOCH);
            changed > built && changed < started
        })
}

/// Returns the start of the process that runs the tests, which is cargo's.
fn parent_started() -> Option<SystemTime> {
    let parent = rustix::process::getppid()?.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    // The 22nd field; the 2nd, a name, may hold spaces and ends with the last parenthesis.
    let ticks: u64 = stat
        .rsplit(')')
        .next()?
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()?;
    // A tick of procfs is a hundredth of a second.
    let after_boot = Duration::from_millis(ticks * 10);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + after_boot)
}
