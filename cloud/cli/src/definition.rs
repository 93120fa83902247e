//! `iottly definition …`: manages a project's message definitions over the REST API.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use iottly_web::answers::{DefinitionList, OneDefinition, ProposedDefinition, SampleBody};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::{Api, escaped};
use crate::say::say;
use crate::table::plain;

/// Maximum size of a definition's file, in bytes: as much as the API takes.
const MAX_BYTES: u64 = 256 << 10;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the definitions: type, direction and format
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Shows a definition as JSON, as `set` reads it
    Show {
        /// Type of the messages
        cmd_type: String,
        #[command(flatten)]
        call: Call,
    },
    /// Adds a definition, or replaces the one of the same type
    ///
    /// An option is {"type": "FreeValue"}, {"type": "FixedValue", "value": …} or {"type": "MultipleChoice", "listvalues": […]},
    /// with "optional": true if commands may leave it out. It may have "value_type" (text, integer, number or boolean),
    /// "unit", "minimum" and "maximum", and a FreeValue a "default".
    Set {
        /// File with the definition as JSON; - for standard input
        file: PathBuf,
        #[command(flatten)]
        call: Call,
    },
    /// Proposes the definition of an event from a sample message, as `set` reads it; nothing is stored
    FromSample {
        /// Type of the messages
        cmd_type: String,
        /// File with the sample as JSON; - for standard input
        file: PathBuf,
        #[command(flatten)]
        call: Call,
    },
    /// Deletes a definition; its handlers are kept under another name
    Rm {
        /// Type of the messages
        cmd_type: String,
        #[command(flatten)]
        call: Call,
    },
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { call } => {
            let answer = call.api()?.get("/messagedefinitions")?;
            let head = ["TYPE", "DIRECTION", "FORMAT"];
            call.print_table("messagedefinitions", &answer, &head, row)
        }
        Command::Show { cmd_type, call } => {
            let answer = call.api()?.get(&path(cmd_type))?;
            call.print_as(&answer, |answer: &OneDefinition| {
                format!("{:#}\n", answer.messagedefinition)
            })
        }
        Command::Set { file, call } => set(file, call),
        Command::FromSample { cmd_type, file, call } => propose(cmd_type, file, call),
        Command::Rm { cmd_type, call } => {
            let answer = call.api()?.delete(&path(cmd_type))?;
            call.print(&answer, |_| "deleted\n".to_owned())
        }
    }
}

fn path(cmd_type: &str) -> String {
    format!("/messagedefinitions/{}", escaped(cmd_type))
}

fn set(file: &PathBuf, call: &Call) -> Result<(), Failure> {
    let body = read(file)?;
    let api = call.api()?;
    let cmd_type = body
        .as_object()
        .and_then(|fields| fields.keys().find(|key| *key != "metadata"))
        .ok_or_else(|| Failure::Invalid("the file is not {\"<type>\": {…}, \"metadata\": {…}}".to_owned()))?;
    let answer = if is_known(&api, cmd_type)? {
        api.put(&path(cmd_type), "application/json", body.to_string().as_bytes())?
    } else {
        api.post("/messagedefinitions", &body)?
    };
    let saved: OneDefinition = answer::read(&answer)?;
    let Metadata { kind, .. } = metadata(&saved.messagedefinition)?;
    call.print(&answer, |_| format!("saved {}\n", plain(&kind)))
}

fn propose(cmd_type: &str, file: &PathBuf, call: &Call) -> Result<(), Failure> {
    let body = SampleBody {
        cmd_type: Some(cmd_type.to_owned()),
        sample: read(file)?,
    };
    let answer = call.api()?.post("/messagedefinition/from-sample", &json!(body))?;
    let proposed: ProposedDefinition = answer::read(&answer)?;
    if proposed.left_out > 0 {
        say(&format!(
            "{} values of the sample have no room and are left out",
            proposed.left_out
        ));
    }
    call.print(&answer, |_| format!("{:#}\n", proposed.messagedefinition))
}

fn is_known(api: &Api, cmd_type: &str) -> Result<bool, Failure> {
    let all: DefinitionList = answer::read(&api.get("/messagedefinitions")?)?;
    for known in &all.messagedefinitions {
        if metadata(known)?.kind == cmd_type {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(file: &PathBuf) -> Result<Value, Failure> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_BYTES).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    serde_json::from_str(&text).map_err(|error| Failure::Invalid(format!("{}: {error}", file.display())))
}

/// Definition, of which the table shows the metadata.
#[derive(Deserialize)]
struct Definition {
    metadata: Metadata,
}

/// Metadata of a definition.
#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "type")]
    kind: String,
    direction: String,
    jsonfmt: Value,
}

/// Returns the metadata of a definition.
fn metadata(definition: &Value) -> Result<Metadata, Failure> {
    answer::read::<Definition>(definition).map(|definition| definition.metadata)
}

fn row(definition: &Definition) -> Vec<String> {
    let Metadata {
        kind,
        direction,
        jsonfmt,
    } = &definition.metadata;
    vec![kind.clone(), direction.clone(), jsonfmt.to_string()]
}
