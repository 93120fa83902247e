//! Enrolment: decides and applies in one transaction.

use async_trait::async_trait;
use iottly_protocol::enroll::{DeviceKey, PairCode, ProvenEnrollment, SealingKey};
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::db::{self, Conn};
use super::{Backend, audit, codec, copies, device_secrets, devices, enrolment_keys, groups};
use crate::write_turns::Lane;
use crate::{Enrolment, EnrolmentStore, Grant, NewDevice, NewSecret, Result, StoreError};
use iottly_core::enrol::{
    Admission, Decision, Facts, KeyFacts, Named, Owner, PairCodeFacts, Refusal, RenewalRefusal, decide,
    decide_legacy,
};
use iottly_core::model::{
    Approval, DeviceCopy, DeviceIdentity, EnrolmentKey, Principal, Scope, SecretHash, UnixMs,
};

/// Name of the requester in audit entries about enrolment.
const BOARD: &str = "board";

/// Selects the devices of ephemeral keys that were without a connection for longer than their keys allow at $1. A device
/// that was never online counts from its enrolment.
macro_rules! abandoned {
    () => {
        "SELECT k.project, k.device FROM device_keys k JOIN devices d ON d.project = k.project AND d.id = k.device \
         WHERE k.ephemeral_ms IS NOT NULL AND d.online = false \
         AND CASE WHEN d.online_since > k.enrolled THEN d.online_since ELSE k.enrolled END + k.ephemeral_ms <= $1"
    };
}

#[async_trait]
impl EnrolmentStore for Backend {
    async fn enrol(
        &self,
        request: &ProvenEnrollment,
        code: Option<SecretHash>,
        grant: &Grant,
        now: UnixMs,
    ) -> Result<std::result::Result<Enrolment, Refusal>> {
        let _turn = self.turns.take(Lane::Enrolment).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // Read twice: the first time to know which project to lock.
        let project = match (request.code(), named(&mut tx, request, code).await?) {
            (_, Some(named)) => named.project(),
            (Some(_), None) => return Ok(Err(Refusal::Unknown)),
            // A board that was approved has a device without ever having had a code.
            (None, None) => match owner(&mut tx, request.device_key()).await? {
                Some(owner) => owner.scope.project,
                None => return Ok(Ok(Enrolment::Waiting(None))),
            },
        };
        sqlx::query(db::LOCK_PROJECT)
            .bind(codec::id(&project))
            .fetch_optional(&mut *tx)
            .await?;
        let named = named(&mut tx, request, code).await?;
        let shown = named.as_ref().map_or_else(|| "without a code".to_owned(), shown);
        let facts = Facts {
            named,
            owner: owner(&mut tx, request.device_key()).await?,
            previous: match request.previous() {
                Some(key) => owner(&mut tx, key).await?.map(|owner| owner.scope),
                None => None,
            },
        };
        let by = Principal::system(project, BOARD);
        let admission = match decide(request, facts, now) {
            Ok(Decision::Admit(admission)) => admission,
            Ok(Decision::Wait(key)) => return Ok(Ok(Enrolment::Waiting(key))),
            Err(refusal) => {
                let entry = (
                    "device.enrol_refused",
                    shown,
                    format!("{refusal}; from {}", grant.from),
                );
                // A flood of refused requests fills the log up to its limit, and no further.
                if audit::admit(&mut tx, project, entry.0, now).await.is_ok() {
                    audit::append(&mut tx, project, &by, entry, now).await?;
                }
                tx.commit().await?;
                return Ok(Err(refusal));
            }
        };
        let scope = match apply(&mut tx, request, &admission, grant, now).await {
            // Another transaction has given the key to a device meanwhile.
            Err(StoreError::Exists { what: KEY, .. }) => return Ok(Err(Refusal::KeyTaken)),
            applied => applied?,
        };
        let detail = format!("{}; {shown}; from {}", kind(&admission), grant.from);
        let entry = ("device.enrol", scope.device.to_string(), detail);
        audit::append(&mut tx, project, &by, entry, now).await?;
        tx.commit().await?;
        Ok(Ok(Enrolment::Admitted(scope, admission)))
    }

    async fn device_of_key(&self, key: DeviceKey) -> Result<Option<Scope>> {
        let row = sqlx::query("SELECT project, device FROM device_keys WHERE device_key = $1")
            .bind(&key.as_bytes()[..])
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref()
            .map(|row| codec::scope(row, "device_keys", "device"))
            .transpose()
    }

    async fn device_of_code(&self, code: PairCode) -> Result<Option<Scope>> {
        let row = sqlx::query("SELECT project, device FROM licences WHERE code = $1")
            .bind(code.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref()
            .map(|row| codec::scope(row, "licences", "device"))
            .transpose()
    }

    async fn upgrade_device(
        &self,
        device: DeviceId,
        secret: SecretHash,
        request: &ProvenEnrollment,
        grant: &Grant,
        now: UnixMs,
    ) -> Result<std::result::Result<Scope, Refusal>> {
        let _turn = self.turns.take(Lane::Enrolment).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // Read twice: the first time to know which project to lock.
        let Some(scope) = of_legacy(&mut tx, device, secret).await? else {
            return Ok(Err(Refusal::Unknown));
        };
        sqlx::query(db::LOCK_PROJECT)
            .bind(codec::id(&scope.project))
            .fetch_optional(&mut *tx)
            .await?;
        if of_legacy(&mut tx, device, secret).await? != Some(scope) {
            return Ok(Err(Refusal::Unknown));
        }
        let owner = owner(&mut tx, request.device_key()).await?;
        let admission = match decide_legacy(scope, owner) {
            Ok(admission) => admission,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match apply(&mut tx, request, &admission, grant, now).await {
            Err(StoreError::Exists { what: KEY, .. }) => return Ok(Err(Refusal::KeyTaken)),
            applied => applied?,
        };
        let detail = format!("{}; from {}", kind(&admission), grant.from);
        let by = Principal::system(scope.project, BOARD);
        let entry = ("device.enrol", scope.device.to_string(), detail);
        audit::append(&mut tx, scope.project, &by, entry, now).await?;
        tx.commit().await?;
        Ok(Ok(scope))
    }

    async fn device_identity(&self, device: DeviceId) -> Result<Option<DeviceIdentity>> {
        let query = sqlx::query(
            "SELECT project, device, device_key, sealing_key, hardware, profile, enrolled FROM device_keys \
             WHERE device = $1 AND project = (SELECT project FROM devices WHERE id = $1)",
        );
        let row = query
            .bind(codec::id(&device))
            .fetch_optional(&self.readers)
            .await?;
        let identity = |row: &db::Row| {
            Ok(DeviceIdentity {
                scope: codec::scope(row, "device_keys", "device")?,
                device_key: DeviceKey::from_bytes(codec::bytes(row, "device_keys", "device_key")?),
                sealing_key: SealingKey::from_bytes(codec::bytes(row, "device_keys", "sealing_key")?),
                hardware: codec::get(row, "hardware")?,
                profile: codec::get(row, "profile")?,
                enrolled: codec::get(row, "enrolled")?,
            })
        };
        row.as_ref().map(identity).transpose()
    }

    async fn login_secrets(&self, device: DeviceId, now: UnixMs) -> Result<Option<(Scope, Vec<SecretHash>)>> {
        device_secrets::valid(&self.readers, device, now).await
    }

    async fn renew_secret(
        &self,
        scope: Scope,
        key: DeviceKey,
        secret: &NewSecret,
        now: UnixMs,
    ) -> Result<std::result::Result<(), RenewalRefusal>> {
        let _turn = self.turns.take(Lane::Project(scope.project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let renewed = device_secrets::renew(&mut tx, scope, key, secret, now).await?;
        tx.commit().await?;
        Ok(renewed)
    }

    async fn enrolment_keys(&self, project: ProjectId) -> Result<Vec<EnrolmentKey>> {
        enrolment_keys::all(&self.readers, project).await
    }

    async fn abandoned_devices(&self, now: UnixMs, limit: usize) -> Result<Vec<Scope>> {
        let rows = sqlx::query(concat!(abandoned!(), " ORDER BY k.project, k.device LIMIT $2"))
            .bind(now)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| codec::scope(row, "device_keys", "device"))
            .collect()
    }

    async fn device_copies(&self) -> Result<Vec<(Scope, DeviceCopy)>> {
        copies::all(&self.readers).await
    }

    async fn put_copies(&self, scope: Scope, copies: &[DeviceCopy]) -> Result<()> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        copies::put(&mut tx, scope, copies).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn cloud_key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let mut writer = self.write().await?;
        sqlx::query("INSERT INTO cloud_keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(&fresh[..])
            .execute(&mut *writer)
            .await?;
        let row = sqlx::query("SELECT value FROM cloud_keys WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *writer)
            .await?;
        codec::bytes(&row, "cloud_keys", "value")
    }
}

/// Returns true if a device is still abandoned.
pub(super) async fn is_abandoned(tx: &mut Conn, scope: Scope, now: UnixMs) -> Result<bool> {
    let row = sqlx::query(concat!(abandoned!(), " AND k.project = $2 AND k.device = $3"))
        .bind(now)
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(tx)
        .await?;
    Ok(row.is_some())
}

/// Kind of thing whose uniqueness a key violates.
const KEY: &str = "device key";

/// Returns the pair code or the enrolment key that a request names.
async fn named(tx: &mut Conn, request: &ProvenEnrollment, hash: Option<SecretHash>) -> Result<Option<Named>> {
    let (Some(code), Some(hash)) = (request.code(), hash) else {
        return Ok(None);
    };
    let row = sqlx::query("SELECT project, device, expires, paired FROM licences WHERE code = $1")
        .bind(code.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(row) = row {
        let paired: Option<UnixMs> = codec::get(&row, "paired")?;
        return Ok(Some(Named::PairCode(PairCodeFacts {
            scope: codec::scope(&row, "licences", "device")?,
            expires: codec::get(&row, "expires")?,
            used: paired.is_some(),
        })));
    }
    Ok(enrolment_keys::by_hash(tx, hash).await?.map(Named::Key))
}

/// Returns the device that has this id and, as a device of release 0.1, this secret.
async fn of_legacy(tx: &mut Conn, device: DeviceId, secret: SecretHash) -> Result<Option<Scope>> {
    if secret == device_secrets::NONE {
        return Ok(None);
    }
    let row = sqlx::query("SELECT project, id FROM devices WHERE id = $1 AND secret = $2")
        .bind(codec::id(&device))
        .bind(&secret.0[..])
        .fetch_optional(tx)
        .await?;
    row.as_ref()
        .map(|row| codec::scope(row, "devices", "id"))
        .transpose()
}

/// Returns a code as the audit log shows it: never the code.
fn shown(named: &Named) -> String {
    match named {
        Named::PairCode(code) => format!("pair code of {}", code.scope.device),
        Named::Key(key) => format!("enrolment key {}", key.key),
    }
}

fn kind(admission: &Admission) -> &'static str {
    match admission {
        Admission::Pair(_) => "paired",
        Admission::Again(_) => "asked again",
        Admission::Rekey(_) => "made new keys",
        Admission::Create(_) => "created",
        Admission::Fetch(_) => "fetched its first secret",
        Admission::Upgrade(_) => "got its first key",
    }
}

async fn owner(tx: &mut Conn, key: DeviceKey) -> Result<Option<Owner>> {
    let query = sqlx::query(
        "SELECT k.project, k.device, k.enrolled, EXISTS (SELECT 1 FROM device_secrets s WHERE s.project = k.project \
         AND s.device = k.device) AS has_secret FROM device_keys k WHERE k.device_key = $1",
    );
    let row = query.bind(&key.as_bytes()[..]).fetch_optional(tx).await?;
    row.as_ref()
        .map(|row| {
            Ok(Owner {
                scope: codec::scope(row, "device_keys", "device")?,
                enrolled: codec::get(row, "enrolled")?,
                has_secret: codec::get(row, "has_secret")?,
            })
        })
        .transpose()
}

async fn apply(
    tx: &mut Conn,
    request: &ProvenEnrollment,
    admission: &Admission,
    grant: &Grant,
    now: UnixMs,
) -> Result<Scope> {
    let (scope, ephemeral) = match admission {
        Admission::Pair(scope) => {
            sqlx::query("UPDATE licences SET paired = $3 WHERE project = $1 AND device = $2")
                .bind(codec::id(&scope.project))
                .bind(codec::id(&scope.device))
                .bind(now)
                .execute(&mut *tx)
                .await?;
            (*scope, None)
        }
        // Keys and place stay; only the secret is new.
        Admission::Again(scope) | Admission::Fetch(scope) => {
            device_secrets::replace(tx, *scope, &grant.secret, now).await?;
            return Ok(*scope);
        }
        Admission::Rekey(scope) => (*scope, ephemeral(tx, *scope).await?),
        Admission::Upgrade(scope) => {
            put_keys(tx, *scope, request, None, now).await?;
            device_secrets::replace(tx, *scope, &grant.secret, now).await?;
            return Ok(*scope);
        }
        Admission::Create(key) => {
            let scope = Scope {
                project: key.project,
                device: grant.device,
            };
            let group = group(tx, key).await?;
            create(tx, request, scope, None, group).await?;
            of_key(tx, scope, key).await?;
            (scope, key.ephemeral_ms)
        }
    };
    put_keys(tx, scope, request, ephemeral, now).await?;
    device_secrets::replace(tx, scope, &grant.secret, now).await?;
    clear_secret(tx, scope, request).await?;
    Ok(scope)
}

/// Adds the device of a board that a person approves. It has no secret until its board asks again.
pub(super) async fn approve(
    tx: &mut Conn,
    project: ProjectId,
    approval: &Approval,
    now: UnixMs,
) -> Result<u64> {
    let (request, device) = (&approval.request, approval.device);
    let scope = Scope { project, device };
    let key = match approval.key {
        Some(hash) => {
            let known = enrolment_keys::by_hash(tx, hash).await?;
            let own = known.filter(|key| key.project == project);
            Some(own.ok_or_else(|| StoreError::Missing {
                what: "enrolment key",
                name: "of the board".to_owned(),
            })?)
        }
        None => None,
    };
    let group = match (approval.group, &key) {
        (None, Some(key)) => group(tx, key).await?,
        (named, _) => groups::or_orphaned(tx, project, named).await?,
    };
    create(tx, request, scope, approval.name.clone(), group).await?;
    if let Some(key) = &key {
        super::full(
            codec::signed(key.uses),
            "devices of this enrolment key",
            codec::signed(key.max_uses),
        )?;
        of_key(tx, scope, key).await?;
    }
    put_keys(tx, scope, request, key.and_then(|key| key.ephemeral_ms), now).await?;
    clear_secret(tx, scope, request).await?;
    Ok(1)
}

/// Ends the secret that a device had before its enrolment, and notes what its board says.
async fn clear_secret(tx: &mut Conn, scope: Scope, request: &ProvenEnrollment) -> Result<()> {
    let board = request.board();
    // The secret from before the enrolment ends, too: no text has a hash of zeros.
    sqlx::query("UPDATE devices SET secret = $3, mac = coalesce($4, mac) WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(&device_secrets::NONE.0[..])
        .bind(board.mac.as_deref())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Creates a device for a board: with this name, or the one that the board wants.
async fn create(
    tx: &mut Conn,
    request: &ProvenEnrollment,
    scope: Scope,
    name: Option<String>,
    group: GroupId,
) -> Result<()> {
    devices::admit(tx, scope.project).await?;
    let id = scope.device.to_string();
    let name = name
        .or_else(|| request.board().name.clone())
        .unwrap_or_else(|| format!("board {}", &id[..8]));
    let device = NewDevice {
        scope,
        name,
        group,
        secret: device_secrets::NONE,
    };
    devices::create(tx, &device).await
}

/// Gives a new device the tags of its enrolment key, and counts it.
async fn of_key(tx: &mut Conn, scope: Scope, key: &KeyFacts) -> Result<()> {
    devices::update(tx, scope.project, scope.device, None, None, Some(&key.tags)).await?;
    enrolment_keys::count(tx, key).await
}

/// Returns the group of a key's devices; `_orphaned` if the group was deleted.
async fn group(tx: &mut Conn, key: &KeyFacts) -> Result<GroupId> {
    match groups::or_orphaned(tx, key.project, key.group).await {
        Err(StoreError::Missing { .. }) => groups::or_orphaned(tx, key.project, None).await,
        found => found,
    }
}

async fn ephemeral(tx: &mut Conn, scope: Scope) -> Result<Option<UnixMs>> {
    let row = sqlx::query("SELECT ephemeral_ms FROM device_keys WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(tx)
        .await?;
    Ok(row
        .map(|row| codec::get(&row, "ephemeral_ms"))
        .transpose()?
        .flatten())
}

async fn put_keys(
    tx: &mut Conn,
    scope: Scope,
    request: &ProvenEnrollment,
    ephemeral_ms: Option<UnixMs>,
    now: UnixMs,
) -> Result<()> {
    sqlx::query("DELETE FROM device_keys WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .execute(&mut *tx)
        .await?;
    let ((sealing, proof), board) = (request.sealing(), request.board());
    sqlx::query(
        "INSERT INTO device_keys (project, device, device_key, sealing_key, sealing_proof, hardware, profile, enrolled, \
         ephemeral_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(&request.device_key().as_bytes()[..])
    .bind(&sealing.as_bytes()[..])
    .bind(&proof.as_bytes()[..])
    .bind(board.hardware.as_deref())
    .bind(&board.profile)
    .bind(now)
    .bind(ephemeral_ms)
    .execute(tx)
    .await
    .map_err(|error| super::taken(error, KEY, &request.device_key().to_string()))?;
    Ok(())
}
