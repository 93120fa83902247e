//! `iottly enrolment-key …`: manages a project's enrolment keys over the REST API.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::call::Call;
use crate::device;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::time_text::time;

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
    /// Replaces a key by one with the same settings and the uses that are left, and deletes the old one
    Rotate {
        /// Id of the key
        id: String,
        /// Address under which the boards reach the cloud, if it is not the one of --url
        #[arg(long, value_name = "HOST[:PORT]")]
        address: Option<String>,
        #[command(flatten)]
        call: Call,
    },
    /// Revokes a key; the devices that were created with it stay
    #[command(visible_alias = "revoke")]
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
        Command::List { call } => {
            let head = ["ID", "BEGINS", "DEVICES", "EXPIRES", "NAME"];
            call.print_table("enrolment_keys", &call.api()?.get("/enrolmentkeys")?, &head, row)
        }
        Command::Rotate { id, address, call } => rotate(id, address.as_deref(), call),
        Command::Delete { id, call } => {
            let answer = call.api()?.delete(&format!("/enrolmentkeys/{}", escaped(id)))?;
            call.print(&answer, |_| "deleted\n".to_owned())
        }
    }
}

fn create(options: &CreateOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
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
    made["url"] = json!(device::url(made["url"].as_str(), options.address.as_deref())?);
    options.call.print(&made, |made| {
        format!("{}\n", made["url"].as_str().unwrap_or_default())
    })
}

fn row(key: &Value) -> Vec<String> {
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    vec![
        text("id"),
        format!("{}…", text("prefix")),
        format!("{} of {}", key["uses"], key["max_uses"]),
        time(&key["expires"]),
        text("name"),
    ]
}

/// Creates the successor first: when the deletion fails, boards can still enrol.
fn rotate(id: &str, address: Option<&str>, call: &Call) -> Result<(), Failure> {
    let api = call.api()?;
    let keys = api.get("/enrolmentkeys")?;
    let mut known = keys["enrolment_keys"].as_array().into_iter().flatten();
    let old = known.find(|key| key["id"] == id).ok_or_else(|| {
        Failure::NotFound(format!(
            "enrolment key {id:?} does not exist; `iottly enrolment-key list` shows all"
        ))
    })?;
    let left = old["max_uses"].as_u64().unwrap_or_default();
    let left = left.saturating_sub(old["uses"].as_u64().unwrap_or_default());
    if left == 0 {
        return Err(Failure::Invalid(
            "the key has no uses left; create one with `iottly enrolment-key create`".to_owned(),
        ));
    }
    let mut body = json!({"name": old["name"], "max_uses": left});
    for field in ["tags", "deployment_group", "ephemeral_hours", "waiting"] {
        if !old[field].is_null() {
            body[field] = old[field].clone();
        }
    }
    if let Some(expires) = old["expires"]["$date"].as_i64() {
        body["expires"] = json!(expires);
    }
    let mut made = api.post("/enrolmentkeys", &body)?;
    api.delete(&format!("/enrolmentkeys/{}", escaped(id)))?;
    made["url"] = json!(device::url(made["url"].as_str(), address)?);
    call.print(&made, |made| {
        format!("{}\n", made["url"].as_str().unwrap_or_default())
    })
}
