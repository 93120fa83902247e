//! `iottly token …`: manages a project's tokens over the REST API.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates a token and prints it; it is not shown again
    Create(CreateOptions),
    /// Lists the tokens, without their texts
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Revokes a token and ends all logins that were made with it
    Revoke {
        /// Id of the token
        id: String,
        #[command(flatten)]
        call: Call,
    },
}

#[derive(Args)]
struct CreateOptions {
    #[command(flatten)]
    call: Call,
    /// Name of the token
    #[arg(long)]
    name: String,
    /// Permission: read, write, command, deploy, admin or operator; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// Deployment group, by name or id, to whose devices the token is bound [default: the whole project]
    #[arg(long)]
    group: Option<String>,
    /// Expiry, in unix milliseconds [default: that of the caller's token, if it has one]
    #[arg(long, value_name = "MS")]
    expires: Option<i64>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Create(options) => create(options),
        Command::List { call } => call.print_list("tokens", &call.api().get("/tokens")?, list),
        Command::Revoke { id, call } => {
            let answer = call.api().delete(&format!("/tokens/{}", escaped(id)))?;
            call.print(&answer, |_| "revoked\n".to_owned())
        }
    }
}

fn create(options: &CreateOptions) -> Result<(), Failure> {
    let api = options.call.api();
    let mut body = json!({"name": options.name, "scopes": options.scopes});
    if let Some(group) = &options.group {
        body["deployment_group"] = json!(api.group(group)?.id);
    }
    if let Some(expires) = options.expires {
        body["expires"] = json!(expires);
    }
    let made = api.post("/tokens", &body)?;
    options.call.print(&made, |made| {
        format!("{}\n", made["token"].as_str().unwrap_or_default())
    })
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for token in answer["tokens"].as_array().into_iter().flatten() {
        let text = |name: &str| token[name].as_str().unwrap_or_default();
        let scopes = token["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<_> = scopes.filter_map(Value::as_str).collect();
        let bound = match token["deployment_group"].as_str() {
            Some(group) => format!("  group {group}"),
            None => String::new(),
        };
        writeln!(
            out,
            "{}  {}…  {}  {}{bound}",
            text("id"),
            text("prefix"),
            scopes.join(","),
            text("name")
        )
        .expect("a string takes all");
    }
    out
}
