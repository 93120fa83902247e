//! `iottly signing-key …`: the keys that sign a project's releases in the cloud, over the REST API.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use iottly_web::answers::{KeyDto, KeyList, ProposedRoot, PublishedRootDto, RoleKeyDto};
use serde_json::{Value, json};

use crate::answer::read;
use crate::call::Call;
use crate::exit::Failure;
use crate::table::Table;
use crate::terminal::Screen;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the keys, and the devices that do not trust them yet
    List {
        #[command(flatten)]
        call: Call,
    },
    /// Replaces the keys of a role by new ones
    Rotate {
        /// Role of the keys: root, targets, snapshot, timestamp, directive or developer
        role: String,
        #[command(flatten)]
        call: Call,
    },
    /// Revokes a key: devices refuse what it signs
    Revoke {
        /// Id of the key
        key: String,
        #[command(flatten)]
        call: Call,
    },
    /// Prints the next root without signatures, with a new key for a role: for `iottly key sign` where the root's keys are
    Propose {
        /// Role of the new key: targets, snapshot, timestamp, directive or developer
        role: String,
        #[command(flatten)]
        call: Call,
    },
    /// Publishes a root that `iottly key sign` or `iottly key rotate` has signed
    Publish {
        /// File of the signed root
        file: PathBuf,
        #[command(flatten)]
        call: Call,
    },
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::List { call } => list(call),
        Command::Rotate { role, call } => {
            let answer = call.api()?.post("/keys/rotate", &json!({"role": role}))?;
            call.print_as(&answer, published)
        }
        Command::Revoke { key, call } => {
            let answer = call.api()?.post("/keys/revoke", &json!({"key": key}))?;
            call.print_as(&answer, published)
        }
        Command::Propose { role, call } => {
            let answer = call.api()?.post("/keys/propose", &json!({"role": role}))?;
            let proposed: ProposedRoot = read(&answer)?;
            let text = serde_json::to_string(&proposed.root).context("the root is not JSON")?;
            call.print(&answer, |_| format!("{text}\n"))
        }
        Command::Publish { file, call } => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let document: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
            let answer = call.api()?.post("/keys/publish", &document)?;
            call.print_as(&answer, published)
        }
    }
}

/// Prints the keys of the project.
pub(crate) fn list(call: &Call) -> Result<(), Failure> {
    let answer = call.api()?.get("/keys")?;
    call.print_as(&answer, |answer: &KeyList| {
        let mut table = Table::new(&["KEY", "ROLES", "SINCE", "UNTIL", "RELEASES", "BY"]);
        for key in answer.root.keys.iter().chain(&answer.former) {
            table.add(row(key));
        }
        let mut text = table.render(Screen::of_stdout());
        text += &format!(
            "root {}, valid until {}; devices not trusting it yet: {}\n",
            answer.root.version, answer.root.expires, answer.behind
        );
        if !answer.signs_roots {
            text += "the keys of root are not in the cloud\n";
        }
        text
    })
}

fn row(key: &KeyDto) -> Vec<String> {
    vec![
        key.key.clone(),
        key.roles.join(","),
        at(Some(key.since.at)),
        at(key.until.as_ref().map(|until| until.at)),
        key.releases.map(|count| count.to_string()).unwrap_or_default(),
        key.since.by.clone().unwrap_or_default(),
    ]
}

fn published(root: &PublishedRootDto) -> String {
    let list = |keys: &[RoleKeyDto]| {
        let one = |key: &RoleKeyDto| format!("{} {}", key.role, key.key);
        keys.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("published root {}\n", root.version);
    for (word, keys) in [("removed", &root.removed), ("added", &root.added)] {
        if !keys.is_empty() {
            text += &format!("{word} {}\n", list(keys));
        }
    }
    text + &format!("devices not trusting it yet: {}\n", root.behind)
}
