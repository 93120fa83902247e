//! `iottly-agent queue`: report of the records that wait for the cloud.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use iottly_agent::outbox::{QueueSummary, summarise};

/// Describes the queue in a device's data folder; `None` if there is no queue. The agent may be running.
pub(crate) fn report(data: &Path, json: bool) -> anyhow::Result<Option<String>> {
    let Some(summary) = summarise(&data.join("queue"))? else {
        return Ok(None);
    };
    if json {
        return Ok(Some(
            serde_json::to_string(&summary).context("failed to encode the report")? + "\n",
        ));
    }
    text(&summary).context("failed to format the report").map(Some)
}

fn text(summary: &QueueSummary) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(
        out,
        "on disk: {} bytes, kept aside as unreadable: {}",
        summary.disk_bytes, summary.quarantined
    )?;
    for stream in &summary.streams {
        let class = format!("{:?}", stream.class).to_lowercase();
        writeln!(
            out,
            "{class} {}: {} waiting ({}..{}), {} bytes in {} segments, {} dead letters",
            stream.stream,
            stream.depth,
            stream.oldest,
            stream.next,
            stream.disk_bytes,
            stream.segments,
            stream.dead_letters
        )?;
        for gap in &stream.gaps {
            writeln!(
                out,
                "  gap {}..={}: {} lost, {}",
                gap.from,
                gap.to,
                gap.count,
                gap.reason.as_str()
            )?;
        }
    }
    Ok(out)
}
