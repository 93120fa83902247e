use iottly_protocol::{DeviceId, GroupId};
use serde_json::value::RawValue;

use super::{
    Definition, Limits, NewRollout, Replay, RolloutId, RolloutKind, SecretHash, SnippetEdit, SnippetId,
    Steer, StoredRelease, Token, TokenId, UnixMs, Webhook, WebhookId,
};
use crate::model::Policy;
use crate::seal::Sealed;

/// A change of what a project is made of. The store applies it and writes the audit entry in one transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Gives the project another name.
    RenameProject(String),
    /// Keeps messages for so many days; none for ever.
    SetRetention(Option<u32>),
    /// Sets what the project may hold and keep.
    SetLimits(Limits),
    /// Sets how many bytes of code, components and releases the project may hold; none for the cloud's own
    /// limit.
    SetCodeLimit(Option<u64>),
    /// Deletes the project with everything in it; the data of its devices is erased after.
    DeleteProject,
    /// Adds a message definition, with a fresh handler in every branch if it is a command.
    CreateDefinition(Definition),
    /// Replaces the definition of the same type; a handler whose options changed is kept under another name.
    UpdateDefinition(Definition),
    /// Removes a definition; its handlers are kept under another name.
    DeleteDefinition(String),
    /// Adds a token.
    CreateToken(SecretHash, Token),
    /// Makes a token useless.
    RevokeToken(TokenId),
    /// Ends all logins of the project's dashboard.
    EndLogins,
    /// Adds a device that nothing can log in as until it is paired.
    CreateDevice {
        /// Its id.
        device: DeviceId,
        /// Its name.
        name: String,
        /// Its group; none for `_orphaned`.
        group: Option<GroupId>,
        /// Hash of its broker secret.
        secret: SecretHash,
        /// The pair code: 32 hex digits.
        code: String,
        /// When the pair code stops working.
        expires: UnixMs,
    },
    /// Gives a device a new pair code: the board that uses it takes its place.
    ReplaceDevice {
        /// The device.
        device: DeviceId,
        /// The pair code: 32 hex digits.
        code: String,
        /// When the pair code stops working.
        expires: UnixMs,
    },
    /// Gives a device another name.
    RenameDevice(DeviceId, String),
    /// Replaces a device's tags.
    TagDevice(DeviceId, Vec<String>),
    /// Sets what a device's firmware reads as its settings: a JSON object.
    SetDeviceConfig(DeviceId, Box<RawValue>),
    /// Deletes a device; its data is erased after.
    DeleteDevice(DeviceId),
    /// Adds a deployment group.
    CreateGroup {
        /// Its id.
        id: GroupId,
        /// Its name.
        name: String,
        /// The branch it follows; empty for none.
        branch: String,
    },
    /// Changes a deployment group; `_orphaned` keeps its name.
    UpdateGroup {
        /// The group.
        id: GroupId,
        /// New name; none leaves it.
        name: Option<String>,
        /// New branch, empty for none; none leaves it.
        branch: Option<String>,
    },
    /// Removes a deployment group; its devices fall back to `_orphaned`.
    DeleteGroup(GroupId),
    /// Puts devices into a group, out of the ones they are in.
    MoveDevices(GroupId, Vec<DeviceId>),
    /// Adds a branch: empty, or a copy of another's working copy.
    CreateBranch {
        /// Its name.
        name: String,
        /// The branch to copy.
        from: Option<String>,
    },
    /// Removes a branch that no group follows, with its revisions.
    DeleteBranch(String),
    /// Writes into a branch's working copy.
    SaveSnippets(String, Vec<SnippetEdit>),
    /// Removes a handler that no command calls.
    DeleteSnippet(String, SnippetId),
    /// Saves the working copy as the next revision, unless it is what the newest one holds.
    SaveVersion {
        /// The branch.
        branch: String,
        /// What the author says about it.
        message: String,
    },
    /// Saves a component, whose bytes are kept already, as the next revision, unless it is what the newest
    /// one holds.
    SaveComponent {
        /// The branch.
        branch: String,
        /// What the author says about it.
        message: String,
        /// sha256 of the component, hex.
        sha256: String,
    },
    /// Sets how rollouts in a group spread.
    SetPolicy(GroupId, Box<Policy>),
    /// Adds a release whose files are published already.
    AddRelease(Box<StoredRelease>),
    /// Starts a rollout; one that is under way in the group is withdrawn.
    StartRollout(Box<NewRollout>),
    /// Steers the rollout that is under way in a group.
    SteerRollout(GroupId, Steer),
    /// Gives a rollout up by its own id, whatever became of its group.
    CancelRollout(RolloutId),
    /// Replaces the working copy by a revision; a handler of a command that is defined now is made when the
    /// revision has none.
    RestoreRevision {
        /// The branch.
        branch: String,
        /// The revision.
        number: u64,
    },
    /// Adds a webhook.
    CreateWebhook(Box<Webhook>),
    /// Replaces what is configured of a webhook, its secrets excepted.
    UpdateWebhook(Box<Webhook>),
    /// Removes a webhook; its deliveries are erased after.
    DeleteWebhook(WebhookId),
    /// Switches a webhook off; what waits goes on waiting.
    DisableWebhook {
        /// The webhook.
        id: WebhookId,
        /// Why.
        reason: String,
    },
    /// Gives a webhook a new secret; the one before signs beside it for a while.
    RotateWebhook {
        /// The webhook.
        id: WebhookId,
        /// The new secret.
        secret: Sealed,
        /// Until when the one before signs.
        until: UnixMs,
    },
    /// Makes deliveries again.
    ReplayWebhook(WebhookId, Replay),
}

/// What a [`Change`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// How many things are different now; 0 when it was so already.
    pub affected: u64,
    /// The revision that a version was saved as.
    pub revision: Option<u64>,
}

impl Changed {
    /// So many things are different.
    #[must_use]
    pub const fn affecting(affected: u64) -> Self {
        Self {
            affected,
            revision: None,
        }
    }
}

/// An entry of the audit log: who did what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number in the project, from 1 on.
    pub number: u64,
    /// When.
    pub at: UnixMs,
    /// Name of the token.
    pub actor: String,
    /// The token.
    pub token: TokenId,
    /// What was done, such as `device.rename`.
    pub action: String,
    /// To what; an id or a name.
    pub target: String,
    /// The new name, the number of devices and the like.
    pub detail: String,
}

impl Change {
    /// Says whether the change is made however often it was made before: it ends what somebody may do, or
    /// what is under way.
    #[must_use]
    pub const fn is_always_admitted(&self) -> bool {
        matches!(
            self,
            Self::RevokeToken(_)
                | Self::EndLogins
                | Self::DeleteProject
                | Self::DeleteWebhook(_)
                | Self::DisableWebhook { .. }
                | Self::SteerRollout(_, Steer::Pause | Steer::Cancel)
        )
    }

    /// Action, target and detail of the audit entry; no secrets, no code.
    #[must_use]
    pub fn audit(&self) -> (&'static str, String, String) {
        let entry = |action, target: &dyn ToString, detail: &dyn ToString| {
            (action, target.to_string(), detail.to_string())
        };
        match self {
            Self::RenameProject(name) => entry("project.rename", &"", name),
            Self::SetRetention(days) => entry(
                "project.retention",
                &"",
                &days.map_or("for ever".to_owned(), |days| format!("{days} days")),
            ),
            Self::SetLimits(limits) => entry("project.limits", &"", &limits),
            Self::SetCodeLimit(limit) => entry(
                "project.limits",
                &"",
                &limit.map_or("code_bytes: default".to_owned(), |limit| {
                    format!("code_bytes: {limit}")
                }),
            ),
            Self::DeleteProject => entry("project.delete", &"", &""),
            Self::CreateDefinition(definition) => {
                entry("messagedefinition.create", &definition.cmd_type, &"")
            }
            Self::UpdateDefinition(definition) => {
                entry("messagedefinition.update", &definition.cmd_type, &"")
            }
            Self::DeleteDefinition(cmd_type) => entry("messagedefinition.delete", cmd_type, &""),
            Self::CreateToken(_, token) => entry("token.create", &token.id, &token.name),
            Self::RevokeToken(id) => entry("token.revoke", id, &""),
            Self::EndLogins => entry("project.end_logins", &"", &""),
            Self::CreateDevice { device, name, .. } => entry("device.create", device, name),
            Self::ReplaceDevice { device, .. } => entry("device.replace", device, &""),
            Self::RenameDevice(device, name) => entry("device.rename", device, name),
            Self::TagDevice(device, tags) => entry("device.tag", device, &tags.join(", ")),
            Self::SetDeviceConfig(device, values) => {
                entry("device.config", device, &format!("{} bytes", values.get().len()))
            }
            Self::DeleteDevice(device) => entry("device.delete", device, &""),
            Self::CreateGroup { id, name, .. } => entry("deploymentgroup.create", id, name),
            Self::UpdateGroup { id, name, branch } => {
                let detail = [("name", name), ("branch", branch)]
                    .into_iter()
                    .filter_map(|(key, value)| Some(format!("{key}: {}", value.as_ref()?)));
                entry(
                    "deploymentgroup.update",
                    id,
                    &detail.collect::<Vec<_>>().join(", "),
                )
            }
            Self::DeleteGroup(id) => entry("deploymentgroup.delete", id, &""),
            Self::MoveDevices(group, devices) => entry(
                "deploymentgroup.move",
                group,
                &format!("{} devices", devices.len()),
            ),
            Self::CreateBranch { name, from } => {
                entry("branch.create", name, &from.as_deref().unwrap_or_default())
            }
            Self::DeleteBranch(name) => entry("branch.delete", name, &""),
            Self::SaveSnippets(branch, edits) => {
                entry("branch.save", branch, &format!("{} snippets", edits.len()))
            }
            Self::DeleteSnippet(branch, id) => entry("snippet.delete", branch, id),
            Self::SaveVersion { branch, message } => entry("branch.save_version", branch, message),
            Self::SaveComponent { branch, message, .. } => entry("branch.save_component", branch, message),
            Self::SetPolicy(group, policy) => {
                let policy = serde_json::to_string(policy)
                    .expect("a policy has string keys and serializes without failing");
                entry("deploymentgroup.policy", group, &policy)
            }
            Self::AddRelease(release) => {
                let detail = format!("{} of revision {}", release.path, release.revision);
                entry("release.create", &release.seq, &detail)
            }
            Self::StartRollout(rollout) => {
                let action = match rollout.kind {
                    RolloutKind::Install => "deploymentgroup.flash",
                    RolloutKind::Rollback => "deploymentgroup.rollback",
                };
                entry(action, &rollout.group, &rollout.note)
            }
            Self::SteerRollout(group, Steer::Pause) => entry("deploymentgroup.pause", group, &""),
            Self::SteerRollout(group, Steer::Resume) => entry("deploymentgroup.resume", group, &""),
            Self::SteerRollout(group, Steer::Cancel) => entry("deploymentgroup.cancel", group, &""),
            Self::CancelRollout(id) => entry("rollout.cancel", id, &""),
            Self::RestoreRevision { branch, number } => entry("branch.restore", branch, number),
            Self::CreateWebhook(hook) => entry("webhook.create", &hook.key.hook, &hook.url),
            Self::UpdateWebhook(hook) => entry("webhook.update", &hook.key.hook, &hook.url),
            Self::DeleteWebhook(id) => entry("webhook.delete", id, &""),
            Self::DisableWebhook { id, reason } => entry("webhook.disable", id, reason),
            Self::RotateWebhook { id, .. } => entry("webhook.rotate", id, &""),
            Self::ReplayWebhook(id, replay) => entry("webhook.replay", id, replay),
        }
    }
}
