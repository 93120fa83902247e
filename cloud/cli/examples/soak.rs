//! The loss oracle of `cloud/e2e/tests/loss.rs` for hours instead of a minute.
//!
//! `cargo build --release --workspace --example soak`, then `target/release/examples/soak [--messages
//! 10000000] [--hosts 4] [--devices 16] [--seconds 3600] [--seed N] [--dir DIR]`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use iottly_e2e::oracle::{self, Settings};
use iottly_e2e::{agent_program, program};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq(oracle::AGENTS).is_some() {
        oracle::run_agents(args);
        return Ok(());
    }
    let mut folder: Option<PathBuf> = None;
    let mut settings = Settings {
        iottly: program().into(),
        agent: agent_program(),
        folder: PathBuf::new(),
        messages: 10_000_000,
        hosts: 4,
        devices: 16,
        time: Duration::from_secs(3600),
        seed: 1,
    };
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--messages" => settings.messages = value.parse()?,
            "--hosts" => settings.hosts = value.parse()?,
            "--devices" => settings.devices = value.parse()?,
            "--seconds" => settings.time = Duration::from_secs(value.parse()?),
            "--seed" => settings.seed = value.parse()?,
            "--dir" => folder = Some(value.into()),
            other => anyhow::bail!("unknown argument {other}"),
        }
    }
    anyhow::ensure!(
        settings.hosts > 0 && settings.devices > 1,
        "a host and two devices are the least"
    );
    let temporary = match &folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    settings.folder = temporary.path().to_owned();
    let summary = oracle::run(&settings);
    writeln!(std::io::stdout(), "{summary}").context("cannot write to standard output")
}
