//! Changes to a project, each in one transaction with its audit entry.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Conn};
use super::webhooks::{config as webhooks, replay};
use super::{
    Backend, alerts, audit, branches, code_usage, codec, copies, definitions, device_settings, devices,
    enrolment, enrolment_keys, erase, groups, jobs, leases, portals, release_roots, releases, revisions,
    rollouts, saved_plots, tokens, usage,
};
use crate::write_turns::Lane;
use crate::{ChangeStore, Result, StoreError};
use iottly_core::model::{AuditEntry, Change, Changed, Principal, Scope, Snippet, SnippetKind, UnixMs};

#[async_trait]
impl ChangeStore for Backend {
    async fn change(
        &self,
        project: ProjectId,
        by: &Principal,
        change: Change,
        now: UnixMs,
    ) -> Result<Changed> {
        let _turn = self.turns.take(Lane::Project(project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let known = sqlx::query(db::LOCK_PROJECT)
            .bind(codec::id(&project))
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_none() {
            return Err(StoreError::Missing {
                what: "project",
                name: project.to_string(),
            });
        }
        let entry = change.audit();
        if !change.is_always_admitted() {
            audit::admit(&mut tx, project, entry.0, now).await?;
        }
        let last = matches!(change, Change::DeleteProject);
        let changed = run(&mut tx, project, by, change, now).await?;
        if changed.affected > 0 && !last {
            audit::append(&mut tx, project, by, entry, now).await?;
        }
        tx.commit().await?;
        self.token_cache.clear();
        Ok(changed)
    }

    async fn audit(&self, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>> {
        self.audit_between(project, before, (None, None), limit).await
    }

    async fn audit_between(
        &self,
        project: ProjectId,
        before: Option<u64>,
        times: (Option<UnixMs>, Option<UnixMs>),
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        audit::newest(&self.readers, project, (before, times), limit).await
    }
}

async fn run(
    tx: &mut Conn,
    project: ProjectId,
    by: &Principal,
    change: Change,
    now: UnixMs,
) -> Result<Changed> {
    let affected = match change {
        Change::RenameProject(name) => super::projects::rename(tx, project, &name).await?,
        Change::SetRetention(days) => super::projects::set_retention(tx, project, days).await?,
        Change::SetPublicReleases(public) => {
            super::projects::set_public_releases(tx, project, public).await?
        }
        Change::SetLimits(limits) => usage::set(tx, project, &limits).await?,
        Change::SetCodeLimit(limit) => code_usage::set_limit(tx, project, limit).await?,
        Change::DeleteProject => erase::project(tx, project, now).await?,
        Change::CreateDefinition(definition) => definitions::create(tx, project, &definition, now).await?,
        Change::UpdateDefinition(definition) => definitions::update(tx, project, &definition, now).await?,
        Change::DeleteDefinition(cmd_type) => definitions::delete(tx, project, &cmd_type, now).await?,
        Change::CreateToken(hash, token) => tokens::add(tx, project, hash, &token).await?,
        Change::RevokeToken(id) => tokens::revoke(tx, project, id).await?,
        Change::EndLogins => super::projects::end_logins(tx, project).await?,
        Change::CreateDevice {
            device,
            name,
            group,
            secret,
            code,
            expires,
        } => {
            let group = groups::or_orphaned(tx, project, group).await?;
            let pair_code = devices::NewPairCode {
                code: code.expose(),
                created: now,
                expires,
            };
            devices::create_with_pair_code(tx, project, device, &name, group, secret, &pair_code).await?
        }
        Change::ReplaceDevice {
            device,
            code,
            expires,
        } => {
            let pair_code = devices::NewPairCode {
                code: code.expose(),
                created: now,
                expires,
            };
            devices::replace_pair_code(tx, project, device, &pair_code).await?
        }
        Change::CreateEnrolmentKey(new) => enrolment_keys::add(tx, project, &new).await?,
        Change::DeleteEnrolmentKey(id) => enrolment_keys::delete(tx, project, id).await?,
        Change::ApproveBoard(approval) => enrolment::approve(tx, project, &approval, now).await?,
        // The cloud's list of waiting boards is no part of the database; what remains is the audit entry.
        // So is a person's hand on a virtual board.
        Change::RejectBoard(_) | Change::TouchBoard(_) => 1,
        Change::KeepCopy { device, number } => copies::keep(tx, project, device, number).await?,
        Change::UpdateDevice {
            device,
            group,
            name,
            tags,
        } => devices::update(tx, project, device, group, name.as_deref(), tags.as_deref()).await?,
        Change::SetDeviceSettings(device, values) => {
            device_settings::set(tx, project, device, &values, now).await?
        }
        Change::SetAbsence(device, absence) => {
            devices::set_absence(tx, project, device, absence.as_deref()).await?
        }
        Change::DeleteDevice(device) => erase::device(tx, project, device, now).await?,
        Change::DeleteAbandoned(device) => {
            if enrolment::is_abandoned(tx, Scope { project, device }, now).await? {
                erase::device(tx, project, device, now).await?
            } else {
                0
            }
        }
        Change::CreateGroup { id, name, branch } => {
            groups::add(tx, project, id, &name, branch.as_deref()).await?
        }
        Change::UpdateGroup { id, name, branch } => {
            groups::update(tx, project, id, name.as_deref(), branch.as_ref()).await?
        }
        Change::DeleteGroup(id) => groups::delete(tx, project, id, now).await?,
        Change::MoveDevices(group, members) => groups::move_devices(tx, project, group, &members).await?,
        Change::CreateBranch { name, from } => {
            branches::create(tx, project, &name, from.as_deref(), now).await?
        }
        Change::DeleteBranch(name) => branches::delete(tx, project, &name).await?,
        Change::SaveSnippets(branch, edits) => branches::save(tx, project, &branch, &edits, now).await?,
        Change::SaveManifest {
            branch,
            manifest,
            base,
        } => {
            let edit = (manifest.as_deref(), base.as_deref());
            branches::save_manifest(tx, project, &branch, edit, now).await?
        }
        Change::AddFile {
            branch,
            id,
            name,
            code,
        } => {
            let file = Snippet {
                id,
                kind: SnippetKind::File,
                name,
                description: String::new(),
                code,
            };
            branches::add_file(tx, project, &branch, file, now).await?
        }
        Change::DeleteSnippet(branch, id) => branches::delete_snippet(tx, project, &branch, id, now).await?,
        Change::SaveVersion { branch, message } => {
            return revisions::save_version(tx, project, &branch, &message, &by.name, now).await;
        }
        Change::SaveComponent {
            branch,
            message,
            sha256,
            manifest,
        } => {
            let component = (sha256.as_str(), manifest.as_deref());
            return revisions::save_component(tx, project, &branch, &message, component, (&by.name, now))
                .await;
        }
        Change::SetPolicy(group, policy) => rollouts::set_policy(tx, project, group, &policy).await?,
        Change::AddRelease(release) => releases::add(tx, project, &release, &by.name, now).await?,
        Change::StartRollout(rollout) => rollouts::start(tx, project, &rollout, &by.name, now).await?,
        Change::SteerRollout(group, steer) => rollouts::steer(tx, project, group, steer, now).await?,
        Change::CancelRollout(id) => rollouts::cancel(tx, project, id, now).await?,
        Change::RestoreRevision { branch, number } => {
            revisions::restore(tx, project, &branch, number, now).await?
        }
        Change::CreateAlertRule(rule) => alerts::create(tx, &rule).await?,
        Change::DeleteAlertRule(id) => alerts::delete(tx, project, id, now).await?,
        Change::MuteAlertRule(id, until) => alerts::mute(tx, project, id, until).await?,
        Change::MuteAlert(id, until) => alerts::mute_alert(tx, project, id, until).await?,
        Change::TestMail(mail) => alerts::queue_test_mail(tx, &mail).await?,
        Change::CreateWebhook(hook) => webhooks::create(tx, &hook).await?,
        Change::UpdateWebhook(hook) => webhooks::update(tx, &hook).await?,
        Change::DeleteWebhook(id) => webhooks::delete(tx, project, id).await?,
        Change::DisableWebhook { id, reason } => webhooks::disable(tx, project, id, &reason, now).await?,
        Change::RotateWebhook { id, secret, until } => {
            webhooks::rotate(tx, project, id, &secret, until, now).await?
        }
        // The root is signed by then; what remains is the audit entry.
        Change::AllowLeases => 1,
        Change::PublishRoot(root) => release_roots::add(tx, project, &root, &by.name, now).await?,
        Change::OpenLease(lease) => leases::open(tx, project, &lease, &by.name, now).await?,
        Change::OrderLease(order) => leases::order(tx, project, &order, now).await?,
        Change::EndLease(lease, last) => leases::end(tx, project, lease, last.as_deref(), now).await?,
        Change::StartJob(job) => jobs::start(tx, project, &job, by, now).await?,
        Change::CancelJob(id) => jobs::cancel(tx, project, id, now).await?,
        Change::ReplayWebhook(id, which) => replay::replay(tx, project, id, which, now).await?,
        Change::OpenPortal(new) => portals::open(tx, &new, now).await?,
        Change::ClosePortal(hook, id) => portals::close(tx, project, hook, id).await?,
        Change::SavePlot(plot) => saved_plots::save(tx, &plot).await?,
        Change::DeletePlot(id) => saved_plots::delete(tx, project, id).await?,
    };
    Ok(Changed::affecting(affected))
}
