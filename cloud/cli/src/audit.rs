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
    options
        .call
        .print_list("entries", &options.call.api().get(&path)?, list)
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        writeln!(
            out,
            "{}  {}  {}  {}  {}  {}  {}",
            entry["number"],
            time(&entry["at"]),
            text("actor"),
            entry["address"].as_str().unwrap_or("-"),
            text("action"),
            text("target"),
            text("detail")
        )
        .expect("a string takes all");
    }
    out
}
