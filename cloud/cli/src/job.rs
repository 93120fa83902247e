//! `iottly job …`: long actions over many devices, which the cloud carries out by itself.

use std::fmt::Write as _;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use iottly_web::answers::{JobDto, OneJob};
use serde_json::Value;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::interrupt::Following;
use crate::progress::Progress;
use crate::remote::{Api, escaped};
use crate::say::say;
use crate::table::plain;
use crate::time_text::at;

/// Pause between two looks at a job.
const LOOK: Duration = Duration::from_millis(500);
/// Size of a piece of a file, in bytes.
const PIECE: usize = 64 << 10;
/// Maximum number of failed devices that are printed; the API lists more.
const SHOWN: usize = 20;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists jobs, the newest first
    List {
        #[command(flatten)]
        call: Call,
        /// Jobs to list: open, ended or all
        #[arg(long, default_value = "all", value_parser = ["open", "ended", "all"])]
        state: String,
    },
    /// Shows a job and the devices that failed
    Show {
        /// Id of the job
        id: String,
        #[command(flatten)]
        call: Call,
    },
    /// Ends a job: devices that are done stay as they are
    Cancel {
        /// Id of the job
        id: String,
        #[command(flatten)]
        call: Call,
    },
    /// Follows a job to its end; fails if the job or one of its devices has failed
    Watch {
        /// Id of the job
        id: String,
        #[command(flatten)]
        call: Call,
    },
    /// Starts a job from the JSON of the API, such as {"kind":"tag","filter":"group:demo","add":["field"]}
    Start {
        /// The job, as JSON
        json: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        call: Call,
    },
    /// Fetches the file of an export: JSON lines, compressed with gzip
    Download {
        /// Id of the job
        id: String,
        /// File to write
        #[arg(long, value_name = "FILE")]
        to: String,
        #[command(flatten)]
        call: Call,
    },
}

/// Choice between following a job and leaving it to the cloud.
#[derive(Args)]
pub(crate) struct Wait {
    /// Print the job and leave it to the cloud
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { call, state } => {
            let answer = call.api()?.get(&format!("/jobs?state={state}&numJobs=100"))?;
            call.print_lines("jobs", &answer, line)
        }
        Command::Show { id, call } => {
            let answer = call.api()?.get(&format!("/jobs/{}", escaped(id)))?;
            call.print_as(&answer, whole)
        }
        Command::Cancel { id, call } => {
            let answer =
                call.api()?
                    .send(&format!("/jobs/{}/cancel", escaped(id)), "application/json", b"")?;
            call.print_as(&answer, whole)
        }
        Command::Watch { id, call } => watch(call, &call.api()?, id).map(drop),
        Command::Start { json, wait, call } => {
            let body: Value = serde_json::from_str(json)
                .map_err(|error| Failure::Invalid(format!("the job is not JSON: {error}")))?;
            start(call, &call.api()?, &body, wait).map(drop)
        }
        Command::Download { id, to, call } => download(&call.api()?, id, Path::new(to)),
    }
}

/// Starts a job and follows it to its end, unless that is not wanted. Returns its id, if it has finished.
///
/// # Errors
/// As [`watch`].
pub(crate) fn start(call: &Call, api: &Api, body: &Value, wait: &Wait) -> Result<Option<String>, Failure> {
    let answer = api.post("/jobs", body)?;
    let id = read::<OneJob>(&answer)?.job.id.to_string();
    if wait.no_wait {
        call.print(&answer, |_| format!("{id}\n"))?;
        return Ok(None);
    }
    say(&format!("job {id}; it continues if this command is ended"));
    watch(call, api, &id)?;
    Ok(Some(id))
}

/// Shows how far a job is, as a bar on a terminal and a line for each change elsewhere, and prints the job when it has
/// ended.
///
/// # Errors
/// [`Failure::Failed`] when it was cancelled or has failed, or devices have.
fn watch(call: &Call, api: &Api, id: &str) -> Result<(), Failure> {
    let path = format!("/jobs/{}", escaped(id));
    let _following = Following::start(format!(
        "the job continues in the cloud: `iottly job watch {id}` follows it again, `iottly job cancel {id}` ends it"
    ));
    let (mut bar, mut said) = (None, String::new());
    loop {
        let answer = api.get(&path)?;
        let OneJob { job, .. } = read(&answer)?;
        let bar = bar.get_or_insert_with(|| Progress::of_items("devices", to_usize(job.total)));
        let now = format!(
            "{} {} of {}, {} failed",
            job.state, job.done, job.total, job.failed
        );
        if bar.is_drawn() {
            bar.set(job.done, &format!("{}, {} failed", job.state, job.failed));
        } else if now != said {
            say(&now);
            said = now;
        }
        if job.ended.is_some() {
            bar.beside(|| call.print_as(&answer, whole))?;
            return result(&job);
        }
        std::thread::sleep(LOOK);
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Returns what became of a job that has ended, as the end of the command.
fn result(job: &JobDto) -> Result<(), Failure> {
    match (&*job.state, job.failed) {
        ("finished", 0) => Ok(()),
        ("finished", failed) => Err(Failure::Failed(anyhow!(
            "{failed} of {} devices failed; `iottly job show {}` lists them",
            job.total,
            job.id
        ))),
        (state, _) => {
            let reason = job.reason.as_ref().map(|reason| format!(": {reason}"));
            Err(Failure::Failed(anyhow!(
                "the job is {state}{}",
                reason.unwrap_or_default()
            )))
        }
    }
}

/// Writes the file of an export.
pub(crate) fn download(api: &Api, id: &str, to: &Path) -> Result<(), Failure> {
    let mut body = api.download(&format!("/jobs/{}/file", escaped(id)))?;
    let cannot = || format!("cannot write {}", to.display());
    let mut out = std::fs::File::create(to).with_context(cannot)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = body
            .read(&mut piece)
            .context("the file is incomplete: the cloud or the network ended the download")?;
        if read == 0 {
            break;
        }
        out.write_all(&piece[..read]).with_context(cannot)?;
    }
    out.sync_all().with_context(cannot)?;
    say(&format!("wrote {}", to.display()));
    Ok(())
}

fn line(job: &JobDto) -> String {
    format!(
        "{}  {:9}  {:>7}/{:<7}  {:>6} failed  {}  {}\n",
        job.id,
        job.state,
        job.done,
        job.total,
        job.failed,
        at(job.created),
        plain(&job.title)
    )
}

fn whole(answer: &OneJob) -> String {
    let (job, mut out) = (&answer.job, line(&answer.job));
    if let Some(reason) = &job.reason {
        writeln!(out, "  {reason}").expect("a string takes all");
    }
    if let Some(file) = &job.file {
        writeln!(
            out,
            "  {} entries, {} bytes, until {}; iottly job download {} --to FILE.jsonl.gz",
            file.messages,
            file.bytes,
            at(file.until),
            job.id
        )
        .expect("a string takes all");
    }
    for failure in answer.failures.iter().take(SHOWN) {
        writeln!(out, "  {}  {}", failure.device, plain(&failure.reason)).expect("a string takes all");
    }
    out
}
