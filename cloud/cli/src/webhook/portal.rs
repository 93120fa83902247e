//! `iottly webhook portal`: links that show the deliveries of a webhook to people without a login.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::path;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::time_text::time;

#[derive(Args)]
pub(super) struct PortalOptions {
    /// Id of the webhook
    id: String,
    #[command(flatten)]
    call: Call,
    /// List the open links and make none
    #[arg(long, conflicts_with = "close")]
    list: bool,
    /// Close the link with this id
    #[arg(long, value_name = "PORTAL")]
    close: Option<String>,
}

pub(super) fn run(options: &PortalOptions) -> Result<(), Failure> {
    let (api, path) = (options.call.api()?, format!("{}/portals", path(&options.id)));
    if options.list {
        return options.call.print_list("portals", &api.get(&path)?, list);
    }
    if let Some(portal) = &options.close {
        let answer = api.delete(&format!("{path}/{}", escaped(portal)))?;
        return options.call.print(&answer, |_| "closed\n".to_owned());
    }
    let made = api.post(&path, &json!({}))?;
    let cloud = api.cloud().to_owned();
    options.call.print(&made, |made| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{cloud}{}\nopen until {}, for everyone who has the link; it is not shown again\nclose it with --close {}\n",
            text(&made["path"]),
            time(&made["portal"]["expires"]),
            text(&made["portal"]["id"])
        )
    })
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for portal in answer["portals"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{}  until {}  by {}  last use {}",
            portal["id"].as_str().unwrap_or_default(),
            time(&portal["expires"]),
            portal["author"].as_str().unwrap_or_default(),
            time(&portal["used"])
        )
        .expect("a string takes all");
    }
    if out.is_empty() {
        out += "no link is open\n";
    }
    out
}
