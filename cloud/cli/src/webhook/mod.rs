//! `iottly webhook …`: manages a project's webhooks over the REST API.

mod portal;
mod show;

use clap::{Args, Subcommand};
use iottly_web::answers::{Replayed, WebhookTest};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::time_text::earlier;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates a webhook; prints its secret, which is not shown again
    Add(Box<AddOptions>),
    /// Changes settings of a webhook, for messages from now on; the others keep their values
    Set(Box<SetOptions>),
    /// Switches a webhook on again and sends its waiting deliveries
    On(OneOptions),
    /// Switches a webhook off; messages that come meanwhile are skipped, and can be replayed
    Off(OneOptions),
    /// Lists the webhooks and their state
    List(ListOptions),
    /// Sends a test message; exit code 1 unless the receiver answers 2xx
    Test(OneOptions),
    /// Shows delivery attempts, newest first
    Log(LogOptions),
    /// Delivers a message again, or all that failed or were skipped since a time
    Replay(ReplayOptions),
    /// Makes a link that shows the deliveries of a webhook to people without a login, for a day
    Portal(portal::PortalOptions),
    /// Replaces the secret of a webhook; for a day requests are signed with both
    Rotate(OneOptions),
    /// Removes a webhook and its waiting deliveries
    Remove(OneOptions),
}

#[derive(Args)]
struct AddOptions {
    /// URL of the receiver
    address: String,
    #[command(flatten)]
    call: Call,
    /// Description for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Type of the messages: iottly (platform and agents), user (firmware) or all
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Send only messages of this channel
    #[arg(long)]
    channel: Option<String>,
    /// Send only messages that match: conditions such as `temp>30 door:open`, or a MongoDB filter as JSON
    #[arg(long)]
    filter: Option<String>,
    /// Send the payload in place of the whole message
    #[arg(long)]
    payload_only: bool,
    /// Send messages one at a time, in order
    #[arg(long)]
    ordered: bool,
    /// Header of the requests, "Name: value"; can be repeated five times
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
}

#[derive(Args)]
struct SetOptions {
    /// Id of the webhook
    id: String,
    #[command(flatten)]
    call: Call,
    /// URL of the receiver; a receiver at another host or port needs its headers in the same command
    #[arg(long = "address", value_name = "URL")]
    address: Option<String>,
    /// Description for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Type of the messages: iottly (platform and agents), user (firmware) or all
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Send only messages of this channel; `*` for all
    #[arg(long)]
    channel: Option<String>,
    /// Send only messages that match: conditions such as `temp>30 door:open`, or a MongoDB filter as JSON; '' for all
    #[arg(long)]
    filter: Option<String>,
    /// Send the payload in place of the whole message
    #[arg(long, value_name = "YES")]
    payload_only: Option<bool>,
    /// Send messages one at a time, in order
    #[arg(long, value_name = "YES")]
    ordered: Option<bool>,
    /// Header of the requests, "Name: value"; can be repeated five times. The given ones replace all
    #[arg(long = "header", value_name = "HEADER", conflicts_with = "no_headers")]
    headers: Vec<String>,
    /// Remove all headers
    #[arg(long)]
    no_headers: bool,
}

#[derive(Args)]
struct ListOptions {
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
struct OneOptions {
    /// Id of the webhook
    id: String,
    #[command(flatten)]
    call: Call,
}

#[derive(Args)]
struct LogOptions {
    /// Id of the webhook
    id: String,
    #[command(flatten)]
    call: Call,
    /// Largest number of attempts
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false)]
struct ReplayWhich {
    /// Id of a message to deliver again
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Deliver again all that failed or were skipped since this time: a time such as 2026-11-27T18:00:00Z or 2026-11-27, or
    /// before now such as 90m, 2h or 1d
    #[arg(long, value_name = "TIME", value_parser = earlier)]
    failed_since: Option<i64>,
}

#[derive(Args)]
struct ReplayOptions {
    /// Id of the webhook
    id: String,
    #[command(flatten)]
    which: ReplayWhich,
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Add(options) => {
            let made = options.call.api()?.post("/webhooks", &settings(options)?)?;
            options.call.print_as(&made, show::secret)
        }
        Command::Set(options) => set(options),
        Command::On(options) => switch(options, true),
        Command::Off(options) => switch(options, false),
        Command::List(options) => options.call.print_table(
            "webhooks",
            &options.call.api()?.get("/webhooks")?,
            &["ID", "STATE", "URL", "GETS", "MESSAGES"],
            show::row,
        ),
        Command::Test(options) => test(options),
        Command::Log(options) => {
            let path = format!("{}/log?numEntries={}", path(&options.id), options.limit);
            options
                .call
                .print_lines("attempts", &options.call.api()?.get(&path)?, show::attempt)
        }
        Command::Replay(options) => {
            let body = match (&options.which.message, options.which.failed_since) {
                (Some(message), _) => json!({"message": message}),
                (None, since) => json!({"failed_since": since}),
            };
            let answer = options
                .call
                .api()?
                .post(&format!("{}/replay", path(&options.id)), &body)?;
            options.call.print_as(&answer, |answer: &Replayed| {
                format!("{} deliveries queued again\n", answer.replayed)
            })
        }
        Command::Portal(options) => portal::run(options),
        Command::Rotate(options) => {
            let answer = options
                .call
                .api()?
                .post(&format!("{}/secret/rotate", path(&options.id)), &json!({}))?;
            options.call.print_as(&answer, show::secret)
        }
        Command::Remove(options) => {
            let answer = options.call.api()?.delete(&path(&options.id))?;
            options.call.print(&answer, |_| "removed\n".to_owned())
        }
    }
}

/// Changes the given settings of a webhook.
fn set(options: &SetOptions) -> Result<(), Failure> {
    let mut settings = Map::new();
    let texts = [
        ("url", &options.address),
        ("description", &options.description),
        ("type", &options.kind),
        ("channel", &options.channel),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            settings.insert(name.to_owned(), json!(value));
        }
    }
    for (name, value) in [
        ("payload_only", options.payload_only),
        ("ordered", options.ordered),
    ] {
        if let Some(value) = value {
            settings.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(filter) = &options.filter {
        let filter = Some(filter).filter(|filter| !filter.trim().is_empty());
        settings.insert("filter".to_owned(), json!(filter));
    }
    if options.no_headers || !options.headers.is_empty() {
        settings.insert("headers".to_owned(), headers(&options.headers)?.into());
    }
    if settings.is_empty() {
        return Err(Failure::Invalid(
            "nothing is to be changed; `iottly webhook set --help` lists the settings".to_owned(),
        ));
    }
    change(&options.call, &options.id, &settings.into())
}

fn switch(options: &OneOptions, enabled: bool) -> Result<(), Failure> {
    change(&options.call, &options.id, &json!({ "enabled": enabled }))
}

/// Sends a change of a webhook, and prints the webhook after it.
fn change(call: &Call, id: &str, body: &Value) -> Result<(), Failure> {
    let answer = call
        .api()?
        .put(&path(id), "application/json", body.to_string().as_bytes())?;
    call.print_as(&answer, show::whole)
}

fn test(options: &OneOptions) -> Result<(), Failure> {
    let answer = options
        .call
        .api()?
        .post(&format!("{}/test", path(&options.id)), &json!({}))?;
    options
        .call
        .print_as(&answer, |answer: &WebhookTest| show::attempt(&answer.attempt))?;
    let failed = || Failure::Failed(anyhow::anyhow!("the receiver did not accept the test message"));
    if answer["delivered"] == true {
        Ok(())
    } else {
        Err(failed())
    }
}

/// Returns the path of a webhook.
fn path(id: &str) -> String {
    format!("/webhooks/{}", escaped(id))
}

fn settings(options: &AddOptions) -> Result<Value, Failure> {
    let mut settings = Map::new();
    settings.insert("url".to_owned(), json!(options.address));
    for (name, value) in [
        ("description", &options.description),
        ("type", &options.kind),
        ("channel", &options.channel),
    ] {
        if let Some(value) = value {
            settings.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(filter) = &options.filter {
        settings.insert("filter".to_owned(), json!(filter));
    }
    settings.insert("payload_only".to_owned(), json!(options.payload_only));
    settings.insert("ordered".to_owned(), json!(options.ordered));
    settings.insert("headers".to_owned(), headers(&options.headers)?.into());
    Ok(settings.into())
}

/// Returns headers of the form "Name: value" by their names.
fn headers(given: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut headers = Map::new();
    for header in given {
        let invalid = || Failure::Invalid(format!("header {header:?} is not of the form \"Name: value\""));
        let (name, value) = header.split_once(':').ok_or_else(invalid)?;
        headers.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(headers)
}
