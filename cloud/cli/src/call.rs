//! Options and output of the commands that make one call of the REST API: readable text, or the cloud's
//! answer as it is.

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;

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
    /// Each entry of a list as one JSON object, in a line of its own
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
            Output::Json | Output::Jsonl => format!("{answer}\n"),
            Output::Text => text(answer),
        })
    }

    /// Prints an answer whose entries are the list under `name`, as `text` renders it unless the output is JSON.
    pub(crate) fn print_list(
        &self,
        name: &str,
        answer: &Value,
        text: impl Fn(&Value) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Jsonl => write(&lines(&answer[name])),
            Output::Json | Output::Text => self.print(answer, text),
        }
    }
}

/// Returns the entries of a list, each in a line.
fn lines(list: &Value) -> String {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| format!("{entry}\n")).collect()
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_entry_a_line() {
        assert_eq!(lines(&json!([{"ID": 1}, {"ID": 2}])), "{\"ID\":1}\n{\"ID\":2}\n");
        assert_eq!(lines(&json!([])), "");
    }
}
