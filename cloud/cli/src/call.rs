//! Options and output of the commands that make one call of the REST API: readable text, or the cloud's
//! answer as it is.

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::remote::{Api, Remote};

/// Address of the cloud, credentials, and format of the output.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    remote: Remote,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Readable text
    Text,
    /// The cloud's answer as one JSON object
    Json,
    /// One JSON value a line: each entry of a list
    Jsonl,
}

impl Call {
    /// Returns a client of the cloud.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.remote)
    }

    /// Prints the cloud's answer, as `text` renders it unless the output is JSON.
    pub(crate) fn print(&self, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), Failure> {
        write(&match self.output {
            Output::Json => format!("{answer}\n"),
            Output::Jsonl => lines(answer),
            Output::Text => text(answer),
        })
    }

    /// Prints entries as a list of the API under `name`, one a line, as `text` renders each unless the output is JSON.
    pub(crate) fn print_list(
        &self,
        name: &str,
        entries: Vec<Value>,
        text: impl Fn(&Value) -> String,
    ) -> Result<(), Failure> {
        self.print(&json!({name: entries}), |answer| {
            let entries = answer[name].as_array().into_iter().flatten();
            entries.map(|entry| text(entry) + "\n").collect()
        })
    }
}

/// Returns the entries of the only list of an answer, each in a line; an answer without a list, or with several, in one
/// line.
fn lines(answer: &Value) -> String {
    let fields = answer.as_object().into_iter().flatten();
    let lists: Vec<&Vec<Value>> = fields.filter_map(|(_, value)| value.as_array()).collect();
    match lists[..] {
        [entries] => entries.iter().map(|entry| format!("{entry}\n")).collect(),
        _ => format!("{answer}\n"),
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_entry_a_line() {
        assert_eq!(
            lines(&json!({"devices": [{"ID": 1}, {"ID": 2}], "status": 200})),
            "{\"ID\":1}\n{\"ID\":2}\n"
        );
        assert_eq!(lines(&json!({"status": 200})), "{\"status\":200}\n");
        assert_eq!(lines(&json!({"devices": []})), "");
    }
}
