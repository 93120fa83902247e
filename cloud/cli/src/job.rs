//! `iottly job …`: long actions over many devices, which the cloud carries out by itself.

use std::fmt::Write as _;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::say::say;
use crate::time_text::time;

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
            call.print_list("jobs", &answer, |answer| {
                let jobs = answer["jobs"].as_array().into_iter().flatten();
                jobs.map(line).collect()
            })
        }
        Command::Show { id, call } => {
            let answer = call.api()?.get(&format!("/jobs/{}", escaped(id)))?;
            call.print(&answer, whole)
        }
        Command::Cancel { id, call } => {
            let answer =
                call.api()?
                    .send(&format!("/jobs/{}/cancel", escaped(id)), "application/json", b"")?;
            call.print(&answer, whole)
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
    let id = answer["job"]["id"].as_str().unwrap_or_default().to_owned();
    if wait.no_wait {
        call.print(&answer, |_| format!("{id}\n"))?;
        return Ok(None);
    }
    say(&format!("job {id}; it continues if this command is ended"));
    watch(call, api, &id)?;
    Ok(Some(id))
}

/// Says how far a job is, and prints it when it has ended.
///
/// # Errors
/// [`Failure::Failed`] when it was cancelled or has failed, or devices have.
fn watch(call: &Call, api: &Api, id: &str) -> Result<(), Failure> {
    let path = format!("/jobs/{}", escaped(id));
    let mut said = String::new();
    loop {
        let answer = api.get(&path)?;
        let job = &answer["job"];
        let state = job["state"].as_str().unwrap_or_default();
        let now = format!(
            "{state} {} of {}, {} failed",
            job["done"], job["total"], job["failed"]
        );
        if now != said {
            say(&now);
            said = now;
        }
        if !job["ended"].is_null() {
            call.print(&answer, whole)?;
            return match (state, job["failed"].as_u64()) {
                ("finished", Some(0)) => Ok(()),
                ("finished", _) => Err(Failure::Failed(anyhow!(
                    "{} of {} devices failed; `iottly job show {id}` lists them",
                    job["failed"],
                    job["total"]
                ))),
                (state, _) => Err(Failure::Failed(anyhow!(
                    "the job is {state}{}",
                    job["reason"]
                        .as_str()
                        .map(|reason| format!(": {reason}"))
                        .unwrap_or_default()
                ))),
            };
        }
        std::thread::sleep(LOOK);
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

fn line(job: &Value) -> String {
    let text = |key: &str| job[key].as_str().unwrap_or_default();
    format!(
        "{}  {:9}  {:>7}/{:<7}  {:>6} failed  {}  {}\n",
        text("id"),
        text("state"),
        job["done"].to_string(),
        job["total"].to_string(),
        job["failed"].to_string(),
        time(&job["created"]),
        text("title")
    )
}

fn whole(answer: &Value) -> String {
    let (job, mut out) = (&answer["job"], line(&answer["job"]));
    if let Some(reason) = job["reason"].as_str() {
        writeln!(out, "  {reason}").expect("a string takes all");
    }
    if !job["file"].is_null() {
        let file = &job["file"];
        writeln!(
            out,
            "  {} entries, {} bytes, until {}; iottly job download {} --to FILE.jsonl.gz",
            file["messages"],
            file["bytes"],
            time(&file["until"]),
            job["id"].as_str().unwrap_or_default()
        )
        .expect("a string takes all");
    }
    let failures = answer["failures"].as_array().into_iter().flatten();
    for failure in failures.take(SHOWN) {
        let text = |key: &str| failure[key].as_str().unwrap_or_default();
        writeln!(out, "  {}  {}", text("device"), text("reason")).expect("a string takes all");
    }
    out
}
