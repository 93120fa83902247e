//! `iottly audit`: shows entries of a project's audit log.

use std::fmt::Write as _;

use anyhow::Context;
use clap::Args;
use iottly_web::answers::AuditEntryDto;

use crate::call::Call;
use crate::exit::Failure;
use crate::remote::escaped;
use crate::say::say;
use crate::time_text::at;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    call: Call,
    /// Maximum number of entries, the newest first; 500 at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Show entries before this number only
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// Conditions such as `who:anne action:device.* at>2026-11-26`, or a filter as JSON
    #[arg(long, value_name = "CONDITIONS")]
    filter: Option<String>,
    /// Write all entries as lines of JSON, the newest first
    #[arg(long, conflicts_with_all = ["limit", "before", "output"])]
    export: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let filter = options.filter.as_deref().map(escaped);
    if options.export {
        let path = format!("/auditlog/export?filter={}", filter.unwrap_or_default());
        let mut body = options.call.api()?.download(&path)?;
        std::io::copy(&mut body, &mut std::io::stdout().lock())
            .context("the export is incomplete: the cloud or the network ended it")?;
        return Ok(());
    }
    let mut path = format!("/auditlog?numEntries={}", options.limit);
    if let Some(before) = options.before {
        write!(path, "&before={before}").expect("a string takes all");
    }
    if let Some(filter) = filter {
        write!(path, "&filter={filter}").expect("a string takes all");
    }
    let answer = options.call.api()?.get(&path)?;
    let head = ["NUMBER", "AT", "WHO", "ADDRESS", "ACTION", "TARGET", "DETAIL"];
    options.call.print_table("entries", &answer, &head, row)?;
    if let Some(next) = answer["next"].as_u64().filter(|_| options.call.is_table()) {
        say(&format!("older entries: --before {next}"));
    }
    Ok(())
}

fn row(entry: &AuditEntryDto) -> Vec<String> {
    vec![
        entry.number.to_string(),
        at(entry.at),
        entry.actor.clone(),
        entry
            .address
            .map_or_else(|| "-".to_owned(), |address| address.to_string()),
        entry.action.clone(),
        entry.target.clone(),
        entry.detail.clone(),
    ]
}
