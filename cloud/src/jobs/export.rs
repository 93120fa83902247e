//! Steps of jobs that write histories into a file.

use std::time::{Duration, Instant};

use super::{Jobs, StepError, is_within, stopped};
use crate::clock;
use crate::history_reader::CHUNK_BYTES;
use crate::jobs::FileError;
use iottly_core::history::append_line;
use iottly_core::jobs::Event;
use iottly_core::model::{Cursor, JobFile, MAX_EXPORT_BYTES, MessageId, Scope, UnixMs};
use iottly_protocol::DeviceId;
use iottly_store::{ClaimedJob, JobPlace, JobStep, ScanBounds};

/// Maximum number of entries that are read from the store at once.
const CHUNK: usize = 500;
/// Length of the lines from which on a step ends, in bytes.
const STEP_BYTES: usize = 1 << 20;
/// Longest time of a step.
const STEP: Duration = Duration::from_millis(300);

/// Result of reading in one step.
#[derive(Default)]
struct Read {
    lines: Vec<u8>,
    messages: u64,
    done: usize,
    failures: Vec<(usize, String)>,
    /// Place in the history of the next device.
    place: Option<Cursor>,
}

impl Jobs {
    /// Writes the next part of an export. The file is synced first, then the step is recorded.
    pub(super) async fn export(
        &self,
        claim: &ClaimedJob,
        (from, to): (Option<UnixMs>, Option<UnixMs>),
    ) -> Result<(), StepError> {
        let (job, now) = (&claim.job, clock::now());
        let file = match job.file {
            Some(file) if file.host == self.worker.0 => file,
            // The process that began the file has left; its folder cannot be reached from here.
            Some(_) => return self.begin_again(claim).await,
            None => JobFile {
                host: self.worker.0,
                bytes: 0,
                messages: 0,
                until: None,
            },
        };
        let used = self.store.export_bytes(job.project, now).await?;
        if used >= MAX_EXPORT_BYTES {
            let reason = format!(
                "the files of the project's exports have {} MiB, the maximum; they are removed a day after their end",
                MAX_EXPORT_BYTES >> 20
            );
            self.store.record_step(claim, stopped(reason), now).await?;
            return Ok(());
        }
        let bounds = ScanBounds {
            from,
            to: to.map(|to| to.saturating_sub(1)),
            before: None,
        };
        let read = self.read(claim, bounds).await?;
        let bytes = match self.files.append(job, file.bytes, read.lines).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.begin_again(claim).await,
            Err(FileError::NoRoom) => {
                let reason = FileError::NoRoom.to_string();
                self.store.record_step(claim, stopped(reason), now).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let step = JobStep {
            event: Event::Stepped {
                done: read.done as u64,
                failed: read.failures.len() as u64,
            },
            failures: read.failures,
            file: Some(JobPlace {
                place: read.place.map(|place| text(&place)),
                messages: file.messages + read.messages,
                bytes,
            }),
        };
        self.store.record_step(claim, step, clock::now()).await?;
        Ok(())
    }

    async fn begin_again(&self, claim: &ClaimedJob) -> Result<(), StepError> {
        tracing::info!(job.id = %claim.job.id, "the file of an export is not in this data folder; the export begins again");
        let mut step = JobStep::from(Event::Lost);
        step.file = Some(JobPlace::default());
        self.store.record_step(claim, step, clock::now()).await?;
        Ok(())
    }

    /// Reads histories until a step is full.
    async fn read(&self, claim: &ClaimedJob, bounds: ScanBounds) -> Result<Read, StepError> {
        let (began, mut read) = (Instant::now(), Read::default());
        read.place = claim.place.as_deref().and_then(cursor);
        for (at, device) in claim.devices.iter().enumerate() {
            if let Some(reason) = self.refused(claim, *device).await? {
                read.failures.push((at, reason));
                (read.done, read.place) = (at + 1, None);
                continue;
            }
            loop {
                let is_full = read.lines.len() >= STEP_BYTES || began.elapsed() >= STEP;
                if is_full && (at > 0 || read.messages > 0) {
                    return Ok(read);
                }
                if !self.chunk(claim, *device, bounds, &mut read).await? {
                    break;
                }
            }
            (read.done, read.place) = (at + 1, None);
        }
        Ok(read)
    }

    /// Reads a chunk of a device's history. Returns true if there is more of it.
    async fn chunk(
        &self,
        claim: &ClaimedJob,
        device: DeviceId,
        bounds: ScanBounds,
        read: &mut Read,
    ) -> Result<bool, StepError> {
        let scope = Scope {
            project: claim.job.project,
            device,
        };
        let bounds = ScanBounds {
            before: read.place,
            ..bounds
        };
        let mut turn = None;
        let part = self
            .history_reader
            .part(
                self.store.as_ref(),
                scope,
                bounds,
                (CHUNK, CHUNK_BYTES),
                &mut turn,
            )
            .await?;
        for message in &part.messages {
            append_line(&mut read.lines, message);
        }
        read.messages += part.messages.len() as u64;
        read.place = part.messages.last().map(|last| Cursor {
            timestamp: last.timestamp,
            id: last.id,
        });
        Ok(part.more)
    }

    /// Returns the reason for which a device's history is not exported, if there is one.
    async fn refused(&self, claim: &ClaimedJob, device: DeviceId) -> Result<Option<String>, StepError> {
        let scope = Scope {
            project: claim.job.project,
            device,
        };
        Ok(match self.store.device(scope).await? {
            None => Some("device is unknown in this project".to_owned()),
            Some(device) if !is_within(&claim.job.by, device.group) => {
                Some("device is not in the deployment group that the token is bound to".to_owned())
            }
            Some(_) => None,
        })
    }
}

fn text(place: &Cursor) -> String {
    format!("{}-{}", place.timestamp, place.id)
}

fn cursor(text: &str) -> Option<Cursor> {
    let (timestamp, id) = text.rsplit_once('-')?;
    Some(Cursor {
        timestamp: timestamp.parse().ok()?,
        id: id.parse::<MessageId>().ok()?,
    })
}
