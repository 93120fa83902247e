//! The board daemon's command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use iottly_agent::{Agent, AgentConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const USAGE: &str = "\
iottly-agent runs a board: its firmware, its message queue and its connection to the cloud

usage: iottly-agent run --config FILE | --data DIR

  run               run until SIGTERM or Ctrl-C
    --config FILE   the configuration
    --data DIR      the folder with agent.toml, which also holds the device's data
    --compiler PATH the program that compiles firmware, instead of the configured one
  --help, --version
";

enum Command {
    Run { config: PathBuf, data: Option<PathBuf>, compiler: Option<PathBuf> },
    Print(&'static str),
}

fn main() -> ExitCode {
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            // Nothing is left to be done when even the error cannot be written.
            let _ = writeln!(io::stderr(), "iottly-agent: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Run { config, data, compiler } => run(config, data, compiler),
        Command::Print(text) => io::stdout().write_all(text.as_bytes()).context("cannot write to stdout"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "iottly-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl Iterator<Item = OsString>) -> anyhow::Result<Command> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(args);
    let (mut verb, mut config, mut data, mut compiler) = (None, None, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Print(USAGE)),
            Long("version") => return Ok(Command::Print(concat!("iottly-agent ", env!("CARGO_PKG_VERSION"), "\n"))),
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("compiler") => compiler = Some(PathBuf::from(parser.value()?)),
            Value(value) if verb.is_none() => verb = Some(value),
            other => return Err(other.unexpected().into()),
        }
    }
    match verb.as_deref().map(|verb| verb.to_string_lossy()) {
        Some(verb) if verb == "run" => {}
        Some(verb) => anyhow::bail!("unknown command {verb:?}"),
        None => anyhow::bail!("a command is missing"),
    }
    let config = config.or_else(|| data.as_ref().map(|dir| dir.join("agent.toml")));
    let config = config.context("run needs --config FILE or --data DIR")?;
    Ok(Command::Run { config, data, compiler })
}

fn run(path: PathBuf, data: Option<PathBuf>, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("IOTTLY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let mut config = AgentConfig::read(&path)?;
    if let Some(data) = data {
        config.data_dir = data;
    }
    if let Some(compiler) = compiler {
        config.compiler.program = compiler;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let agent = Agent::start(config).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent.shutdown().await;
        Ok(())
    })
}
