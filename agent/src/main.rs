//! The board daemon's command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

mod board_report;
mod enroll_args;
mod enroll_environment;
mod enroll_screen;
mod healthcheck;
mod queue_report;

use anyhow::Context;
use healthcheck::Check;
use iottly_agent::{
    Agent, AgentConfig, AgentHandle, BoardKind, BrokerAddress, Compiler, ConfigError, EnrollOptions,
    StatusSocket,
};
use iottly_protocol::enroll::EnrollOffer;
use iottly_protocol::{DeviceId, Secret};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const USAGE: &str = "\
Runs a board: its firmware, its message queue and its connection to the cloud.

usage: iottly-agent enroll 'iottly://HOST[:PORT]/CODE#FINGERPRINT' --data DIR [--name NAME]
       iottly-agent enroll --url https://HOST[:PORT] --data DIR [--name NAME]
       iottly-agent run --config FILE | --data DIR
       iottly-agent warm --config FILE | --data DIR | --into DIR
       iottly-agent healthcheck --data DIR [--max-offline SECONDS]
       iottly-agent queue --data DIR [--output json]
       iottly-agent board [--config FILE | --data DIR] [--json]
       iottly-agent generalize --data DIR

  enroll URL        make this board a device of a cloud; URL is what `iottly device enroll` prints, or - to read it from
                    standard input
    --data DIR      data folder, where the device's keys are stored
    --name NAME     name of the device, if the cloud has none for it
    --url URL       address of the cloud, https://HOST[:PORT], in place of the one string; without --pair-code the board
                    shows an address, a short code and a QR code, and waits until a person approves it
    --pair-code C   pair code, enrolment key or short code of the cloud, with --url
    --ca-fingerprint F  sha256 of the authority's certificate, with --url; without it the public web's authorities count
    --trust-on-first-use  with --url: believe the first cloud that answers
    --rekey         make new keys for a board that is enrolled already
  run               run until SIGTERM or Ctrl-C
    --config FILE   configuration file
    --data DIR      data folder of an enrolled board; agent.toml in it is the configuration unless --config is given
    --compiler PATH program that compiles firmware, instead of the configured one
  warm              compile the script engine into the cache of compiled firmware, so that the first script does not wait;
                    packages call this at installation
    --config, --data, --compiler as for run
    --into DIR      compile it into a folder that is installed as iottly-compiled beside this program, for all processors of
                    this architecture; container images have it
  healthcheck       ask the agent that runs on a data folder, and fail if it does not answer or is without its cloud
    --data DIR      data folder
    --max-offline N time without the cloud that is healthy, in seconds (default: 60); any: only the answer counts
  queue             show the records that wait for the cloud: number, bytes, gaps, dead letters; the agent may be running
    --data DIR      data folder
    --output FORMAT text (default) or json
  board             show the parts of the board, which are free, which firmware may use, and the step that mends a missing
                    permission or device; the agent may be running
    --config, --data  the configuration that names the board; without one, the board is the machine itself
    --json          as JSON
  generalize        remove the device's identity, queue and state, so that copies of this disk enrol for themselves
    --data DIR      data folder
  --help            show this help
  --version         show the version; with --verbose also the engine and the compiler's confinement on this machine

environment:
  HTTPS_PROXY       proxy for connections to the cloud, http://[user:password@]host:port
  IOTTLY_ENROLL     enrolment URL with which `run --data DIR` enrols a board that is no device yet; it waits for the cloud
  IOTTLY_ENROLL_FILE  file with the enrolment URL, in place of IOTTLY_ENROLL
  IOTTLY_NAME       name of the device that is enrolled in this way (default: the machine's name)
  IOTTLY_BOARD      board of a device whose configuration names none, such as virtual
  IOTTLY_LOG        log filter, such as debug or iottly_agent::link=debug (default: info)
  NO_COLOR          no colours in the log; there are none either if standard error is not a terminal

exit codes: 0 stopped or healthy, 1 failed or not healthy, 2 wrong usage, 4 no queue, 75 a step hung and the process ended itself: restart it
";

/// Variable with the board of a device whose configuration names none.
const BOARD: &str = "IOTTLY_BOARD";
/// Maximum wait at the end for threads that are still running.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Pause after an attempt to get a key that failed.
const UPGRADE_RETRY: Duration = Duration::from_secs(3600);

enum Command {
    Enroll(Box<EnrollOptions>),
    Generalize(PathBuf),
    Run {
        config: Option<PathBuf>,
        data: Option<PathBuf>,
        compiler: Option<PathBuf>,
    },
    Warm {
        config: Option<PathBuf>,
        data: Option<PathBuf>,
        compiler: Option<PathBuf>,
    },
    WarmInto {
        dir: PathBuf,
        compiler: Option<PathBuf>,
    },
    Healthcheck(Check),
    Queue {
        data: PathBuf,
        json: bool,
    },
    Board {
        config: Option<PathBuf>,
        data: Option<PathBuf>,
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
        Command::Enroll(options) => enroll(*options),
        Command::Generalize(data) => generalize(&data),
        Command::Run {
            config,
            data,
            compiler,
        } => run(config, data, compiler),
        Command::Warm {
            config,
            data,
            compiler,
        } => warm(config, data, compiler),
        Command::WarmInto { dir, compiler } => warm_into(&dir, compiler),
        Command::Healthcheck(check) => check.ask().and_then(|text| print(&text)),
        Command::Queue { data, json } => match queue_report::report(&data, json) {
            Ok(Some(report)) => print(&report),
            Ok(None) => {
                let _ = writeln!(io::stderr(), "iottly-agent: no queue in {}", data.display());
                return ExitCode::from(4);
            }
            Err(error) => Err(error),
        },
        Command::Board { config, data, json } => board(config, data, json),
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
    let mut out = io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("failed to write to standard output")
}

fn parse(args: impl Iterator<Item = OsString>) -> anyhow::Result<Command> {
    use lexopt::Arg::{Long, Short, Value};
    let mut args = args.peekable();
    if args.next_if(|word| word == "enroll").is_some() {
        let mut args = args.peekable();
        if args.peek().is_some_and(|word| word == "--help") {
            return Ok(Command::Print(USAGE));
        }
        return Ok(Command::Enroll(Box::new(enroll_args::parse(args)?)));
    }
    let mut parser = lexopt::Parser::from_args(args);
    let mut verb = None;
    let mut config = None;
    let mut data = None;
    let mut compiler = None;
    let (mut into, mut max_offline) = (None, None);
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
            Long("into") => into = Some(PathBuf::from(parser.value()?)),
            Long("max-offline") => max_offline = Some(parser.value()?),
            Long("json") => json = true,
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
        Some("warm") if into.is_some() => {
            let dir = into.context("warm needs --into DIR")?;
            return Ok(Command::WarmInto { dir, compiler });
        }
        Some("run" | "warm") => {}
        Some("healthcheck") => {
            let max = max_offline.map(|text| text.to_string_lossy().into_owned());
            let data = data.context("healthcheck needs --data DIR")?;
            return Ok(Command::Healthcheck(Check::new(data, max.as_deref())?));
        }
        Some("queue") => {
            let data = data.context("queue needs --data DIR")?;
            return Ok(Command::Queue { data, json });
        }
        Some("board") => return Ok(Command::Board { config, data, json }),
        Some("generalize") => {
            return Ok(Command::Generalize(data.context("generalize needs --data DIR")?));
        }
        Some(verb) => anyhow::bail!("unknown command {verb:?}"),
        None => anyhow::bail!("missing command: enroll, run, warm, healthcheck, queue, board or generalize"),
    }
    if config.is_none() && data.is_none() {
        anyhow::bail!(
            "{} needs --config FILE or --data DIR",
            verb.as_deref().unwrap_or_default()
        );
    }
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

fn enroll(options: EnrollOptions) -> anyhow::Result<()> {
    log_to_standard_error();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (host, data) = (options.host.clone(), options.data.clone());
    let no_color = no_color();
    let form = enroll_screen::Form::of(io::stdout().is_terminal(), no_color);
    let mut show = |screen: &iottly_agent::Screen| {
        if let Err(error) = print(&enroll_screen::text(screen, form)) {
            tracing::error!(%error, "failed to show the code; waiting without a screen");
        }
    };
    let (device, name) = runtime.block_on(iottly_agent::enroll(options, &mut show))?;
    print(&format!(
        "enrolled at {host} as {name} ({device}); start it with iottly-agent run --data {}\n",
        data.display()
    ))
}

fn board(path: Option<PathBuf>, data: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let config = match path.is_some() || data.is_some() {
        true => Some(configuration(path, data, None)?),
        false => None,
    };
    print(&board_report::report(config.as_ref(), json)?)
}

fn generalize(data: &Path) -> anyhow::Result<()> {
    let removed = iottly_agent::generalize(data)?;
    print(&format!("removed {}\n", removed.join(", ")))
}

fn run(path: Option<PathBuf>, data: Option<PathBuf>, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    log_to_standard_error();
    iottly_sandbox::raise_descriptor_limit();
    let read = || configuration(path.clone(), data.clone(), compiler.clone());
    let wanted = match read() {
        Err(error) if matches!(error.downcast_ref(), Some(ConfigError::NotEnrolled(_))) => {
            enroll_environment::wanted(data.as_deref())?
        }
        _ => None,
    };
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
        if let Some(options) = wanted {
            tokio::select! {
                enrolled = enroll_environment::enroll(options) => enrolled?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
        enroll_environment::forget()?;
        let mut config = read()?;
        separate_compiler(&config);
        tokio::spawn(iottly_agent::give_back_when_settled());
        let mut no_upgrade_before = Instant::now();
        loop {
            let agent = tokio::select! {
                agent = Agent::start(config.clone()) => agent?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            };
            if let Err(error) = iottly_agent::report_ready() {
                tracing::warn!(%error, "failed to find the service manager; it may count the start as failed");
            }
            // Without its socket the agent cannot be asked for its health, which stops nothing else.
            let socket = StatusSocket::open(&config.data_dir, agent.status()).inspect_err(|error| {
                tracing::warn!(device.id = %config.device_id, %error, "failed to open the socket of the status; healthcheck gets no answer");
            });
            let offer = tokio::select! {
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                offer = offered(&agent, no_upgrade_before), if !config.enrolled => Some(offer),
            };
            if offer.is_none() {
                iottly_agent::report_stopping();
            }
            drop(socket);
            agent.shutdown().await;
            let Some(offer) = offer else { return Ok(()) };
            match iottly_agent::upgrade(&config, offer).await {
                Ok(()) => {
                    tracing::info!(device.id = %config.device_id, "the device has a key of its own now");
                    config = read()?;
                }
                Err(error) => {
                    no_upgrade_before = Instant::now() + UPGRADE_RETRY;
                    tracing::warn!(device.id = %config.device_id, %error, retry_s = UPGRADE_RETRY.as_secs(), "failed to get a key; the secret of the configuration stays in use");
                }
            }
        }
    });
    // An interrupted start may hang in a blocking thread: limit the wait for it.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

/// Gives the compiler a control group of its own, where the service manager lets the agent do so.
fn separate_compiler(config: &AgentConfig) {
    let bytes = config.compiler.memory_bytes;
    match iottly_sandbox::separate_children(bytes) {
        Ok(true) => tracing::info!(
            memory.bytes = bytes,
            "the compiler has a limit on memory of its own"
        ),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "failed to give the compiler a control group of its own; it shares the agent's memory limit");
        }
    }
}

/// Waits for the cloud's offer to a device without a key.
async fn offered(agent: &AgentHandle, not_before: Instant) -> EnrollOffer {
    tokio::time::sleep_until(not_before.into()).await;
    let mut status = agent.status();
    let offer = match status.wait_for(|status| status.enroll_offer.is_some()).await {
        Ok(status) => status.enroll_offer,
        Err(_) => None,
    };
    match offer {
        Some(offer) => offer,
        // The agent ends without another word.
        None => std::future::pending().await,
    }
}

fn warm(path: Option<PathBuf>, data: Option<PathBuf>, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    log_to_standard_error();
    let config = match configuration(path, data.clone(), compiler.clone()) {
        Ok(config) => config,
        Err(error) => match (error.downcast_ref(), data) {
            // A package is installed before its board is enrolled.
            (Some(ConfigError::NotEnrolled(_)), Some(data)) => without_device(data, compiler),
            _ => return Err(error),
        },
    };
    let digest = Agent::warm(&config)?;
    print(&format!(
        "script engine {} {digest} is compiled\n",
        iottly_engine::ABI
    ))
}

fn warm_into(dir: &Path, compiler: Option<PathBuf>) -> anyhow::Result<()> {
    log_to_standard_error();
    let mut program = Compiler::default();
    program.program = compiler.unwrap_or(program.program);
    let digest = Agent::warm_into(dir, &program)?;
    print(&format!(
        "script engine {} {digest} is compiled\n",
        iottly_engine::ABI
    ))
}

/// Returns the configuration of a data folder that has no device yet, for what needs none.
fn without_device(data: PathBuf, compiler: Option<PathBuf>) -> AgentConfig {
    let nowhere = BrokerAddress::try_from("localhost:1".to_owned()).expect("an address");
    let mut config = AgentConfig::new(DeviceId::from_bytes([0; 16]), Secret::new(""), nowhere, data);
    if let Some(compiler) = compiler {
        config.compiler.program = compiler;
    }
    config
}

/// Reads the configuration, and replaces in it what command line and environment name.
fn configuration(
    path: Option<PathBuf>,
    data: Option<PathBuf>,
    compiler: Option<PathBuf>,
) -> anyhow::Result<AgentConfig> {
    let mut config = match (path, &data) {
        (Some(path), None) => AgentConfig::read(&path)?,
        (Some(path), Some(data)) => AgentConfig::of_board(&path, data)?,
        (None, Some(data)) => AgentConfig::of_board(&data.join("agent.toml"), data)?,
        (None, None) => anyhow::bail!("neither --config FILE nor --data DIR is given"),
    };
    if let Some(data) = data {
        config.data_dir = data;
    }
    if let Some(compiler) = compiler {
        config.compiler.program = compiler;
    }
    if let Some(board) = std::env::var(BOARD)
        .ok()
        .filter(|board| !board.is_empty() && config.board.is_none())
    {
        config.board = Some(
            BoardKind::try_from(board)
                .map_err(anyhow::Error::msg)
                .context(BOARD)?,
        );
    }
    Ok(config)
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("IOTTLY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = no_color();
    // A log that cannot be written (a full disk) would be reported on standard error too, which would panic
    // in the middle of an update.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        .log_internal_errors(false)
        .init();
}
