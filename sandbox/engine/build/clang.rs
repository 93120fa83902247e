//! Finds a C compiler and a linker for WebAssembly, and runs them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Oldest and newest version that is looked for by name.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=22;
/// Target of all C code.
pub(crate) const TARGET: &str = "--target=wasm32-unknown-unknown";

/// A compiler and a linker that were tried and work.
pub(crate) struct Tools {
    pub(crate) clang: OsString,
    /// The compiler's own words about its version.
    pub(crate) version: String,
    linker: PathBuf,
    flavor: bool,
}

impl Tools {
    /// Looks for the tools; panics with what was tried when there are none.
    pub(crate) fn find(scratch: &Path) -> Self {
        let (clang, version) = clang(scratch);
        let (linker, flavor) = linker();
        Self {
            clang,
            version,
            linker,
            flavor,
        }
    }

    pub(crate) fn link(&self) -> Command {
        let mut command = Command::new(&self.linker);
        if self.flavor {
            command.args(["-flavor", "wasm"]);
        }
        command
    }
}

fn clang(scratch: &Path) -> (OsString, String) {
    let named = env::var_os("CLANG").filter(|name| !name.is_empty());
    let names: Vec<OsString> = match named {
        Some(name) => vec![name],
        None => std::iter::once("clang".to_owned())
            .chain(VERSIONS.map(|version| format!("clang-{version}")))
            .map(OsString::from)
            .collect(),
    };
    let mut tried = String::new();
    for name in names {
        match fits(&name, scratch) {
            Ok(version) => return (name, version),
            Err(reason) => {
                let _ = writeln!(tried, "  {}: {reason}", name.to_string_lossy());
            }
        }
    }
    panic!(
        "no clang that builds WebAssembly, version {} or newer. The script engine is built from C sources; install it with\n\n    \
         apt-get install clang\n\nor name one in the environment variable CLANG. Tried:\n{tried}",
        VERSIONS.start()
    )
}

/// Returns the version line of a compiler that can do what the build needs.
fn fits(name: &OsStr, scratch: &Path) -> Result<String, String> {
    let output = Command::new(name).arg("--version").output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    let major = line
        .split_once("clang version ")
        .and_then(|(_, rest)| rest.split('.').next())
        .and_then(|major| major.parse::<u32>().ok())
        .ok_or_else(|| format!("not a clang: {line:?}"))?;
    if major < *VERSIONS.start() {
        return Err(format!("too old: {line}"));
    }
    let source = scratch.join("probe.c");
    std::fs::write(&source, "int probe(int n) { return n + 1; }\n").map_err(|error| error.to_string())?;
    let output = Command::new(name)
        .args([TARGET, "-c", "-o"])
        .arg(scratch.join("probe.o"))
        .arg(&source)
        .output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        let first = String::from_utf8_lossy(&output.stderr);
        let first = first.lines().next().unwrap_or("it failed").to_owned();
        return Err(format!("{line} does not build WebAssembly: {first}"));
    }
    Ok(line)
}

/// Returns a linker, and whether it has to be told that it links WebAssembly.
fn linker() -> (PathBuf, bool) {
    let mut tried = String::new();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let host = env::var("HOST").expect("cargo sets HOST");
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    if let Ok(output) = sysroot {
        let sysroot = String::from_utf8_lossy(&output.stdout);
        let lld = Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(host)
            .join("bin/rust-lld");
        match runs(Command::new(&lld).args(["-flavor", "wasm", "--version"]).output()) {
            Ok(()) => return (lld, true),
            Err(reason) => {
                let _ = writeln!(tried, "  {}: {reason}", lld.display());
            }
        }
    }
    let names = std::iter::once("wasm-ld".to_owned())
        .chain(VERSIONS.rev().map(|version| format!("wasm-ld-{version}")));
    for name in names {
        match runs(Command::new(&name).arg("--version").output()) {
            Ok(()) => return (name.into(), false),
            Err(reason) => {
                let _ = writeln!(tried, "  {name}: {reason}");
            }
        }
    }
    panic!(
        "no linker for WebAssembly. rustup's toolchains bring one (rust-lld); elsewhere install it with\n\n    \
         apt-get install lld\n\nTried:\n{tried}"
    )
}

fn runs(output: std::io::Result<Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(output.status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a command; panics with its output when it fails.
pub(crate) fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
