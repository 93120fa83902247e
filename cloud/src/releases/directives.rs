//! Signing of directives and their place in a repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use iottly_protocol::release::{Action, Audience, Directive, Release, Window};
use iottly_protocol::tuf::{Instant, SigningKey};
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::{KeyFolder, ReleaseError, ReleaseRepository, files};

/// Contents of a directive to sign.
#[derive(Debug, Clone)]
pub struct NewDirective {
    /// Project of the release.
    pub project: ProjectId,
    /// Device or group that the directive is for.
    pub audience: Audience,
    /// Action to perform.
    pub action: Action,
    /// Path of the release's target.
    pub target: String,
    /// Validity of the directive, in seconds.
    pub valid_s: u64,
    /// Maximum duration of the update, in seconds.
    pub deadline_s: u64,
    /// Daily window in which the update may begin; none for any time.
    pub window: Option<Window>,
    /// Maximum download rate, in bytes per second; 0 for no limit.
    pub max_bps: u64,
    /// True if a release that was rolled back may be tried again.
    pub force_retry: bool,
    /// Approved capabilities.
    pub approved: Vec<String>,
}

impl NewDirective {
    /// Returns the directive, with the fields that come from the release.
    pub fn complete(self, release: &Release, counter: u64, now: Instant) -> Directive {
        Directive {
            id: format!("d-{counter}"),
            project: self.project,
            audience: self.audience,
            component: release.manifest.component,
            action: self.action,
            target: self.target,
            sha256: release.sha256.clone(),
            release_seq: release.manifest.release_seq,
            counter,
            not_before: now,
            expires: now.plus(self.valid_s),
            deadline_s: self.deadline_s,
            max_bps: self.max_bps,
            window: self.window,
            force_retry: self.force_retry,
            approved: self.approved,
            extra: BTreeMap::new(),
        }
    }
}

pub(super) fn sign(directive: &Directive, keys: &[SigningKey]) -> Result<Vec<u8>, ReleaseError> {
    directive
        .sign(&keys.iter().collect::<Vec<_>>())
        .map_err(|e| ReleaseError::Input(e.to_string()))
}

impl ReleaseRepository {
    /// Signs a directive and writes it to the repository for its device or group. Its counter is above every
    /// earlier one.
    ///
    /// # Errors
    /// If the release is not in the repository, the key is missing, or a file cannot be written.
    pub fn sign_directive(
        &self,
        new: NewDirective,
        keys: &KeyFolder,
        now: Instant,
        now_ms: u64,
    ) -> Result<Directive, ReleaseError> {
        let release = self.release(&new.target)?;
        let path = self.directive_path(&new.audience);
        let earlier = files::read(&path)?.and_then(|bytes| {
            let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
            document["signed"]["counter"].as_u64()
        });
        let counter = now_ms.max(earlier.unwrap_or(0).saturating_add(1));
        let directive = new.complete(&release, counter, now);
        files::replace(
            &path,
            &sign(&directive, &self.signers("directive", keys)?)?,
            0o644,
        )?;
        Ok(directive)
    }

    fn directive_path(&self, audience: &Audience) -> PathBuf {
        let id = match audience {
            Audience::Device(id) => DeviceId::to_string(id),
            Audience::Group(id) => GroupId::to_string(id),
        };
        self.path.join("directives").join(format!("{id}.json"))
    }
}
