//! Counts responses that are in memory until their clients have received them, and refuses further ones over
//! a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use futures_util::stream;
use iottly_protocol::ProjectId;

use super::ReadError;

/// Maximum size of unread large responses of all projects, in bytes.
const MAX_BYTES: u64 = 192 << 20;
/// Maximum size of unread large responses of a project, in bytes.
const MAX_PROJECT_BYTES: u64 = 32 << 20;
/// Size of the slices that are handed to a connection, in bytes. The last slice counts as read once the
/// connection has taken it.
const SLICE_BYTES: usize = 64 << 10;

/// Bytes of unread large responses.
#[derive(Debug, Default)]
pub(super) struct UnreadResponses(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    projects: HashMap<ProjectId, u64>,
}

/// Bytes of one response, counted until it is dropped.
#[derive(Debug)]
pub struct UnreadResponse {
    unread: Arc<UnreadResponses>,
    project: ProjectId,
    bytes: u64,
}

impl UnreadResponses {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(
        self: &Arc<Self>,
        project: ProjectId,
        bytes: u64,
    ) -> Result<UnreadResponse, ReadError> {
        let mut counts = self.lock();
        let of_project = counts.projects.get(&project).copied().unwrap_or_default();
        // A project without unread responses may have one of any length.
        if of_project > 0 && of_project + bytes > MAX_PROJECT_BYTES {
            return Err(ReadError::Unread);
        }
        if counts.all > 0 && counts.all + bytes > MAX_BYTES {
            return Err(ReadError::Busy);
        }
        counts.all += bytes;
        *counts.projects.entry(project).or_default() += bytes;
        drop(counts);
        Ok(UnreadResponse {
            unread: Arc::clone(self),
            project,
            bytes,
        })
    }
}

impl Drop for UnreadResponse {
    fn drop(&mut self) {
        let mut counts = self.unread.lock();
        counts.all -= self.bytes;
        if let Some(of_project) = counts.projects.get_mut(&self.project) {
            *of_project -= self.bytes;
            if *of_project == 0 {
                counts.projects.remove(&self.project);
            }
        }
    }
}

impl UnreadResponse {
    /// Returns the response's body, which is counted until the connection has taken its last slice.
    pub fn body(self, bytes: Vec<u8>) -> Body {
        let slices = stream::unfold((Bytes::from(bytes), self), async |(mut rest, held)| {
            let slice = rest.split_to(rest.len().min(SLICE_BYTES));
            (!slice.is_empty()).then_some((Ok::<_, std::convert::Infallible>(slice), (rest, held)))
        });
        Body::from_stream(slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_gets_its_share_and_gives_it_back() {
        let unread = Arc::new(UnreadResponses::default());
        let project = |n| ProjectId::from_bytes([n; 12]);
        let first = unread
            .hold(project(1), MAX_PROJECT_BYTES * 2)
            .expect("the first, however long");
        assert!(matches!(unread.hold(project(1), 1), Err(ReadError::Unread)));
        let mut others: Vec<_> = (2..)
            .map_while(|n| unread.hold(project(n), MAX_PROJECT_BYTES).ok())
            .collect();
        assert_eq!(others.len() as u64, MAX_BYTES / MAX_PROJECT_BYTES - 2);
        assert!(matches!(
            unread.hold(project(99), MAX_PROJECT_BYTES),
            Err(ReadError::Busy)
        ));
        drop(first);
        others.push(
            unread
                .hold(project(1), MAX_PROJECT_BYTES)
                .expect("its share is free again"),
        );
        drop(others);
        assert!(unread.lock().all == 0 && unread.lock().projects.is_empty());
    }
}
