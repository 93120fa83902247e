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
    Text,
    Json,
}

impl Call {
    /// Returns a client of the cloud.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.remote)
    }

    /// Prints the cloud's answer, as `text` renders it unless the output is JSON.
    pub(crate) fn print(&self, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), Failure> {
        let text = match self.output {
            Output::Json => format!("{answer}\n"),
            Output::Text => text(answer),
        };
        let mut out = std::io::stdout().lock();
        Ok(out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write to standard output")?)
    }
}
