//! Firmware of the virtual devices: the example inside this program, or the user's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use iottly_builder::Source;
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::run::Target;

const SCRIPT: &str = include_str!("../../../../firmware-examples/room-js/main.js");
const MANIFEST: &str = include_str!("../../../../firmware-examples/room-js/firmware.toml");

/// Puts the example `room-js` into `dir` unless it is there; returns its path. The file is named after its content, so that a
/// newer program replaces it and a restart does not.
pub(crate) fn room(dir: &Path) -> anyhow::Result<PathBuf> {
    let wasm = Source::script(SCRIPT)
        .with_manifest(MANIFEST)
        .and_then(|source| source.component())
        .context("cannot build the firmware of the room")?;
    let digest = Sha256::digest(&wasm);
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(format!("room-{name}.wasm"));
    if !path.exists() {
        put(&path, &wasm)?;
    }
    Ok(path)
}

/// Builds or reads the firmware at `path` (a folder, a script or a component) and keeps it in `dir`; returns
/// its path.
pub(crate) async fn own(path: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let (path, dir) = (path.to_owned(), dir.to_owned());
    let build = move || {
        let component = || -> Result<Vec<u8>, Failure> { Target::open(&path)?.component() };
        let wasm = component().map_err(|failure| anyhow!("{failure}"))?;
        let kept = dir.join("own.wasm");
        put(&kept, &wasm)?;
        Ok(kept)
    };
    tokio::task::spawn_blocking(build)
        .await
        .context("the build stopped")?
}

fn put(path: &Path, wasm: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
    let part = path.with_extension("part");
    std::fs::write(&part, wasm)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
