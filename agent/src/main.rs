//! The board daemon's command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

mod queue_report;

use anyhow::Context;
use iottly_agent::{Agent, AgentConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const USAGE: &str = "\
Runs a board: its firmware, its message queue and its connection to the cloud.

usage: iottly-agent run --config FILE | --data DIR
       iottly-agent warm --config FILE | --data DIR
       iottly-agent queue --data DIR [--output json]

  run               run until SIGTERM or Ctrl-C
    --config FILE   configuration file
    --data DIR      data folder; agent.toml in it is the configuration unless --config is given
    --compiler PATH program that compiles firmware, instead of the configured one
  warm              compile the script engine into the cache of compiled firmware, so that the first script does not wait;
                    packages call this at installation
    --config, --data, --compiler as for run
  queue             show the records that wait for the cloud: number, bytes, gaps, dead letters; the agent may be running
    --data DIR      data folder
    --output FORMAT text (default) or json
  --help            show this help
  --version         show the version; with --verbose also the engine and the compiler's confinement on this machine

environment:
  IOTTLY_LOG        log filter, such as debug or iottly_agent::link=debug (default: info)
  NO_COLOR          no colours in the log; there are none either if standard error is not a terminal

exit codes: 0 stopped, 1 failed, 2 wrong usage, 4 no queue, 75 a step hung and the process ended itself: restart it
";

/// Maximum wait at the end for threads that are still running.
const LAST_WAIT: Duration = Duration::from_secs(1);

enum Command {
    Run {
        config: PathBuf,
        data: Option<PathBuf>,
        compiler: Option<PathBuf>,
    },
    Warm {
        config: PathBuf,
        data: Option<PathBuf>,
        compiler: Option<PathBuf>,
    },
    Queue {
        data: PathBuf,
        json: bool,
    },
    Print(&'static str),
    /// The version; with `true` also the engine and the compiler's confinement.
    Version(bool),
}

fn main() -> ExitCode {
    // Other users must not read the agent's files.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            // A failure to write the error cannot be reported.
            let _ = writeln!(io::stderr(), "iottly-agent: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Run {
            config,
            data,
            compiler,
        } => run(config, data, compiler),
        Command::Warm {
            config,
            data,
            compiler,
        } => warm(&config, data, compiler),
        Command::Queue { data, json } => match queue_report::report(&data, json) {
            Ok(Some(report)) => print(&report),
            Ok(None) => {
                let _ = writeln!(io::stderr(), "iottly-agent: no queue in {}", data.display());
                return ExitCode::from(4);
            }
            Err(error) => Err(error),
        },
        Command::Print(text) => print(text),
        Command::Version(false) => print(concat!("iottly-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Version(true) => print(&format!(
            "iottly-agent {}\nwasmtime {}\n{}\nconfinement of the compiler: {}\n{}",
            env!("CARGO_PKG_VERSION"),
            iottly_sandbox::RUNTIME_VERSION,
            iottly_engine::version(),
            iottly_sandbox::Confinement::here(),
            iottly_engine::notices()
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "iottly-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("failed to write to standard output")
}

fn parse(args: impl Iterator<Item = OsString>) -> anyhow::Result<Command> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(args);
    let mut verb = None;
    let mut config = None;
    let mut data = None;
    let mut compiler = None;
    let mut json = false;
    let mut version = false;
    let mut verbose = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Print(USAGE)),
            Long("version") => version = true,
            Long("verbose") => verbose = true,
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("compiler") => compiler = Some(PathBuf::from(parser.value()?)),
            Long("output") => {
                json = match parser.value()?.to_string_lossy().as_ref() {
                    "json" => true,
                    "text" => false,
                    other => anyhow::bail!("unknown output format {other:?}: expected text or json"),
                }
            }
            Value(value) if verb.is_none() => verb = Some(value),
            other => return Err(other.unexpected().into()),
        }
    }
    if version {
        return Ok(Command::Version(verbose));
    }
    let verb = verb.as_deref().map(|verb| verb.to_string_lossy());
    match verb.as_deref() {
        Some("run" | "warm") => {}
        Some("queue") => {
            let data = data.context("queue needs --data DIR")?;
            return Ok(Command::Queue { data, json });
        }
        Some(verb) => anyhow::bail!("unknown command {verb:?}"),
        None => anyhow::bail!("missing command: run, warm or queue"),
    }
    let config = config.or_else(|| data.as_ref().map(|dir| dir.join("agent.toml")));
    let config = config.with_context(|| {
        format!(
            "{} needs --config FILE or --data DIR",
            verb.as_deref().unwrap_or_default()
        )
    })?;
    if verb.as_deref() == Some("warm") {
        return Ok(Command::Warm {
            config,
            data,
            compiler,
        });
    }
    Ok(Command::Run {
        config,
        data,
        compiler,
    })
}

fn run(path: PathBuf, data: Option<PathBuf>, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    log_to_standard_error();
    iottly_sandbox::raise_descriptor_limit();
    let config = configuration(&path, data, compiler)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        // A write beyond a limit on file size then fails with an error instead of ending the agent. The
        // handler stays installed.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let agent = tokio::select! {
            agent = Agent::start(config) => agent?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent.shutdown().await;
        Ok(())
    });
    // An interrupted start may hang in a blocking thread: limit the wait for it.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

fn warm(path: &Path, data: Option<PathBuf>, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    log_to_standard_error();
    let config = configuration(path, data, compiler)?;
    let digest = Agent::warm(&config)?;
    print(&format!(
        "script engine {} {digest} is compiled\n",
        iottly_engine::ABI
    ))
}

/// Reads the configuration, and replaces in it what the command line names.
fn configuration(
    path: &Path,
    data: Option<PathBuf>,
    compiler: Option<PathBuf>,
) -> anyhow::Result<AgentConfig> {
    let mut config = AgentConfig::read(path)?;
    if let Some(data) = data {
        config.data_dir = data;
    }
    if let Some(compiler) = compiler {
        config.compiler.program = compiler;
    }
    Ok(config)
}

fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("IOTTLY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // A log that cannot be written (a full disk) would be reported on standard error too, which would panic
    // in the middle of an update.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .log_internal_errors(false)
        .init();
}
