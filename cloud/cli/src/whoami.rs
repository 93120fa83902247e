//! `iottly whoami`: shows who acts, at which cloud, in which project, and what is allowed there.

use std::fmt::Write as _;

use clap::Args;
use iottly_web::answers::{LoginShown, WhoAmI};
use serde_json::json;

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::remote::Api;
use crate::table::plain;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let place = options.call.remote().place()?;
    let source = if place.is_saved { "login" } else { "token" };
    let (mut answer, text) = match options.call.api() {
        Ok(api) => {
            let answer = api.get("/whoami")?;
            let text = in_project(&place.url, source, &read(&answer)?);
            (answer, text)
        }
        // Several projects, and none is chosen: the login can still be shown.
        Err(Failure::Invalid(_)) if place.project.is_none() => {
            let answer = Api::root(options.call.remote(), &place)?.get("/login")?;
            let text = without_project(&place.url, source, &read(&answer)?);
            (answer, text)
        }
        Err(failure) => return Err(failure),
    };
    answer["url"] = json!(place.url);
    answer["credentials"] = json!(source);
    options.call.print(&answer, |_| text.clone())
}

fn in_project(url: &str, source: &str, who: &WhoAmI) -> String {
    let group = who
        .deployment_group
        .map_or_else(|| "any".to_owned(), |id| id.to_string());
    let mut out = format!("{} {}\n", who.kind, plain(&who.name));
    add(&mut out, "cloud", &cloud(url, source));
    add(
        &mut out,
        "project",
        &format!("{} {}", who.project, who.project_name),
    );
    add(&mut out, "group", &group);
    add(
        &mut out,
        "may",
        &who.scopes.names().collect::<Vec<_>>().join(", "),
    );
    add(
        &mut out,
        "expires",
        &who.expires.map_or_else(|| "never".to_owned(), at),
    );
    out
}

fn without_project(url: &str, source: &str, who: &LoginShown) -> String {
    let who = &who.about;
    let mut out = format!("{} {}\n", who.kind, plain(&who.name));
    add(&mut out, "cloud", &cloud(url, source));
    add(
        &mut out,
        "project",
        "none is chosen: `iottly project use NAME` chooses one",
    );
    add(
        &mut out,
        "may",
        &who.scopes.names().collect::<Vec<_>>().join(", "),
    );
    add(
        &mut out,
        "expires",
        &who.expires.map_or_else(|| "never".to_owned(), at),
    );
    out
}

fn cloud(url: &str, source: &str) -> String {
    match source {
        "login" => format!("{url}, by `iottly login`"),
        _ => url.to_owned(),
    }
}

fn add(out: &mut String, name: &str, value: &str) {
    writeln!(out, "{name} {}", plain(value)).expect("a string takes all");
}
