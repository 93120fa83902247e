//! `iottly`: the cloud, the demo, and the commands of developers and operators.

mod alert;
mod answer;
mod audit;
mod backup;
mod build;
mod call;
mod check;
mod cloud_builder;
mod cmd;
mod code;
mod compiled;
mod context;
mod crashes;
mod definition;
mod demo;
mod dev;
mod device;
mod doctor;
mod enrolment_key;
mod exit;
mod filter;
mod group;
mod healthcheck;
mod history;
mod image;
mod init;
mod job;
mod keys;
mod lease;
mod listen;
mod log;
mod login;
mod named_device;
mod passphrase;
mod progress;
mod project;
mod provision;
mod push;
mod release;
mod remote;
mod rollout;
mod run;
mod saved_logins;
mod saved_plots;
mod say;
mod script_check;
mod seal;
mod series;
mod serve;
mod signing_key;
mod similar;
mod subprocess;
mod table;
mod tail;
mod terminal;
mod time_text;
mod token;
mod version;
mod webhook;
mod whoami;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};

use exit::Failure;

#[derive(Parser)]
#[command(
    name = "iottly",
    version,
    about = "An IoT platform: cloud, devices and firmware",
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 not authorised, 4 not found.
`iottly --version --verbose` shows the engine and how child processes are confined on this machine."
)]
struct Cli {
    /// Leave out progress and notes; errors and questions are still written
    #[arg(long, short, global = true, display_order = 900)]
    quiet: bool,
    /// Bold headings of tables
    #[arg(long, global = true, value_enum, value_name = "auto|always|never", hide_possible_values = true, display_order = 901, default_value_t = terminal::Color::Auto)]
    color: terminal::Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a cloud and virtual devices with firmware in one process
    Demo(Box<demo::Options>),
    /// Runs the cloud
    Serve(Box<serve::Options>),
    /// Asks the cloud on this machine whether it can serve requests
    Healthcheck(healthcheck::Options),
    /// Creates a project and devices in a cloud's data folder
    Provision(provision::Options),
    /// Copies a cloud's database, or all of the cloud, into a file; the cloud may be running
    Backup(backup::BackupOptions),
    /// Fills an empty database, or an empty data folder, from a backup; the cloud must not run
    Restore(backup::RestoreOptions),
    /// Locks the key that seals a cloud's secrets with a passphrase, or unlocks it
    Seal(seal::Options),
    /// Reads JSON documents from standard input, one a line, and prints those that match a MongoDB filter
    Filter(filter::Options),
    /// Creates a folder with new firmware
    Init(init::Options),
    /// Builds the firmware in a folder into `target/NAME.wasm`
    Build(build::Options),
    /// Builds the firmware in a folder and runs a minute of it on a virtual board
    Check(check::Options),
    /// Runs the firmware of a folder on devices, again at each save, and shows what it does
    Dev(dev::Options),
    /// Runs firmware on this machine: messages on standard output, commands on standard input
    Run(run::Options),
    /// Creates, lists and rotates the keys that sign releases
    Key(release::KeyOptions),
    /// Creates releases and directs devices to run them
    Release(release::ReleaseOptions),
    /// Reads, checks and saves the code of a branch
    Code(code::Options),
    /// Builds the firmware in a folder and saves it as the next revision of a branch
    Push(push::Options),
    /// Deploys branches to deployment groups
    Group(group::Options),
    /// Lists, shows and cancels rollouts: releases on their way into deployment groups
    Rollout(rollout::Options),
    /// Enrols and lists devices
    Device(device::Options),
    /// Lists and changes message definitions: the commands and events of a project
    Definition(definition::Options),
    /// Prepares an image so that the board enrols at its first start
    Image(image::Options),
    /// Sends a command to a device
    Cmd(cmd::Options),
    /// Shows messages as they are stored, and the log lines of a device
    Tail(tail::Options),
    /// Shows the newest messages of a device
    History(history::HistoryOptions),
    /// Shows the newest log lines of a device
    Logs(history::LogsOptions),
    /// Writes the history of a device as JSON lines
    Export(history::ExportOptions),
    /// Manages enrolment keys, with which many boards enrol
    EnrolmentKey(enrolment_key::Options),
    /// Lists, rotates and revokes the keys that sign a project's releases
    SigningKey(signing_key::Options),
    /// Shows and ends developer leases, which let devices run scripts without a release
    Lease(lease::Options),
    /// Creates, lists and revokes tokens, with which programs use the API
    Token(token::Options),
    /// Shows who changed what in the project, when, and from where
    Audit(audit::Options),
    /// Numbers in messages over time: paths, points, CSV
    Series(series::Options),
    /// Signs this machine in: prints a code that you approve in the browser
    Login(login::LoginOptions),
    /// Removes the login of this machine and revokes its token
    Logout(login::LogoutOptions),
    /// Lists, creates and changes projects, and chooses the one that commands act in
    Project(project::Options),
    /// Lists the clouds at which this machine is signed in, and chooses the one that commands use
    Context(context::Options),
    /// Checks the way to the cloud step by step, and says what to do about what is wrong
    Doctor(doctor::Options),
    /// Shows who you are, where, in which project, and what you may do there
    Whoami(whoami::Options),
    /// Prints the completions of a shell
    Completions {
        /// Shell that reads them
        shell: clap_complete::Shell,
    },
    /// Lists, follows and cancels jobs: long actions over many devices
    Job(job::Options),
    /// Lists and mutes alerts, and manages the rules that raise them
    Alert(alert::Options),
    /// Shows failures of firmware by release and place
    Crashes(crashes::Options),
    /// Manages webhooks, which send messages to addresses of your choice
    Webhook(webhook::Options),
    /// Compiles firmware to machine code; this program starts it
    #[command(name = subprocess::COMPILE, hide = true)]
    Compile,
    /// Runs the top level of a script without a device; this program starts it
    #[command(name = subprocess::CHECK_SCRIPT, hide = true)]
    CheckScript,
}

fn main() -> ExitCode {
    if version::is_asked(std::env::args_os().skip(1)) {
        return exit::report(version::print());
    }
    let cli = Cli::parse();
    terminal::choose_color(cli.color);
    if cli.quiet {
        say::be_quiet();
    }
    match cli.command {
        // The children limit their whole process, so nothing may run before them.
        Command::Compile => iottly_sandbox::compile_child(),
        Command::CheckScript => script_check::child(),
        Command::Demo(options) => exit::report(private_main(with_descriptors(demo::run(*options)))),
        Command::Serve(options) => exit::report(private_main(with_descriptors(serve::run(*options)))),
        Command::Healthcheck(options) => exit::report(healthcheck::run(&options)),
        Command::Provision(options) => exit::report(private_main(provision::run(options))),
        Command::Backup(options) => exit::report(private_main(backup::backup(options))),
        Command::Restore(options) => exit::report(private_main(backup::restore(options))),
        Command::Seal(options) => exit::report(seal::run(&options).map_err(Into::into)),
        Command::Filter(options) => exit::report(filter::run(&options)),
        Command::Init(options) => exit::report(init::run(&options)),
        Command::Build(options) => exit::report(build::run(&options)),
        Command::Check(options) => exit::report(check::run(&options)),
        Command::Key(options) => exit::report(release::run_key(&options)),
        Command::Release(options) => exit::report(release::run_release(&options)),
        Command::Push(options) => exit::report(push::run(&options)),
        Command::Group(options) => exit::report(group::run(&options)),
        Command::Rollout(options) => exit::report(rollout::run(&options)),
        Command::Definition(options) => exit::report(definition::run(&options)),
        Command::Device(options) => exit::report(device::run(&options)),
        Command::Image(options) => exit::report(image::run(&options)),
        Command::Cmd(options) => exit::report(cmd::run(&options)),
        Command::Tail(options) => exit::report(tail::run(&options)),
        Command::History(options) => exit::report(history::history(&options)),
        Command::Logs(options) => exit::report(history::logs(&options)),
        Command::Export(options) => exit::report(history::export(&options)),
        Command::Login(options) => exit::report(login::login(&options)),
        Command::Logout(options) => exit::report(login::logout(&options)),
        Command::Project(options) => exit::report(project::run(&options)),
        Command::Context(options) => exit::report(context::run(&options)),
        Command::Doctor(options) => exit::report(doctor::run(&options)),
        Command::Whoami(options) => exit::report(whoami::run(&options)),
        Command::Completions { shell } => exit::report(completions(shell)),
        Command::EnrolmentKey(options) => exit::report(enrolment_key::run(&options)),
        Command::SigningKey(options) => exit::report(signing_key::run(&options)),
        Command::Code(options) => exit::report(code::run(&options)),
        Command::Lease(options) => exit::report(lease::run(&options)),
        Command::Token(options) => exit::report(token::run(&options)),
        Command::Audit(options) => exit::report(audit::run(&options)),
        Command::Series(options) => exit::report(series::run(&options)),
        Command::Job(options) => exit::report(job::run(&options)),
        Command::Alert(options) => exit::report(alert::run(&options)),
        Command::Crashes(options) => exit::report(crashes::run(&options)),
        Command::Webhook(options) => exit::report(webhook::run(&options)),
        Command::Dev(options) => exit::report(async_main(dev::run(options))),
        Command::Run(options) => exit::report(async_main(run::run(options))),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "iottly", &mut text);
    Ok(std::io::stdout()
        .write_all(&text)
        .context("cannot write to standard output")?)
}

/// Raises the limit of open files as far as the system allows, then does the work.
async fn with_descriptors<T>(work: impl Future<Output = T>) -> T {
    iottly_sandbox::raise_descriptor_limit();
    work.await
}

/// Does the same as [`async_main`] for commands that write private files: other users get no rights to them.
fn private_main<E: Into<Failure>>(work: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    async_main(work)
}

fn async_main<E: Into<Failure>>(work: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    log::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let result = runtime.block_on(work);
    // What still runs has exceeded its own deadline for stopping.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result.map_err(Into::into)
}
