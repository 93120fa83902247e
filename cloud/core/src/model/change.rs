//! Changes to a project and their audit entries. Describes changes; the store applies them.

use std::net::IpAddr;

use iottly_protocol::enroll::DeviceKey;
use iottly_protocol::release::LeaseId;
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, GroupId, Secret};
use serde_json::value::RawValue;

use super::{
    Absence, AlertId, AlertRule, AlertRuleId, Approval, Definition, EnrolmentKeyId, JobId, Limits,
    NewEnrolmentKey, NewJob, NewLease, NewMail, NewPortal, NewRollout, NewRoot, OutgoingOrder, PortalId,
    Replay, RolloutCommand, RolloutId, RolloutKind, SavedPlot, SavedPlotId, SecretHash, SnippetEdit,
    SnippetId, StoredRelease, Token, TokenId, UnixMs, Webhook, WebhookId,
};
use crate::model::Policy;
use crate::seal::Sealed;

/// A change to a project's configuration. The store applies it and writes the audit entry in one transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Renames the project.
    RenameProject(String),
    /// Sets the retention of messages in days; none keeps them forever.
    SetRetention(Option<u32>),
    /// Makes the releases of the project readable for everyone, or for its devices, tokens and members only.
    SetPublicReleases(bool),
    /// Sets the project's limits.
    SetLimits(Limits),
    /// Sets the project's limit for code, components and releases, in bytes; none for the cloud's default.
    SetCodeLimit(Option<u64>),
    /// Deletes the project with everything in it; the data of its devices is erased later.
    DeleteProject,
    /// Adds a message definition, with a new handler in every branch if it is a command.
    CreateDefinition(Definition),
    /// Replaces the definition of the same type; a handler whose options changed is kept under another name.
    UpdateDefinition(Definition),
    /// Removes a definition; its handlers are kept under another name.
    DeleteDefinition(String),
    /// Adds a token.
    CreateToken(SecretHash, Token),
    /// Revokes a token.
    RevokeToken(TokenId),
    /// Ends all logins of the project's dashboard.
    EndLogins,
    /// Adds a device. Nothing can log in as the device until it is paired.
    CreateDevice {
        /// Device id.
        device: DeviceId,
        /// Name of the device.
        name: String,
        /// Group of the device; none for `_orphaned`.
        group: Option<GroupId>,
        /// Hash of the broker secret.
        secret: SecretHash,
        /// Pair code: 32 hex digits.
        code: Secret,
        /// Expiry of the pair code.
        expires: UnixMs,
    },
    /// Gives a device a new pair code: the board that uses it replaces the device's board.
    ReplaceDevice {
        /// Device id.
        device: DeviceId,
        /// Pair code: 32 hex digits.
        code: Secret,
        /// Expiry of the pair code.
        expires: UnixMs,
    },
    /// Adds an enrolment key.
    CreateEnrolmentKey(Box<NewEnrolmentKey>),
    /// Removes an enrolment key; the devices that were created with it stay.
    DeleteEnrolmentKey(EnrolmentKeyId),
    /// Adds the device of a board that waits; the board fetches its secret when it asks again.
    ApproveBoard(Box<Approval>),
    /// Keeps one of several boards that log in as one device, by its number.
    KeepCopy {
        /// The device.
        device: DeviceId,
        /// Number of the copy that is kept.
        number: u32,
    },
    /// Rejects a board that waits, named by its device key; what remains is the audit entry.
    RejectBoard(DeviceKey),
    /// Presses buttons or sets sensors of a virtual board; what remains is the audit entry.
    TouchBoard(DeviceId),
    /// Changes the given properties of a device; the others keep their values.
    UpdateDevice {
        /// The device.
        device: DeviceId,
        /// Group to move the device into.
        group: Option<GroupId>,
        /// New name.
        name: Option<String>,
        /// New tags.
        tags: Option<Vec<String>>,
    },
    /// Sets the settings that a device's firmware reads: a JSON object.
    SetDeviceSettings(DeviceId, Box<RawValue>),
    /// Plans the absence of a device; none ends the plan.
    SetAbsence(DeviceId, Option<Box<Absence>>),
    /// Deletes a device; its data is erased later.
    DeleteDevice(DeviceId),
    /// Deletes a device of an ephemeral enrolment key, unless it has connected since it was found abandoned.
    DeleteAbandoned(DeviceId),
    /// Adds a deployment group.
    CreateGroup {
        /// Group id.
        id: GroupId,
        /// Name of the group.
        name: String,
        /// Branch that the group follows, if it follows one.
        branch: Option<String>,
    },
    /// Changes a deployment group; `_orphaned` keeps its name.
    UpdateGroup {
        /// The group.
        id: GroupId,
        /// New name; none keeps the old one.
        name: Option<String>,
        /// New branch or its absence; none keeps what is.
        branch: Option<FollowedBranch>,
    },
    /// Removes a deployment group; its devices return to `_orphaned`.
    DeleteGroup(GroupId),
    /// Moves devices from their groups into this one.
    MoveDevices(GroupId, Vec<DeviceId>),
    /// Adds a branch: empty, or with a copy of another branch's working copy.
    CreateBranch {
        /// Name of the branch.
        name: String,
        /// Branch to copy.
        from: Option<String>,
    },
    /// Removes a branch that no group follows, with its revisions.
    DeleteBranch(String),
    /// Writes into a branch's working copy.
    SaveSnippets(String, Vec<SnippetEdit>),
    /// Sets the text of the `firmware.toml` of a branch's working copy; none removes it.
    SaveManifest {
        /// The branch.
        branch: String,
        /// Text that [`check_manifest`](crate::code::check_manifest) accepts.
        manifest: Option<String>,
        /// Version of the text that the edit is based on; none to write over whatever there is.
        base: Option<String>,
    },
    /// Adds a file with a name of its own, which [`is_file_name`](super::is_file_name) accepts, to a branch's working copy.
    AddFile {
        /// The branch.
        branch: String,
        /// Id of the new snippet.
        id: SnippetId,
        /// Name of the file.
        name: String,
        /// Text of the file.
        code: String,
    },
    /// Removes a file with a name of its own, or a handler that no command calls.
    DeleteSnippet(String, SnippetId),
    /// Saves the working copy as the next revision, unless it equals the newest one.
    SaveVersion {
        /// The branch.
        branch: String,
        /// Message of the author.
        message: String,
    },
    /// Saves a component, whose bytes are stored already, as the next revision, unless it equals the newest
    /// one.
    SaveComponent {
        /// The branch.
        branch: String,
        /// Message of the author.
        message: String,
        /// sha256 of the component, hex.
        sha256: String,
        /// Text of the `firmware.toml` in the component.
        manifest: Option<String>,
    },
    /// Sets the rollout policy of a group.
    SetPolicy(GroupId, Box<Policy>),
    /// Adds a release whose files are published already.
    AddRelease(Box<StoredRelease>),
    /// Starts a rollout; a rollout that is active in the group is withdrawn.
    StartRollout(Box<NewRollout>),
    /// Pauses, resumes or cancels the active rollout of a group.
    SteerRollout(GroupId, RolloutCommand),
    /// Cancels a rollout by its own id, even if its group was deleted.
    CancelRollout(RolloutId),
    /// Replaces the working copy by a revision. Commands for which the revision has no handler get a new one.
    RestoreRevision {
        /// The branch.
        branch: String,
        /// The revision.
        number: u64,
    },
    /// Adds a rule that raises alerts.
    CreateAlertRule(Box<AlertRule>),
    /// Removes a rule and clears its alerts.
    DeleteAlertRule(AlertRuleId),
    /// Mutes a rule until a time; none ends that.
    MuteAlertRule(AlertRuleId, Option<UnixMs>),
    /// Mutes an alert until a time; none ends that.
    MuteAlert(AlertId, Option<UnixMs>),
    /// Queues a mail that tests the delivery of alerts.
    TestMail(Box<NewMail>),
    /// Adds a webhook.
    CreateWebhook(Box<Webhook>),
    /// Opens a portal to the deliveries of a webhook.
    OpenPortal(Box<NewPortal>),
    /// Closes a portal.
    ClosePortal(WebhookId, PortalId),
    /// Saves a plot under a name.
    SavePlot(Box<SavedPlot>),
    /// Deletes a saved plot.
    DeletePlot(SavedPlotId),
    /// Replaces the configuration of a webhook, except its secrets.
    UpdateWebhook(Box<Webhook>),
    /// Removes a webhook; its deliveries are erased later.
    DeleteWebhook(WebhookId),
    /// Disables a webhook; deliveries that wait continue to wait.
    DisableWebhook {
        /// The webhook.
        id: WebhookId,
        /// Reason for disabling the webhook.
        reason: String,
    },
    /// Gives a webhook a new secret; until a deadline, requests are signed with the former secret as well.
    RotateWebhook {
        /// The webhook.
        id: WebhookId,
        /// New secret.
        secret: Sealed,
        /// Deadline for signatures of the former secret.
        until: UnixMs,
    },
    /// Repeats deliveries.
    ReplayWebhook(WebhookId, Replay),
    /// Adds a key for developer orders to the root of the project; the root is signed already.
    AllowLeases,
    /// Records a root of the project's releases, which is published already.
    PublishRoot(NewRoot),
    /// Opens a developer lease.
    OpenLease(Box<NewLease>),
    /// Stores a signed order of an open lease: to run a script.
    OrderLease(Box<OutgoingOrder>),
    /// Ends an open lease; with the signed order for its devices if they were sent any.
    EndLease(LeaseId, Option<Box<OutgoingOrder>>),
    /// Starts a job; a repetition under the key of another job of the requester changes nothing.
    StartJob(Box<NewJob>),
    /// Ends a job before it is done.
    CancelJob(JobId),
}

fn muted(until: Option<UnixMs>) -> String {
    until.map_or("ended".to_owned(), |until| format!("until {until}"))
}

/// Branch that a deployment group is to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowedBranch {
    /// The branch of this name.
    Named(String),
    /// No branch.
    Absent,
}

impl FollowedBranch {
    /// Returns the name of the branch, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Absent => None,
        }
    }
}

/// Result of a [`Change`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Number of things that changed; 0 when nothing had to.
    pub affected: u64,
    /// Revision that a version was saved as.
    pub revision: Option<u64>,
}

impl Changed {
    /// Returns the result of a change that affected so many things.
    #[must_use]
    pub const fn affecting(affected: u64) -> Self {
        Self {
            affected,
            revision: None,
        }
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Number in the project's audit log, from 1 on.
    pub number: u64,
    /// Time of the change.
    pub at: UnixMs,
    /// Name of the token that made the change.
    pub actor: String,
    /// Token that made the change.
    pub token: TokenId,
    /// Action, such as `device.rename`.
    pub action: String,
    /// Target of the action: an id or a name.
    pub target: String,
    /// Details: the new name, the number of devices and the like.
    pub detail: String,
    /// Address that the request came from; none for changes of the cloud itself and of before this was recorded.
    pub address: Option<IpAddr>,
}

impl Change {
    /// Returns true if the rate limit of changes does not apply: the change ends a permission or something
    /// active.
    #[must_use]
    pub const fn is_always_admitted(&self) -> bool {
        matches!(
            self,
            Self::RevokeToken(_)
                | Self::EndLogins
                | Self::DeleteEnrolmentKey(_)
                | Self::DeleteProject
                | Self::DeleteWebhook(_)
                | Self::ClosePortal(..)
                | Self::DeletePlot(_)
                | Self::DeleteAlertRule(_)
                | Self::DisableWebhook { .. }
                | Self::EndLease(..)
                | Self::CancelJob(_)
                | Self::SteerRollout(_, RolloutCommand::Pause | RolloutCommand::Cancel)
        )
    }

    /// Returns action, target and detail of the audit entry; no secrets, no code.
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
            Self::SetPublicReleases(public) => entry(
                "project.releases",
                &"",
                &if *public { "public" } else { "private" },
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
            Self::CreateEnrolmentKey(new) => entry("enrolmentkey.create", &new.key.id, &new.key.name),
            Self::DeleteEnrolmentKey(id) => entry("enrolmentkey.delete", id, &""),
            Self::ApproveBoard(approval) => entry(
                "device.approve",
                &approval.device,
                &format!("board with the key {}", approval.request.device_key()),
            ),
            Self::KeepCopy { device, number } => entry("device.keep", device, &format!("copy {number}")),
            Self::RejectBoard(key) => entry("device.reject", &"", &format!("board with the key {key}")),
            Self::TouchBoard(device) => entry("device.board", device, &"pressed or set by hand"),
            Self::UpdateDevice {
                device,
                group,
                name,
                tags,
            } => match (group, name, tags) {
                // A change of one property has an action of its own.
                (Some(group), None, None) => entry("deploymentgroup.move", group, &"1 devices"),
                (None, Some(name), None) => entry("device.rename", device, name),
                (None, None, Some(tags)) => entry("device.tag", device, &tags.join(", ")),
                _ => {
                    let detail = [
                        ("deployment_group", group.map(|group| group.to_string())),
                        ("name", name.clone()),
                        ("tags", tags.as_ref().map(|tags| tags.join(", "))),
                    ]
                    .into_iter()
                    .filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
                    entry("device.update", device, &detail.collect::<Vec<_>>().join("; "))
                }
            },
            Self::SetDeviceSettings(device, values) => {
                entry("device.config", device, &format!("{} bytes", values.get().len()))
            }
            Self::SetAbsence(device, Some(absence)) => entry(
                "device.absence",
                device,
                &format!("until {}: {}", absence.until, absence.reason),
            ),
            Self::SetAbsence(device, None) => entry("device.absence", device, &"ended"),
            Self::DeleteDevice(device) | Self::DeleteAbandoned(device) => entry("device.delete", device, &""),
            Self::CreateGroup { id, name, .. } => entry("deploymentgroup.create", id, name),
            Self::UpdateGroup { id, name, branch } => {
                let branch = branch.as_ref().map(|branch| branch.name().unwrap_or_default());
                let detail = [("name", name.as_deref()), ("branch", branch)]
                    .into_iter()
                    .filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
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
            Self::SaveManifest { branch, manifest, .. } => entry(
                "branch.save_manifest",
                branch,
                &manifest
                    .as_ref()
                    .map_or("removed".to_owned(), |text| format!("{} bytes", text.len())),
            ),
            Self::AddFile { branch, name, .. } => entry("branch.add_file", branch, name),
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
            Self::SteerRollout(group, RolloutCommand::Pause) => entry("deploymentgroup.pause", group, &""),
            Self::SteerRollout(group, RolloutCommand::Resume) => entry("deploymentgroup.resume", group, &""),
            Self::SteerRollout(group, RolloutCommand::Cancel) => entry("deploymentgroup.cancel", group, &""),
            Self::CancelRollout(id) => entry("rollout.cancel", id, &""),
            Self::RestoreRevision { branch, number } => entry("branch.restore", branch, number),
            Self::CreateAlertRule(rule) => entry("alertrule.create", &rule.id, &rule.name),
            Self::DeleteAlertRule(id) => entry("alertrule.delete", id, &""),
            Self::MuteAlertRule(id, until) => entry("alertrule.mute", id, &muted(*until)),
            Self::MuteAlert(id, until) => entry("alert.mute", id, &muted(*until)),
            Self::TestMail(mail) => entry("mail.test", &mail.recipient, &""),
            Self::CreateWebhook(hook) => entry("webhook.create", &hook.key.hook, &hook.url),
            Self::UpdateWebhook(hook) => entry("webhook.update", &hook.key.hook, &hook.url),
            Self::DeleteWebhook(id) => entry("webhook.delete", id, &""),
            Self::DisableWebhook { id, reason } => entry("webhook.disable", id, reason),
            Self::RotateWebhook { id, .. } => entry("webhook.rotate", id, &""),
            Self::ReplayWebhook(id, replay) => entry("webhook.replay", id, replay),
            Self::OpenPortal(new) => entry(
                "webhook.open_portal",
                &new.portal.key.hook,
                &format!("portal {}", new.portal.id),
            ),
            Self::ClosePortal(hook, id) => entry("webhook.close_portal", hook, &format!("portal {id}")),
            Self::SavePlot(plot) => entry("plot.save", &plot.id, &plot.name),
            Self::DeletePlot(id) => entry("plot.delete", id, &""),
            Self::AllowLeases => entry("lease.allow", &"", &""),
            Self::PublishRoot(root) => {
                entry(root.act.as_str(), &format!("root {}", root.version), &root.detail)
            }
            Self::OpenLease(lease) => entry("lease.open", &lease.id, &opened(lease)),
            Self::OrderLease(order) => entry(
                "lease.run",
                &order.lease,
                &format!("script {}, {} bytes", order.order.sha256, order.order.size),
            ),
            Self::EndLease(lease, _) => entry("lease.end", lease, &""),
            Self::StartJob(job) => entry(
                "job.start",
                &job.id,
                &format!("{} {} devices", job.task.kind(), job.devices.len()),
            ),
            Self::CancelJob(id) => entry("job.cancel", id, &""),
        }
    }
}

/// Returns the audit entry's detail about a lease: its devices, its end and what it approves.
fn opened(lease: &NewLease) -> String {
    let list = |names: Vec<String>| names.join(", ");
    let devices = list(lease.devices.iter().map(ToString::to_string).collect());
    let approved = if lease.approved.is_empty() {
        String::new()
    } else {
        format!("; approved: {}", list(lease.approved.clone()))
    };
    let until = u64::try_from(lease.expires / 1000).unwrap_or(0);
    format!("until {} on {devices}{approved}", Instant::from_unix(until))
}
