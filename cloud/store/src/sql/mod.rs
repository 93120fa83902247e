//! The store's SQL, shared by both databases. Each database's module includes this folder and provides three
//! names: `Backend` (its store), `db` (its types and its specific statements) and `STEPS` (its migrations).

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{CommandId, DeviceId, GroupId, ProjectId, StreamId};
use serde_json::value::RawValue;

use super::{Backend, STEPS, db};
use crate::{
    CommandQuery, CommandRoom, EntrySize, NewDevice, OpenTotals, PageQuery, Result, ScanBounds, Store,
    StoreError, Submitted,
};
use iottly_core::command::MAX_TTL_MS;
use iottly_core::ingest::{Outcome, Write};
use iottly_core::model::{
    AuditEntry, Branch, Change, Changed, CodeRoom, CommandRecord, Cursor, Definition, Device, Group,
    HourUsage, Idempotency, KnownFacts, Limits, NewCommand, PairCode, Principal, Project, Revision, Rollout,
    RolloutId, RolloutMember, RolloutStep, Scope, SecretHash, SettingsState, Snippet, StoredLog,
    StoredMessage, StoredRelease, Token, TokenId, UnixMs, Usage,
};

mod audit;
mod branches;
mod change;
mod code_usage;
mod codec;
mod commands;
mod definitions;
mod device_settings;
mod devices;
mod erase;
mod gaps;
mod groups;
mod history;
mod ingest;
mod logs;
mod messages;
pub(super) mod migrations;
mod own_entries;
mod projects;
mod releases;
mod rollout_devices;
mod rollout_upkeep;
mod rollouts;
mod snippets;
mod streams;
mod tokens;
mod usage;
mod webhooks;

/// Migrates the schema and fills in data that a migration left out.
pub(super) async fn prepare(connection: &mut db::Conn) -> Result<()> {
    migrations::run(connection).await?;
    branches::complete_empty(connection).await
}

#[async_trait]
impl Store for Backend {
    async fn create_project(
        &self,
        project: &Project,
        orphaned: GroupId,
        definitions: &[Definition],
    ) -> Result<()> {
        projects::create(&mut *self.write().await?, project, orphaned, definitions).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        projects::all(&self.readers).await
    }

    async fn project(&self, id: ProjectId) -> Result<Option<Project>> {
        projects::one(&self.readers, id).await
    }

    async fn create_group(&self, project: ProjectId, id: GroupId, name: &str, branch: &str) -> Result<()> {
        groups::create(&mut *self.write().await?, project, id, name, branch).await
    }

    async fn groups(&self, project: ProjectId) -> Result<Vec<Group>> {
        groups::all(&self.readers, project).await
    }

    async fn create_device(&self, device: &NewDevice) -> Result<()> {
        devices::create(&mut *self.write().await?, device).await
    }

    async fn devices(&self, project: ProjectId) -> Result<Vec<Device>> {
        devices::all(&self.readers, project).await
    }

    async fn device(&self, scope: Scope) -> Result<Option<Device>> {
        devices::one(&self.readers, scope).await
    }

    async fn device_settings(&self, scope: Scope) -> Result<Option<SettingsState>> {
        device_settings::one(&self.readers, scope).await
    }

    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>> {
        devices::credentials(&self.readers, device).await
    }

    async fn online_devices(&self) -> Result<Vec<Scope>> {
        devices::online(&self.readers).await
    }

    async fn change(
        &self,
        project: ProjectId,
        by: &Principal,
        change: Change,
        now: UnixMs,
    ) -> Result<Changed> {
        change::apply(&mut *self.write().await?, project, by, change, now).await
    }

    async fn audit(&self, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>> {
        audit::newest(&self.readers, project, before, limit).await
    }

    async fn limits(&self, project: ProjectId) -> Result<Option<Limits>> {
        usage::limits(&self.readers, project).await
    }

    async fn usage(&self, project: ProjectId, now: UnixMs) -> Result<Usage> {
        usage::usage(&self.readers, project, now).await
    }

    async fn hours(&self, project: ProjectId) -> Result<Vec<HourUsage>> {
        usage::hours(&self.readers, project).await
    }

    async fn erase_step(&self, now: UnixMs, limit: usize) -> Result<bool> {
        erase::step(&mut *self.write().await?, now, limit).await
    }

    async fn erase_device_step(&self, scope: Scope, limit: usize) -> Result<bool> {
        erase::device_step(&mut *self.write().await?, scope, limit).await
    }

    async fn drop_older(&self, scope: Scope, before: UnixMs, limit: usize) -> Result<u64> {
        erase::older(&mut *self.write().await?, scope, before, limit).await
    }

    async fn create_token(&self, hash: SecretHash, token: &Token) -> Result<()> {
        tokens::create(&mut *self.write().await?, hash, token).await
    }

    async fn token(&self, hash: SecretHash) -> Result<Option<Token>> {
        tokens::of_hash(&self.readers, hash).await
    }

    async fn token_by_id(&self, project: ProjectId, id: TokenId) -> Result<Option<Token>> {
        tokens::of_id(&self.readers, project, id).await
    }

    async fn tokens(&self, project: ProjectId) -> Result<Vec<Token>> {
        tokens::all(&self.readers, project).await
    }

    async fn touch_token(&self, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()> {
        tokens::touch(&mut *self.write().await?, project, id, now).await
    }

    async fn pair_codes(&self, project: ProjectId) -> Result<Vec<PairCode>> {
        devices::pair_codes(&self.readers, project).await
    }

    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>> {
        definitions::all(&self.readers, project).await
    }

    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>> {
        definitions::one(&self.readers, project, cmd_type).await
    }

    async fn branches(&self, project: ProjectId) -> Result<Vec<Branch>> {
        branches::all(&self.readers, project).await
    }

    async fn snippets(&self, project: ProjectId, branch: &str) -> Result<Option<Vec<Snippet>>> {
        snippets::all(&self.readers, project, branch).await
    }

    async fn revisions(
        &self,
        project: ProjectId,
        branch: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>> {
        branches::revisions(&self.readers, project, branch, before, limit).await
    }

    async fn revision(
        &self,
        project: ProjectId,
        branch: &str,
        number: u64,
    ) -> Result<Option<(Revision, Vec<Snippet>)>> {
        branches::one_revision(&self.readers, project, branch, number).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>> {
        ingest::apply(&mut *self.write().await?, &self.ids, &self.webhook_cache, writes).await
    }

    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64> {
        streams::upto(&self.readers, scope, stream).await
    }

    async fn scan(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>> {
        history::scan(&self.readers, scope, bounds, limit).await
    }

    async fn entry_sizes(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<EntrySize>> {
        history::sizes(&self.readers, scope, bounds, limit).await
    }

    async fn entries_between(
        &self,
        scope: Scope,
        newest: Cursor,
        oldest: Cursor,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        history::between(&self.readers, scope, newest, oldest, limit).await
    }

    async fn page_sizes(&self, scope: Scope, query: &PageQuery) -> Result<Vec<EntrySize>> {
        history::page_sizes(&self.readers, scope, query).await
    }

    async fn entries(&self, scope: Scope, keys: &[Cursor]) -> Result<Vec<StoredMessage>> {
        history::entries(&self.readers, scope, keys).await
    }

    async fn page(&self, scope: Scope, query: &PageQuery) -> Result<Vec<StoredMessage>> {
        history::page(&self.readers, scope, query).await
    }

    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>> {
        logs::newest(&self.readers, scope, limit).await
    }

    async fn create_command(
        &self,
        command: &NewCommand,
        key: Option<&Idempotency>,
        room: &CommandRoom,
    ) -> Result<Submitted> {
        commands::submit(&mut *self.write().await?, command, key, room).await
    }

    async fn submitted(&self, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>> {
        commands::submitted(&self.readers, scope, key).await
    }

    async fn open_totals(&self, project: ProjectId) -> Result<OpenTotals> {
        commands::open_totals(&self.readers, project).await
    }

    async fn forget_keys(&self, before: UnixMs) -> Result<u64> {
        commands::forget_keys(&mut *self.write().await?, before).await
    }

    async fn commands(&self, scope: Scope, query: &CommandQuery) -> Result<Vec<CommandRecord>> {
        commands::list(&self.readers, scope, query).await
    }

    async fn cancel_command(
        &self,
        scope: Scope,
        id: CommandId,
        now: UnixMs,
    ) -> Result<Option<CommandRecord>> {
        commands::cancel(&mut *self.write().await?, scope, id, now).await
    }

    async fn withdraw_command(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
        commands::withdraw(&mut *self.write().await?, scope, id, now).await
    }

    async fn command(&self, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>> {
        commands::one(&self.readers, scope, id).await
    }

    async fn open_commands(&self, scope: Scope) -> Result<Vec<CommandRecord>> {
        commands::open(&self.readers, scope).await
    }

    async fn open_page(
        &self,
        scope: Scope,
        after: Option<(UnixMs, CommandId)>,
        bytes: usize,
    ) -> Result<Vec<CommandRecord>> {
        commands::open_page(&self.readers, scope, after, bytes).await
    }

    async fn mark_sent(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
        commands::mark_sent(&mut *self.write().await?, scope, id, now).await
    }

    async fn expire_commands(&self, now: UnixMs) -> Result<u64> {
        commands::expire(&mut *self.write().await?, now, MAX_TTL_MS).await
    }

    async fn releases(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRelease>> {
        releases::all(&self.readers, project, before, limit).await
    }

    async fn one_release(&self, project: ProjectId, seq: u64) -> Result<Option<StoredRelease>> {
        releases::one(&self.readers, project, seq).await
    }

    async fn deployed(&self, project: ProjectId, group: GroupId, limit: usize) -> Result<Vec<StoredRelease>> {
        releases::deployed(&self.readers, project, group, limit).await
    }

    async fn rollouts(
        &self,
        project: ProjectId,
        group: Option<GroupId>,
        limit: usize,
    ) -> Result<Vec<Rollout>> {
        rollouts::newest(&self.readers, project, group, limit).await
    }

    async fn rollout(&self, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>> {
        rollouts::one(&self.readers, project, id).await
    }

    async fn active_rollouts(&self) -> Result<Vec<(ProjectId, RolloutId)>> {
        rollouts::active(&self.readers).await
    }

    async fn rollout_members(&self, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>> {
        rollout_devices::members(&self.readers, project, rollout).await
    }

    async fn save_rollout_step(&self, project: ProjectId, step: &RolloutStep, now: UnixMs) -> Result<bool> {
        rollout_devices::save_step(&mut *self.write().await?, project, step, now).await
    }

    async fn open_directive(&self, scope: Scope) -> Result<Option<Box<RawValue>>> {
        rollout_devices::open_directive(&self.readers, scope).await
    }

    async fn raise_counter(&self, scope: Scope, counter: u64) -> Result<()> {
        // Most hellos contain no higher counter; checking with a reader keeps the writer free.
        if rollout_devices::counter(&self.readers, scope).await? >= counter {
            return Ok(());
        }
        rollout_devices::raise_counter(&mut *self.write().await?, scope, counter).await
    }

    async fn note_heard(&self, project: ProjectId, rollout: RolloutId, at: u64) -> Result<()> {
        rollout_devices::heard(&mut *self.write().await?, project, rollout, at).await
    }

    async fn steady_clock(&self) -> Result<Option<u64>> {
        rollout_upkeep::clock(&self.readers).await
    }

    async fn advance_clock(&self, at: u64) -> Result<u64> {
        rollout_upkeep::advance(&mut *self.write().await?, at).await
    }

    async fn needed_releases(&self, project: ProjectId) -> Result<BTreeSet<u64>> {
        rollout_upkeep::needed(&self.readers, project).await
    }

    async fn tidy_rollouts(&self, project: ProjectId, limit: usize) -> Result<u64> {
        rollout_upkeep::tidy(&mut *self.write().await?, project, limit).await
    }

    async fn code_room(&self, project: ProjectId) -> Result<Option<CodeRoom>> {
        code_usage::room(&self.readers, project).await
    }

    async fn note_files(&self, project: ProjectId, bytes: u64) -> Result<()> {
        code_usage::set_files(&mut *self.write().await?, project, bytes).await
    }

    async fn unnamed_components(&self, project: ProjectId, names: Vec<String>) -> Result<Vec<String>> {
        code_usage::unnamed(&self.readers, project, names).await
    }

    async fn device_facts(&self, project: ProjectId, group: GroupId) -> Result<Vec<KnownFacts>> {
        rollout_devices::facts(&self.readers, project, group).await
    }

    async fn close(&self) {
        self.end().await;
    }
}

/// Returns `affected`, or an error when no row was affected: the thing must exist.
fn missing(affected: u64, what: &'static str, name: &dyn std::fmt::Display) -> Result<u64> {
    if affected == 0 {
        Err(StoreError::Missing {
            what,
            name: name.to_string(),
        })
    } else {
        Ok(affected)
    }
}

/// Returns an error when `count` has reached the limit.
fn full(count: i64, what: &'static str, max: i64) -> Result<()> {
    if count >= max {
        Err(StoreError::Full { what, max })
    } else {
        Ok(())
    }
}

/// Converts a violation of uniqueness into [`StoreError::Exists`].
fn taken(error: sqlx::Error, what: &'static str, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Exists {
            what,
            name: name.to_owned(),
        },
        _ => StoreError::Database(error),
    }
}
