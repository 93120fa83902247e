//! Reconciling head and segments when the queue is opened.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use iottly_protocol::{GapReason, StreamClass};

use super::chain::{Chain, Entry, Place, segment_name};
use super::disk::disk_bytes;
use super::frame::Meta;
use super::head::{Head, StreamHead};
use super::segment::Segment;
use super::sled_files::Fault;
use super::{CLASSES, OpenNote, QueueError, quarantine, removal};

/// Number of positions skipped when the head is lost: more than a segment can hold, so that no number is
/// assigned twice.
pub(super) const SKIP: u64 = 20_000;

/// Returns the segments of a class in the queue's folder, oldest first. Other files are ignored.
pub(super) fn segments(root: &Path, class: StreamClass) -> io::Result<VecDeque<Entry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = name
            .to_str()
            .and_then(|name| name.rsplit_once('-'))
            .and_then(|(_, first)| first.parse().ok());
        if let Some(first) =
            first.filter(|first| *first > 0 && name.to_str() == Some(&segment_name(class, *first)))
        {
            found.push(Entry {
                first,
                disk_bytes: disk_bytes(&entry.path()),
            });
        }
    }
    found.sort_by_key(|entry| entry.first);
    Ok(found.into())
}

/// Returns a head restored from the segments.
pub(super) fn head_from_segments(place: &Place, found: &[VecDeque<Entry>; 2]) -> Result<Head, QueueError> {
    let mut queue = None;
    let mut metas: [Option<Meta>; 2] = [None; 2];
    for (at, class) in CLASSES.into_iter().enumerate() {
        for entry in found[at].iter().rev() {
            let path = place.root.join(segment_name(class, entry.first));
            let meta = match Segment::open(&path, entry.first, &place.disk)
                .and_then(|segment| segment.meta(class))
            {
                Ok(meta) => meta,
                Err(Fault::Damaged(_)) => None,
                Err(fault) => return Err(place.fault(&path, fault)),
            };
            if let Some(meta) = meta.filter(|meta| *queue.get_or_insert(meta.queue) == meta.queue) {
                metas[at] = Some(meta);
                break;
            }
        }
    }
    let streams = [0, 1].map(|at| match metas[at] {
        None => StreamHead::fresh(),
        Some(meta) => {
            let acked = found[at]
                .front()
                .map_or(0, |entry| entry.first - 1)
                .max(meta.base);
            StreamHead {
                stream: meta.stream,
                base: meta.base,
                acked,
                next: acked + 1,
                ..StreamHead::fresh()
            }
        }
    });
    Ok(Head {
        queue: queue.unwrap_or(place.queue),
        age_ms: 0,
        streams,
    })
}

/// Compares the end of a chain with its head and records missing positions as lost. With `head_lost` the head
/// was restored from the segments.
pub(super) fn settle(
    chain: &mut Chain,
    place: &Place,
    head_lost: bool,
    notes: &mut Vec<OpenNote>,
) -> Result<(), QueueError> {
    let class = chain.class;
    let expected = chain.head.next;
    while let Some(entry) = chain.segments.back().copied() {
        let path = chain.path(place, entry.first);
        let mut is_copy = false;
        let opened = Segment::open(&path, entry.first, &place.disk)
            .or_else(|fault| match fault {
                // Opening a database writes, which fails on a full disk.
                Fault::System(error) => {
                    is_copy = true;
                    chain
                        .open_copy(place, entry.first, u64::MAX)
                        .map_err(|_| Fault::System(error))
                }
                damaged => Err(damaged),
            })
            .and_then(|mut segment| segment.settle(u64::MAX).map(|last| (segment, last)))
            .and_then(|(segment, last)| segment.meta(class).map(|meta| (segment, last, meta)));
        let reason = match opened {
            Ok((segment, last, Some(meta))) if meta.queue == place.queue && meta.first == entry.first => {
                chain.head.next = expected.max(last.map_or(entry.first, |last| last + 1));
                let from = last.map_or(entry.first, |last| last + 1);
                if from < expected && expected > entry.first {
                    chain.lose(from, expected - 1, GapReason::HeadMismatch);
                    notes.push(OpenNote::Lost {
                        class,
                        count: expected - from,
                    });
                }
                if is_copy {
                    chain.reader = Some(segment);
                } else {
                    chain.writer = Some(segment);
                }
                break;
            }
            // Nothing was committed to the segment, or the cloud has all of it: the rest of an interrupted
            // removal, not damage.
            Ok((segment, None, None))
                if entry.first >= expected || (chain.head.acked + 1 >= expected && !head_lost) =>
            {
                drop(segment);
                remove(place, &path)?;
                chain.segments.pop_back();
                continue;
            }
            Ok((_, _, Some(_))) => "the segment belongs to another queue".to_owned(),
            Ok(_) => "the segment's description is lost".to_owned(),
            Err(Fault::Damaged(reason)) => reason,
            Err(fault) => return Err(place.fault(&path, fault)),
        };
        let moved_to =
            quarantine::move_in(&place.root, &path, &*place.disk).map_err(|e| place.io(&path, e))?;
        notes.push(OpenNote::Quarantined { moved_to, reason });
        chain.segments.pop_back();
        if entry.first < expected {
            chain.lose(entry.first, expected - 1, GapReason::Corruption);
        }
    }
    if head_lost && (chain.head.next > 1 || !chain.segments.is_empty()) {
        // The end of the stream is unknown: skip numbers, so that none is assigned twice.
        let from = chain.head.next;
        chain.head.next += SKIP;
        chain.lose(from, chain.head.next - 1, GapReason::HeadMismatch);
    }
    chain.head.acked = chain.head.acked.min(chain.head.next - 1);
    Ok(())
}

fn remove(place: &Place, path: &Path) -> Result<(), QueueError> {
    let gone = removal::begin(&place.root, path, &*place.disk).map_err(|e| place.io(path, e))?;
    place.disk.remove_folder(&gone).map_err(|e| place.io(&gone, e))
}
