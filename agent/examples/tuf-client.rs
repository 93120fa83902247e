//! The device's release client as a command, for public test suites of The Update Framework.
//!
//! ```text
//! tuf-client --metadata-dir DIR init TRUSTED_ROOT_FILE
//! tuf-client --metadata-dir DIR --metadata-url URL refresh
//! tuf-client --metadata-dir DIR --metadata-url URL --target-name PATH… --target-base-url URL --target-dir DIR download
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use iottly_protocol::tuf::{Client, Instant, Schemes, Store as _};
use iottly_update::{HttpRepository, TrustFolder, keep_target};
use lexopt::prelude::*;

#[derive(Default)]
struct Arguments {
    metadata_dir: Option<PathBuf>,
    metadata_url: Option<String>,
    target_names: Vec<String>,
    target_base_url: Option<String>,
    target_dir: Option<PathBuf>,
    words: Vec<String>,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("metadata-dir") => arguments.metadata_dir = Some(parser.value()?.into()),
            Long("metadata-url") => arguments.metadata_url = Some(parser.value()?.string()?),
            Long("target-name") => arguments.target_names.push(parser.value()?.string()?),
            Long("target-base-url") => arguments.target_base_url = Some(parser.value()?.string()?),
            Long("target-dir") => arguments.target_dir = Some(parser.value()?.into()),
            Value(word) => arguments.words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let metadata_dir = arguments
        .metadata_dir
        .as_deref()
        .context("missing --metadata-dir")?;
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words[..] {
        ["init", root] => init(metadata_dir, Path::new(root)),
        ["refresh"] => Ok(client(arguments, metadata_dir)?.refresh()?),
        ["download"] => download(arguments, metadata_dir),
        _ => bail!("expected one of: init TRUSTED_ROOT_FILE, refresh, download"),
    }
}

fn init(metadata_dir: &Path, root: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(root).with_context(|| root.display().to_string())?;
    Ok(TrustFolder::new(metadata_dir).put("root", &bytes)?)
}

fn client(arguments: &Arguments, metadata_dir: &Path) -> anyhow::Result<Client<HttpRepository, TrustFolder>> {
    let metadata_url = arguments
        .metadata_url
        .as_deref()
        .context("missing --metadata-url")?;
    let targets_url = arguments.target_base_url.as_deref().unwrap_or(metadata_url);
    let repository = HttpRepository::new(metadata_url, targets_url);
    // Read the clock once: the whole update uses this time.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let now = Instant::from_unix(now.as_secs());
    // Suites sign with P-256 as well; a device accepts it only if its configuration says so.
    Ok(Client::open(
        repository,
        TrustFolder::new(metadata_dir),
        now,
        Schemes::WITH_P256,
    )?)
}

fn download(arguments: &Arguments, metadata_dir: &Path) -> anyhow::Result<()> {
    let folder = arguments.target_dir.as_deref().context("missing --target-dir")?;
    arguments
        .target_base_url
        .as_deref()
        .context("missing --target-base-url")?;
    if arguments.target_names.is_empty() {
        bail!("missing --target-name");
    }
    let mut client = client(arguments, metadata_dir)?;
    for name in &arguments.target_names {
        keep_target(&mut client, name, folder)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-client: {error:#}");
            ExitCode::from(1)
        }
    }
}
