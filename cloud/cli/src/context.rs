//! `iottly context …`: lists the clouds at which this machine is signed in, and chooses the one that commands use.

use clap::{Args, Subcommand};
use iottly_protocol::ProjectId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Format;
use crate::exit::Failure;
use crate::login::print;
use crate::saved_logins::Logins;
use crate::similar;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the clouds of this machine's logins, and the project that is chosen at each; asks no cloud
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Chooses the cloud that commands use without --url
    Use {
        /// Address of the cloud, or a part of it that only one has
        cloud: String,
    },
}

/// Login of this machine.
#[derive(Debug, Serialize, Deserialize)]
struct Context {
    /// Address of the cloud.
    url: String,
    /// Chosen project, if there is one.
    project: Option<ProjectId>,
    /// True for the cloud that commands use.
    current: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut logins = Logins::read()?;
    match &options.command {
        Command::List { format } => {
            let current = logins.current();
            let all: Vec<Context> = logins
                .all()
                .map(|(url, project)| Context {
                    url: url.to_owned(),
                    project,
                    current: current == Some(url),
                })
                .collect();
            if all.is_empty() && format.is_table() {
                return print("no login on this machine; `iottly login --url URL` makes one\n");
            }
            let answer = json!({ "contexts": all });
            format.print_table(
                "contexts",
                &answer,
                &["", "CLOUD", "PROJECT"],
                |context: &Context| {
                    vec![
                        if context.current { "*" } else { " " }.to_owned(),
                        context.url.clone(),
                        context
                            .project
                            .map_or_else(|| "-".to_owned(), |id| id.to_string()),
                    ]
                },
            )
        }
        Command::Use { cloud } => {
            let urls: Vec<String> = logins.all().map(|(url, _)| url.to_owned()).collect();
            let url = chosen(cloud.trim_end_matches('/'), &urls)?;
            logins.choose(&url);
            logins.write()?;
            print(&format!("cloud {url}\n"))
        }
    }
}

/// Returns the address that is meant.
fn chosen(wanted: &str, urls: &[String]) -> Result<String, Failure> {
    let mut found = urls.iter().filter(|url| *url == wanted);
    let mut parts = urls.iter().filter(|url| url.contains(wanted));
    match (found.next(), parts.next(), parts.next()) {
        (Some(url), ..) | (None, Some(url), None) => Ok(url.clone()),
        (None, Some(_), Some(_)) => Err(Failure::Invalid(format!(
            "several clouds can be meant by {wanted:?}; `iottly context list` shows them"
        ))),
        (None, None, _) => Err(Failure::NotFound(format!(
            "this machine has no login at {wanted:?}; {}, and `iottly login --url URL` makes one",
            similar::hint(wanted, urls, "iottly context list")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_named_by_a_part_that_only_one_has() {
        let urls = ["https://a.example", "https://a.example:8443", "http://b.example"].map(str::to_owned);
        let chosen = |wanted: &str| chosen(wanted, &urls).ok();
        assert_eq!(chosen("https://a.example").as_deref(), Some("https://a.example"));
        assert_eq!(chosen("b.ex").as_deref(), Some("http://b.example"));
        assert_eq!(chosen("8443").as_deref(), Some("https://a.example:8443"));
        assert_eq!(chosen("a.example"), None);
        assert_eq!(chosen("c.example"), None);
    }
}
