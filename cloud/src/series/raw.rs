//! Single values of one device, read from its history.

use iottly_protocol::{MessageKind, ProjectId};

use super::{PlotError, PlotRequest, SeriesService};
use iottly_core::model::{Cursor, Scope};
use iottly_core::series::{Bucket, GAP_COUNT, Line, Rollup, Split, extract, made_at};
use iottly_store::ScanBounds;

/// Maximum number of entries that are read for a line.
const MAX_ENTRIES: usize = 10_000;
/// Maximum number and size of the entries that are read at once.
const PART: (usize, u64) = (500, 4 << 20);

/// Returns the line of the values of one device; none if the selection is not one device by its id, or if there are too
/// many entries or no values.
pub(super) async fn line(
    service: &SeriesService,
    project: ProjectId,
    request: &PlotRequest,
) -> Result<Option<Line>, PlotError> {
    let ([device], []) = (&request.selection.devices[..], &request.selection.groups[..]) else {
        return Ok(None);
    };
    let scope = Scope {
        project,
        device: *device,
    };
    let mut bounds = ScanBounds {
        from: Some(request.range.from),
        ..ScanBounds::default()
    };
    let (mut turn, mut entries) = (None, 0);
    let (mut values, mut missing) = (Vec::new(), Vec::new());
    loop {
        let part = service
            .reader
            .part(service.store.as_ref(), scope, bounds, PART, &mut turn)
            .await?;
        for message in &part.messages {
            entries += 1;
            let at = made_at(message.device_timestamp, message.timestamp);
            if message.kind == MessageKind::IottlyAgent {
                extract(message.payload.get(), |path, count| {
                    if path == GAP_COUNT && count >= 1.0 && message.timestamp < request.range.to {
                        missing.push((message.timestamp, count as u64));
                    }
                });
                continue;
            }
            if at < request.range.from || at >= request.range.to {
                continue;
            }
            extract(message.payload.get(), |path, value| {
                if path == request.path {
                    values.push((at, value));
                }
            });
        }
        let Some(last) = part.messages.last().filter(|_| part.more) else {
            break;
        };
        if entries >= MAX_ENTRIES {
            return Ok(None);
        }
        bounds.before = Some(Cursor {
            timestamp: last.timestamp,
            id: last.id,
        });
    }
    values.sort_by_key(|(at, _)| *at);
    missing.sort_unstable();
    let mut buckets: Vec<Bucket> = Vec::with_capacity(values.len());
    for (at, value) in values {
        match buckets.last_mut().filter(|last| last.at == at) {
            Some(last) => last.rollup.add(value),
            None => buckets.push(Bucket {
                at,
                rollup: Rollup::of(value),
            }),
        }
    }
    let key = (request.split == Split::Device).then(|| device.to_string());
    Ok((!buckets.is_empty()).then_some(Line {
        key,
        buckets,
        missing,
    }))
}
