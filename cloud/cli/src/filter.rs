//! `iottly filter`: the history's filter language on a stream of documents.

use std::io::{BufRead, Write};

use clap::Args;
use iottly_core::short_form::DOCUMENTS;
use iottly_filter::{Budget, Document, Filter};

use crate::exit::Failure;
use crate::run::BYTE_ORDER_MARK;

#[derive(Args)]
pub(crate) struct Options {
    /// Conditions such as `temp>30 door:open`, or a MongoDB filter as JSON, as in the API's `queryJson`
    query: String,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let query = DOCUMENTS
        .translate(&options.query)
        .map_err(|error| Failure::Invalid(error.to_string()))?;
    let filter = Filter::parse(&query).map_err(|error| Failure::Invalid(error.to_string()))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(anyhow::Error::from)?;
        // Windows editors and shells begin a file with a byte order mark.
        let line = if index == 0 {
            line.trim_start_matches(BYTE_ORDER_MARK)
        } else {
            line.as_str()
        };
        if line.trim().is_empty() {
            continue;
        }
        let document = Document::parse(line)
            .map_err(|error| Failure::Invalid(format!("line {}: {error}", index + 1)))?;
        // Filter, documents and processor time are the user's own.
        if filter
            .matches(&document, &mut Budget::unlimited())
            .map_err(anyhow::Error::from)?
        {
            writeln!(out, "{line}").map_err(anyhow::Error::from)?;
        }
    }
    out.flush().map_err(anyhow::Error::from)?;
    Ok(())
}
