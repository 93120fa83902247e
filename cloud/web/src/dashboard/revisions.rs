//! Names of revisions for the digests that devices report.

use iottly_core::model::StoredRelease;

use crate::auth::ProjectAccess;

/// Number of releases whose digests have names on a page.
const KNOWN: usize = 200;

/// The newest releases of a project.
#[derive(Default)]
pub(super) struct Revisions(Vec<StoredRelease>);

impl Revisions {
    /// Reads the newest releases; without them a page shows digests.
    pub(super) async fn of(access: &ProjectAccess) -> Self {
        let read = access.services().store.releases(access.id(), None, KNOWN).await;
        Self(read.unwrap_or_default())
    }

    /// Returns the revision and the branch of which a digest, or its first digits, is the release.
    pub(super) fn name(&self, digest: &str) -> Option<String> {
        let known = |release: &&StoredRelease| digest.len() >= 8 && release.sha256.starts_with(digest);
        let release = self.0.iter().find(known)?;
        Some(format!("r{} of {}", release.revision, release.branch))
    }
}
