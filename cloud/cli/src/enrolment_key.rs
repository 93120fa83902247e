//! `iottly enrolment-key …`: manages a project's enrolment keys over the REST API.

use clap::{Args, Subcommand};
use iottly_protocol::Secret;
use iottly_web::answers::{CreatedEnrolmentKey, EnrolmentKeyDto, EnrolmentKeyList};
use serde_json::{Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::device;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::time_text::{at, later};

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
    /// Expiry: a time such as 2026-12-24T18:00:00Z or 2026-12-24, or from now on such as 90m, 2h or 30d [default: none]
    #[arg(long, value_name = "TIME", value_parser = later)]
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
    let made = api.post("/enrolmentkeys", &body)?;
    print(&options.call, made, options.address.as_deref())
}

/// Prints a new key: the string for the boards, or the cloud's answer with the address of this string.
fn print(call: &Call, mut made: Value, address: Option<&str>) -> Result<(), Failure> {
    let created: CreatedEnrolmentKey = read(&made)?;
    let url = device::url(created.url.as_ref().map(Secret::expose), address)?;
    made["url"] = json!(url);
    call.print(&made, |_| format!("{url}\n"))
}

fn row(key: &EnrolmentKeyDto) -> Vec<String> {
    vec![
        key.id.to_string(),
        format!("{}…", key.prefix),
        format!("{} of {}", key.uses, key.max_uses),
        at(key.expires),
        key.name.clone(),
    ]
}

/// Creates the successor first: when the deletion fails, boards can still enrol.
fn rotate(id: &str, address: Option<&str>, call: &Call) -> Result<(), Failure> {
    let api = call.api()?;
    let keys: EnrolmentKeyList = read(&api.get("/enrolmentkeys")?)?;
    let mut known = keys.enrolment_keys.into_iter();
    let old = known.find(|key| key.id.to_string() == id).ok_or_else(|| {
        Failure::NotFound(format!(
            "enrolment key {id:?} does not exist; `iottly enrolment-key list` shows all"
        ))
    })?;
    let left = old.max_uses.saturating_sub(old.uses);
    if left == 0 {
        return Err(Failure::Invalid(
            "the key has no uses left; create one with `iottly enrolment-key create`".to_owned(),
        ));
    }
    let mut body = json!({"name": old.name, "max_uses": left, "tags": old.tags, "waiting": old.waiting});
    if let Some(group) = old.deployment_group {
        body["deployment_group"] = json!(group);
    }
    if let Some(hours) = old.ephemeral_hours {
        body["ephemeral_hours"] = json!(hours);
    }
    if let Some(expires) = old.expires {
        body["expires"] = json!(expires.at());
    }
    let made = api.post("/enrolmentkeys", &body)?;
    api.delete(&format!("/enrolmentkeys/{}", escaped(id)))?;
    print(call, made, address)
}
