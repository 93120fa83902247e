//! Summary of a queue, read from its files without opening it: an agent may be using it.

use std::path::Path;

use iottly_protocol::{GapReason, StreamClass, StreamId};

use super::disk::disk_bytes;
use super::{CLASSES, QueueError, dead_letter, head, index, quarantine, recover};

/// Summary of a queue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueSummary {
    /// Size on disk of everything in the queue's folder, in bytes.
    pub disk_bytes: u64,
    /// Number of quarantined parts.
    pub quarantined: usize,
    /// Streams, messages first.
    pub streams: Vec<StreamSummary>,
}

/// Summary of a stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamSummary {
    /// Class of the stream.
    pub class: StreamClass,
    /// Id of the stream.
    pub stream: StreamId,
    /// Number of unacknowledged numbers, including gaps.
    pub depth: u64,
    /// Lowest unacknowledged number; equals `next` if there is none.
    pub oldest: u64,
    /// Number of the next record.
    pub next: u64,
    /// Size on disk, in bytes.
    pub disk_bytes: u64,
    /// Number of segments on disk.
    pub segments: usize,
    /// Unacknowledged gaps.
    pub gaps: Vec<GapSummary>,
    /// Number of dead letters.
    pub dead_letters: usize,
}

/// Lost numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct GapSummary {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Number of lost numbers.
    pub count: u64,
    /// Reason of the loss.
    pub reason: GapReason,
}

/// Summarises the queue in folder `path`; `None` if there is no queue. Changes nothing.
///
/// # Errors
/// If the files cannot be read.
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
