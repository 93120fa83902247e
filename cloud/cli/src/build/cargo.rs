//! Firmware in Rust: cargo builds a core module, and the builder wraps it into a component.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use serde::Deserialize;

use crate::exit::Failure;

const TARGET: &str = "wasm32-unknown-unknown";
/// Size of the stack inside linear memory, in bytes; the linker's default is sixteen times as large.
const STACK_BYTES: u32 = 64 << 10;

/// A message of cargo, one JSON object a line; only the fields that name a built library.
#[derive(Deserialize)]
struct Note {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds the crate in `dir`. cargo's own messages go to standard error.
///
/// # Errors
/// [`Failure::Invalid`] when the code does not compile or is not firmware, [`Failure::Failed`] without the
/// toolchain.
pub(super) fn build(dir: &Path) -> Result<Vec<u8>, Failure> {
    let manifest = dir
        .join("Cargo.toml")
        .canonicalize()
        .map_err(|error| Failure::Invalid(format!("{}: {error}", dir.join("Cargo.toml").display())))?;
    require_target(dir)?;
    let core = compile(&manifest)?;
    let module = std::fs::read(&core).with_context(|| format!("cannot read {}", core.display()))?;
    iottly_builder::component(&module).map_err(|error| Failure::Invalid(error.to_string()))
}

fn tool(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.into())
}

/// Checks that the target is installed; otherwise cargo would fail with a page of errors about a missing
/// `core`.
fn require_target(dir: &Path) -> anyhow::Result<()> {
    let rustc = tool("RUSTC", "rustc");
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .stderr(Stdio::null())
        .output()
        .with_context(|| {
            format!(
                "cannot start {}: install Rust from https://rustup.rs",
                rustc.display()
            )
        })?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let names = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    if names
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().starts_with("libstd-"))
    {
        return Ok(());
    }
    Err(anyhow!(
        "this Rust has no standard library for {TARGET}; install it with `rustup target add {TARGET}`"
    ))
}

/// Runs cargo; returns the path of the core module of this crate.
fn compile(manifest: &Path) -> Result<PathBuf, Failure> {
    let cargo = tool("CARGO", "cargo");
    let mut child = Command::new(&cargo)
        .args([
            "build",
            "--release",
            "--lib",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .current_dir(manifest.parent().expect("a file is in a folder"))
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", cargo.display()))?;
    let notes = BufReader::new(child.stdout.take().expect("standard output was asked for above"));
    let mut built = None;
    for line in notes.lines() {
        let line = line.context("cannot read the output of cargo")?;
        let Ok(note) = serde_json::from_str::<Note>(&line) else {
            continue;
        };
        if note.reason == "compiler-artifact" && note.manifest_path == manifest {
            built = note
                .filenames
                .into_iter()
                .find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
                .or(built);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        return Err(Failure::Invalid(format!(
            "{}: cargo failed to build it; see its errors above",
            manifest.display()
        )));
    }
    built.ok_or_else(|| {
        Failure::Invalid(format!(
            "{}: the crate builds no wasm file; add `crate-type = [\"cdylib\"]` to its [lib]",
            manifest.display()
        ))
    })
}

/// Returns the author's own flags, a small stack, and no home folder in the firmware. They are the same for
/// all firmware, so that builds in one target folder share their dependencies.
fn flags() -> OsString {
    let mut flags: Vec<OsString> = match (
        std::env::var_os("CARGO_ENCODED_RUSTFLAGS"),
        std::env::var("RUSTFLAGS"),
    ) {
        (Some(encoded), _) if !encoded.is_empty() => vec![encoded],
        (_, Ok(plain)) => plain.split_whitespace().map(OsString::from).collect(),
        _ => Vec::new(),
    };
    flags.push(format!("-Clink-arg=-zstack-size={STACK_BYTES}").into());
    if let Some(home) = std::env::home_dir() {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(home);
        flag.push("=~");
        flags.push(flag);
    }
    flags.join(&OsString::from("\x1f"))
}
