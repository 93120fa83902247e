//! `iottly enrolment-key …`: manages a project's enrolment keys over the REST API.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::call::Call;
use crate::device;
use crate::exit::Failure;
use crate::remote::escaped;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates a key with which many boards enrol, and prints the string for them; it is not shown again
    Create(Box<CreateOptions>),
    /// Lists the keys, without their texts
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Deletes a key; the devices that were created with it stay
    Delete {
        /// Id of the key
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

#[derive(Args)]
struct CreateOptions {
    #[command(flatten)]
    call: Call,
    /// Name of the key
    #[arg(long)]
    name: String,
    /// Maximum number of devices
    #[arg(long, value_name = "N")]
    max_uses: u64,
    /// Expiry, in unix milliseconds [default: none]
    #[arg(long, value_name = "MS")]
    expires: Option<i64>,
    /// Deployment group of the devices, by name or id [default: _orphaned]
    #[arg(long)]
    group: Option<String>,
    /// Tag of the devices; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Delete a device when it was without a connection for this number of hours
    #[arg(long, value_name = "HOURS")]
    ephemeral: Option<u32>,
    /// Let each board wait until a person approves it with `iottly device approve`
    #[arg(long)]
    waiting: bool,
    /// Address under which the boards reach the cloud, if it is not the one of --url
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Create(options) => create(options),
        Command::List { call } => call.print_list("enrolment_keys", &call.api().get("/enrolmentkeys")?, list),
        Command::Delete { id, call } => {
            let answer = call.api().delete(&format!("/enrolmentkeys/{}", escaped(id)))?;
            call.print(&answer, |_| "deleted\n".to_owned())
        }
    }
}

fn create(options: &CreateOptions) -> Result<(), Failure> {
    let api = options.call.api();
    let mut body = json!({
        "name": options.name,
        "max_uses": options.max_uses,
        "tags": options.tags,
    });
    if let Some(group) = &options.group {
        body["deployment_group"] = json!(api.group(group)?.id);
    }
    if let Some(expires) = options.expires {
        body["expires"] = json!(expires);
    }
    if let Some(hours) = options.ephemeral {
        body["ephemeral_hours"] = json!(hours);
    }
    if options.waiting {
        body["waiting"] = json!(true);
    }
    let mut made = api.post("/enrolmentkeys", &body)?;
    made["url"] = json!(device::url(&made["url"], options.address.as_deref())?);
    options.call.print(&made, |made| {
        format!("{}\n", made["url"].as_str().unwrap_or_default())
    })
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for key in answer["enrolment_keys"].as_array().into_iter().flatten() {
        let text = |name: &str| key[name].as_str().unwrap_or_default();
        writeln!(
            out,
            "{}  {}…  {} of {} devices  {}",
            text("id"),
            text("prefix"),
            key["uses"],
            key["max_uses"],
            text("name")
        )
        .expect("a string takes all");
    }
    out
}
