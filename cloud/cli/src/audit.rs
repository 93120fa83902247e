//! `iottly audit`: shows the newest entries of a project's audit log.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::call::Call;
use crate::exit::Failure;
use crate::time_text::time;

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
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut path = format!("/auditlog?numEntries={}", options.limit);
    if let Some(before) = options.before {
        write!(path, "&before={before}").expect("a string takes all");
    }
    let answer = options.call.api()?.get(&path)?;
    let head = ["NUMBER", "AT", "WHO", "ADDRESS", "ACTION", "TARGET", "DETAIL"];
    options.call.print_table("entries", &answer, &head, row)
}

fn row(entry: &Value) -> Vec<String> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    vec![
        entry["number"].to_string(),
        time(&entry["at"]),
        text("actor"),
        entry["address"].as_str().unwrap_or("-").to_owned(),
        text("action"),
        text("target"),
        text("detail"),
    ]
}
