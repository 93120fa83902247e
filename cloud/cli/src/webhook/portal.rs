//! `iottly webhook portal`: links that show the deliveries of a webhook to people without a login.

use clap::Args;
use iottly_web::answers::{OpenedPortal, PortalDto};
use serde_json::json;

use super::path;
use crate::answer::list;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::say::say;
use crate::table::plain;
use crate::time_text::at;

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
        let answer = api.get(&path)?;
        if list(&answer, "portals")?.is_empty() {
            say("no link is open");
        }
        return options.call.print_lines("portals", &answer, line);
    }
    if let Some(portal) = &options.close {
        let answer = api.delete(&format!("{path}/{}", escaped(portal)))?;
        return options.call.print(&answer, |_| "closed\n".to_owned());
    }
    let made = api.post(&path, &json!({}))?;
    let cloud = api.cloud().to_owned();
    options.call.print_as(&made, |made: &OpenedPortal| {
        format!(
            "{cloud}{}\nopen until {}, for everyone who has the link; it is not shown again\nclose it with --close {}\n",
            made.path,
            at(made.portal.expires),
            made.portal.id
        )
    })
}

fn line(portal: &PortalDto) -> String {
    format!(
        "{}  until {}  by {}  last use {}\n",
        portal.id,
        at(portal.expires),
        plain(&portal.author),
        at(portal.used)
    )
}
