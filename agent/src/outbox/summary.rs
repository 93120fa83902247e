//! What a queue holds, read from its files without opening it: an agent may be using it.

use std::path::Path;

use iottly_protocol::{GapReason, StreamClass, StreamId};

use super::disk::disk_bytes;
use super::{CLASSES, QueueError, dead_letter, head, index, quarantine, recover};

/// What a queue holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueSummary {
    /// Bytes on disk of everything in the queue's folder.
    pub disk_bytes: u64,
    /// Parts that could not be read and are kept aside.
    pub quarantined: usize,
    /// The streams, messages first.
    pub streams: Vec<StreamSummary>,
}

/// What a queue holds of one stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamSummary {
    /// What it carries.
    pub class: StreamClass,
    /// Its id.
    pub stream: StreamId,
    /// Numbers that the cloud has not acknowledged, gaps included.
    pub depth: u64,
    /// Lowest of them; equals `next` when there is none.
    pub oldest: u64,
    /// The number that the next record gets.
    pub next: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Databases on disk.
    pub segments: usize,
    /// What is lost of it and not yet acknowledged.
    pub gaps: Vec<GapSummary>,
    /// Records that the cloud refused and that are kept aside.
    pub dead_letters: usize,
}

/// Numbers that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct GapSummary {
    /// First of them.
    pub from: u64,
    /// Last of them.
    pub to: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
}

/// Reads what the queue in folder `path` holds; none when there is no queue. Changes nothing.
///
/// # Errors
/// When its files cannot be read.
pub fn summarise(path: &Path) -> Result<Option<QueueSummary>, QueueError> {
    let fail = |reason| QueueError::Io {
        path: path.display().to_string(),
        reason,
    };
    let Some(head) = head::read(path).map_err(fail)? else {
        return Ok(None);
    };
    let letters = dead_letter::read(path).map_err(fail)?;
    let mut streams = Vec::new();
    for class in CLASSES {
        let stream = &head.streams[index(class)];
        let segments = recover::segments(path, class).map_err(fail)?;
        let number = |position: u64| position - stream.base;
        let gaps = stream.gaps.spans().iter().map(|span| GapSummary {
            from: number(span.from),
            to: number(span.to),
            count: span.to - span.from + 1,
            reason: span.reason,
        });
        streams.push(StreamSummary {
            class,
            stream: stream.stream,
            depth: stream.next - stream.acked - 1,
            oldest: number(stream.acked + 1),
            next: number(stream.next),
            disk_bytes: segments.iter().map(|segment| segment.disk_bytes).sum(),
            segments: segments.len(),
            gaps: gaps.collect(),
            dead_letters: letters.iter().filter(|letter| letter.class == class).count(),
        });
    }
    let quarantined =
        std::fs::read_dir(path.join(quarantine::FOLDER)).map_or(0, |entries| entries.flatten().count());
    Ok(Some(QueueSummary {
        disk_bytes: disk_bytes(path),
        quarantined,
        streams,
    }))
}
