//! Arguments that commands over the REST API share, and the output of their answers.

use std::io::Write;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::exit::Failure;
use crate::remote::{Api, Remote};

/// Address of the cloud, credentials, and format of the output.
#[derive(Args)]
pub(crate) struct Asked {
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

impl Asked {
    /// Returns the API that is asked.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.remote)
    }

    /// Prints an answer as JSON, or as the text that `text` makes of it.
    pub(crate) fn print(&self, answer: &Value, text: impl Fn(&Value) -> String) -> Result<(), Failure> {
        let text = if self.output == Output::Json {
            format!("{answer}\n")
        } else {
            text(answer)
        };
        let mut out = std::io::stdout().lock();
        Ok(out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("cannot write to standard output")?)
    }
}
