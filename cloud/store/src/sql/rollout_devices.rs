//! Devices of rollouts: the directives they were sent, and their reports.

use iottly_protocol::limits::clip;
use iottly_protocol::release::{DeviceFacts, Ending, Reason, Step, UpdateState};
use iottly_protocol::{
    DeviceId, FirmwareReport, FirmwareState, GroupId, Level, LogLine, ProjectId, UpdateReport,
};
use serde_json::value::RawValue;

use super::db::{self, Conn, Pool, Row};
use super::{audit, codec};
use crate::Result;
use iottly_core::model::{
    DirectiveStatus, KnownFacts, OutgoingDirective, Principal, RolloutId, RolloutStep, Scope, UnixMs,
};

/// Maximum length of the stored list of an update's steps, in characters.
const MAX_STEPS: i64 = 2000;
/// Maximum number of failures of a trial that are counted.
const MAX_FAULTS: i64 = 1_000_000;
/// Maximum length of the stored text of a failure, in bytes.
const MAX_FAULT_BYTES: usize = 500;

/// Reads what a device has reported about its directive.
pub(super) fn directive_status(row: &Row, id: String) -> Result<DirectiveStatus> {
    let heard: Option<i64> = codec::get(row, "heard")?;
    Ok(DirectiveStatus {
        id,
        counter: codec::unsigned(codec::get(row, "counter")?, "rollout_devices", "counter")?,
        sent: codec::get(row, "told")?,
        withdrawn: codec::get::<Option<i64>>(row, "withdrawn")?.is_some(),
        state: find_state(codec::get(row, "state")?)?,
        reason: find_reason(codec::get(row, "reason")?)?,
        detail: codec::get(row, "detail")?,
        failures: u32::try_from(codec::get::<i64>(row, "failures")?).unwrap_or(u32::MAX),
        changed: codec::get(row, "changed")?,
        heard: heard
            .map(|heard| codec::unsigned(heard, "rollout_devices", "heard"))
            .transpose()?,
        faults: u32::try_from(codec::get::<i64>(row, "faults")?).unwrap_or(u32::MAX),
        fault: codec::get(row, "fault")?,
        steps: steps(codec::get(row, "steps")?),
    })
}

fn unknown(field: &'static str, word: &str) -> crate::StoreError {
    codec::corrupt("rollout_devices", field, format!("unknown word {word:?}"))
}

/// Reads the state of an update.
pub(super) fn find_state(word: Option<&str>) -> Result<Option<UpdateState>> {
    word.map(|word| UpdateState::named(word).ok_or_else(|| unknown("state", word)))
        .transpose()
}

/// Reads the reason of a state.
pub(super) fn find_reason(word: Option<&str>) -> Result<Option<Reason>> {
    let find = |word: &str| Reason::ALL.iter().copied().find(|reason| reason.as_str() == word);
    word.map(|word| find(word).ok_or_else(|| unknown("reason", word)))
        .transpose()
}

/// Reads the states of an update with their times, without those that it does not know.
pub(super) fn steps(text: &str) -> Vec<(UpdateState, UnixMs)> {
    let step = |step: &str| {
        let (state, at) = step.split_once('@')?;
        Some((UpdateState::named(state)?, at.parse().ok()?))
    };
    text.split_whitespace().filter_map(step).collect()
}

/// Saves a decision before it is carried out. Returns false when the rollout changed after the decision.
pub(super) async fn save_step(
    connection: &mut Conn,
    project: ProjectId,
    step: &RolloutStep,
    now: UnixMs,
) -> Result<bool> {
    let mut tx = db::begin(connection).await?;
    let (soaked, soaked_at) = step.progress.soaking.unzip();
    let done = sqlx::query(
        "UPDATE rollouts SET halted = $4, soaked = $5, soaked_at = $6, status = $7, evidence = coalesce($8, evidence), active = $9, \
         version = version + 1, changed = $10, ended = coalesce($11, ended) WHERE project = $1 AND id = $2 AND version = $3",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&step.id))
    .bind(codec::signed(step.version))
    .bind(i64::from(step.progress.halted))
    .bind(soaked.map(codec::signed))
    .bind(soaked_at.map(codec::signed))
    .bind(step.status.as_str())
    .bind(step.evidence.as_deref().map(codec::text))
    .bind(i64::from(step.active))
    .bind(now)
    .bind(step.ended)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    for directive in &step.install {
        store_install(&mut tx, project, step, directive, now).await?;
    }
    for directive in &step.cancel {
        store_cancel(&mut tx, project, step, directive, now).await?;
    }
    // A group shows only its current rollout.
    sqlx::query(
        "UPDATE groups SET status = $4, revision = coalesce($5, revision) WHERE project = $1 AND id = $2 AND rollout = $3",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&step.group))
    .bind(codec::id(&step.id))
    .bind(step.status.as_str())
    .bind(step.revision.map(|revision| revision.to_string()))
    .execute(&mut *tx)
    .await?;
    if let Some(evidence) = step.evidence.as_ref().filter(|_| step.halts) {
        audit::append(
            &mut tx,
            project,
            &Principal::system(project, "cloud"),
            ("rollout.halt", step.id.to_string(), evidence.clone()),
            now,
        )
        .await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn store_install(
    tx: &mut Conn,
    project: ProjectId,
    step: &RolloutStep,
    directive: &OutgoingDirective,
    now: UnixMs,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO rollout_devices (project, rollout, device, directive, counter, told, failures, changed, steps) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $6, '') \
         ON CONFLICT (project, rollout, device) DO UPDATE SET directive = excluded.directive, counter = excluded.counter, \
         told = excluded.told, withdrawn = NULL, state = NULL, reason = NULL, detail = NULL, \
         changed = excluded.changed, heard = NULL, faults = 0, fault = NULL",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&step.id))
    .bind(codec::id(&directive.device))
    .bind(&directive.id)
    .bind(codec::signed(directive.counter))
    .bind(now)
    .execute(&mut *tx)
    .await?;
    store_document(tx, project, step, directive).await?;
    raise_counter(
        tx,
        Scope {
            project,
            device: directive.device,
        },
        directive.counter,
    )
    .await
}

/// Stores the document of a directive, or of its withdrawal; the row of the device exists.
async fn store_document(
    tx: &mut Conn,
    project: ProjectId,
    step: &RolloutStep,
    directive: &OutgoingDirective,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO rollout_documents (project, rollout, device, document) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (project, rollout, device) DO UPDATE SET document = excluded.document",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&step.id))
    .bind(codec::id(&directive.device))
    .bind(directive.document.get())
    .execute(tx)
    .await?;
    Ok(())
}

async fn store_cancel(
    tx: &mut Conn,
    project: ProjectId,
    step: &RolloutStep,
    directive: &OutgoingDirective,
    now: UnixMs,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE rollout_devices SET counter = $4, withdrawn = $5, changed = $5 \
         WHERE project = $1 AND rollout = $2 AND device = $3",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&step.id))
    .bind(codec::id(&directive.device))
    .bind(codec::signed(directive.counter))
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() > 0 {
        store_document(tx, project, step, directive).await?;
    }
    raise_counter(
        tx,
        Scope {
            project,
            device: directive.device,
        },
        directive.counter,
    )
    .await
}

/// Returns the highest counter of a directive to a device.
pub(super) async fn counter(pool: &Pool, scope: Scope) -> Result<u64> {
    let row = sqlx::query("SELECT directive_counter FROM devices WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(pool)
        .await?;
    let number = |row: Row| {
        codec::unsigned(
            codec::get(&row, "directive_counter")?,
            "devices",
            "directive_counter",
        )
    };
    row.map_or(Ok(0), number)
}

/// Raises the highest counter of a device; later directives get counters above it.
pub(super) async fn raise_counter(connection: &mut Conn, scope: Scope, counter: u64) -> Result<()> {
    sqlx::query(
        "UPDATE devices SET directive_counter = $3 WHERE project = $1 AND id = $2 AND directive_counter < $3",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::signed(counter))
    .execute(connection)
    .await?;
    Ok(())
}

/// Records a device's update report. Ignores reports for unknown directives and for updates that have ended.
pub(super) async fn reported(
    connection: &mut Conn,
    scope: Scope,
    report: &UpdateReport,
    now: UnixMs,
) -> Result<bool> {
    // It is unknown whether the device's or the cloud's clock is wrong; that is not a failure of the
    // release.
    let dates = matches!(report.reason, Some(Reason::Expired | Reason::Clock))
        && report.state == UpdateState::Ended(Ending::Rejected);
    let failed = report.state.is_ending() && report.state != UpdateState::Ended(Ending::Committed) && !dates;
    const { assert!(Ending::ALL.len() == 5, "a placeholder for each ending") };
    let update = sqlx::query(
        "UPDATE rollout_devices SET state = $4, reason = $5, detail = $6, failures = failures + $7, changed = $8, heard = NULL, \
         steps = CASE WHEN length(steps) < $9 THEN steps || $10 ELSE steps END \
         WHERE project = $1 AND device = $2 AND directive = $3 \
         AND (state IS NULL OR state NOT IN ($11, $12, $13, $14, $15))",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::text(&report.directive).into_owned())
    .bind(report.state.as_str())
    .bind(report.reason.map(Reason::as_str))
    .bind(report.detail.as_deref().map(|detail| codec::text(detail).into_owned()))
    .bind(i64::from(failed))
    .bind(now)
    .bind(MAX_STEPS)
    .bind(format!("{}@{now} ", report.state));
    let endings = Ending::ALL.iter();
    let done = endings
        .fold(update, |update, ending| update.bind(ending.as_str()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Records the time of the reports that the executor had not noticed yet.
pub(super) async fn heard(
    connection: &mut Conn,
    project: ProjectId,
    rollout: RolloutId,
    at: u64,
) -> Result<()> {
    sqlx::query(
        "UPDATE rollout_devices SET heard = $3 WHERE project = $1 AND rollout = $2 AND heard IS NULL",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&rollout))
    .bind(codec::signed(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Rules for the text of a failure beside a text that is known already.
#[derive(Debug, Clone, Copy)]
enum FaultText {
    Replaces,
    Fills,
}

/// Counts failures of a firmware on trial; ignored without a trial.
async fn count_faults(
    tx: &mut Conn,
    scope: Scope,
    failures: usize,
    (text, rule): (&str, FaultText),
) -> Result<()> {
    let sql = match rule {
        FaultText::Replaces => {
            "UPDATE rollout_devices SET faults = faults + $3, fault = $4 \
             WHERE project = $1 AND device = $2 AND state = $6 AND faults < $5"
        }
        FaultText::Fills => {
            "UPDATE rollout_devices SET faults = faults + $3, fault = COALESCE(fault, $4) \
             WHERE project = $1 AND device = $2 AND state = $6 AND faults < $5"
        }
    };
    sqlx::query(sql)
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(i64::try_from(failures).unwrap_or(i64::MAX).min(MAX_FAULTS))
        .bind(codec::text(clip(text, MAX_FAULT_BYTES)).into_owned())
        .bind(MAX_FAULTS)
        .bind(Step::Trial.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// Counts the errors among log lines as failures of the trial. Their text is shown until the firmware stops:
/// the report of a stop names the reason, and arrives on another stream, before or after its log line.
pub(super) async fn faults(tx: &mut Conn, scope: Scope, lines: &[LogLine]) -> Result<()> {
    let errors: Vec<&LogLine> = lines.iter().filter(|line| line.level == Level::Error).collect();
    match errors.last() {
        Some(last) => count_faults(tx, scope, errors.len(), (&last.text, FaultText::Fills)).await,
        None => Ok(()),
    }
}

/// Counts a stop of the firmware as a failure of the trial.
pub(super) async fn stopped(tx: &mut Conn, scope: Scope, report: &FirmwareReport) -> Result<()> {
    if !matches!(
        report.state,
        FirmwareState::Restarting | FirmwareState::Quarantined
    ) {
        return Ok(());
    }
    let text = report.detail.as_deref().unwrap_or("the firmware stopped");
    count_faults(tx, scope, 1, (text, FaultText::Replaces)).await
}

/// Stores the facts that decide which releases a device accepts.
pub(super) async fn set_facts(connection: &mut Conn, scope: Scope, facts: &DeviceFacts) -> Result<()> {
    let text = serde_json::to_string(facts).expect("facts have string keys and serialize without failing");
    sqlx::query("UPDATE devices SET facts = $3, root_version = $4 WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::text(&text).into_owned())
        // Before their first update, earlier agents report 0 and trust the first root.
        .bind(codec::signed(facts.root_version.max(1)))
        .execute(&mut *connection)
        .await?;
    raise_counter(connection, scope, facts.counter).await
}

pub(super) async fn facts(
    pool: &Pool,
    project: ProjectId,
    group: GroupId,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<KnownFacts>> {
    let after = after.map(|id| codec::id(&id).to_vec()).unwrap_or_default();
    let rows = sqlx::query(
        "SELECT id, name, facts FROM devices WHERE project = $1 AND group_id = $2 AND id > $3 ORDER BY id LIMIT $4",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&group))
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let known = |row: &Row| {
        let facts = codec::get::<Option<&str>>(row, "facts")?;
        Ok(KnownFacts {
            device: DeviceId::from_bytes(codec::bytes(row, "devices", "id")?),
            name: codec::get(row, "name")?,
            facts: facts
                .map(|text| codec::json(text, "devices", "facts"))
                .transpose()?,
        })
    };
    rows.iter().map(known).collect()
}

/// Returns the newest directive to a device, unless the device has reported its end or its rollout is over.
pub(super) async fn open_directive(pool: &Pool, scope: Scope) -> Result<Option<Box<RawValue>>> {
    let row = sqlx::query(
        "SELECT t.document, r.state, r.withdrawn, o.active FROM rollout_devices r \
         JOIN rollout_documents t ON t.project = r.project AND t.rollout = r.rollout AND t.device = r.device \
         JOIN rollouts o ON o.project = r.project AND o.id = r.rollout \
         WHERE r.project = $1 AND r.device = $2 ORDER BY r.counter DESC LIMIT 1",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state = codec::get::<Option<&str>>(&row, "state")?.and_then(UpdateState::named);
    let ended = state.is_some_and(UpdateState::is_ending);
    let withdrawn = codec::get::<Option<i64>>(&row, "withdrawn")?.is_some();
    if ended || !(withdrawn || codec::get::<i64>(&row, "active")? == 1) {
        return Ok(None);
    }
    codec::raw(&row, "rollout_documents", "document").map(Some)
}
