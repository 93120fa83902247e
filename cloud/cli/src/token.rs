//! `iottly token …`: manages a project's tokens over the REST API.

use clap::{Args, Subcommand};
use iottly_web::answers::{CreatedToken, TokenDto};
use serde_json::json;

use crate::call::Call;
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
    /// Expiry: a time such as 2026-12-24T18:00:00Z or 2026-12-24, or from now on such as 90m, 2h or 30d [default: that of
    /// the caller's token, if it has one]
    #[arg(long, value_name = "TIME", value_parser = later)]
    expires: Option<i64>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Create(options) => create(options),
        Command::List { call } => call.print_table(
            "tokens",
            &call.api()?.get("/tokens")?,
            &["ID", "BEGINS", "SCOPES", "GROUP", "EXPIRES", "NAME"],
            row,
        ),
        Command::Revoke { id, call } => {
            let answer = call.api()?.delete(&format!("/tokens/{}", escaped(id)))?;
            call.print(&answer, |_| "revoked\n".to_owned())
        }
    }
}

fn create(options: &CreateOptions) -> Result<(), Failure> {
    let api = options.call.api()?;
    let mut body = json!({"name": options.name, "scopes": options.scopes});
    if let Some(group) = &options.group {
        body["deployment_group"] = json!(api.group(group)?.id);
    }
    if let Some(expires) = options.expires {
        body["expires"] = json!(expires);
    }
    let made = api.post("/tokens", &body)?;
    options
        .call
        .print_as(&made, |made: &CreatedToken| format!("{}\n", made.token.expose()))
}

fn row(token: &TokenDto) -> Vec<String> {
    let scopes: Vec<_> = token.scopes.names().collect();
    vec![
        token.id.to_string(),
        format!("{}…", token.prefix),
        scopes.join(","),
        token
            .deployment_group
            .map_or_else(|| "-".to_owned(), |group| group.to_string()),
        at(token.expires),
        token.name.clone(),
    ]
}
