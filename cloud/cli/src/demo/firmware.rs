//! Firmware of the virtual devices: the example inside this program, or the user's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use iottly_builder::{Deadlines, Source};
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::run::Target;
use crate::scratch;
use crate::subprocess;

const SCRIPT: &str = include_str!("../../../../firmware-examples/thermostat-js/main.js");
/// Time limits of the build of the thermostat.
const DEADLINES: Deadlines = Deadlines {
    cpu: Duration::from_secs(61),
    wall: Duration::from_secs(60),
};

/// Builds the thermostat into `dir` unless it is there; returns its path.
///
/// A build is not reproducible, so the file is named after its source: a restart runs the same component.
pub(crate) async fn thermostat(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || build(&dir))
        .await
        .context("the build stopped")?
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

fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let digest = Sha256::new_with_prefix(SCRIPT)
        .chain_update(iottly_builder::version())
        .finalize();
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(format!("thermostat-{name}.wasm"));
    if path.exists() {
        return Ok(path);
    }
    let source = Source::script(SCRIPT);
    let wasm = iottly_builder::build_in(&scratch::folder(), &subprocess::builder()?, &source, DEADLINES)
        .context("cannot build the thermostat")?;
    put(&path, &wasm)?;
    Ok(path)
}

fn put(path: &Path, wasm: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
    let part = path.with_extension("part");
    std::fs::write(&part, wasm)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
