//! JSON types for enrolment.

use iottly_core::model::{EnrolmentKey, EnrolmentKeyId, UnixMs};
use iottly_protocol::enroll::{
    BoardFacts, Challenge, EnrollRequest, Enrolled, LegacyRequest, Previous, RenewedSecret, SecretRequest,
};
use iottly_protocol::{DeviceId, GroupId, ProjectId, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, OK};
use crate::error::ApiError;

/// Request of a board for a place in a project. A field that the cloud does not know is ignored.
#[derive(Deserialize, ToSchema)]
pub(crate) struct EnrollBody {
    /// Pair code or enrolment key: 32 hex digits. Without one the board waits for a person's approval.
    #[serde(default)]
    code: Option<String>,
    /// Public ed25519 key of the device: 64 hex digits.
    device_key: String,
    /// Public X25519 key of the device: 64 hex digits.
    sealing_key: String,
    /// Signature of the device key over the sealing key: 128 hex digits.
    sealing_proof: String,
    /// Properties of the board.
    #[serde(default)]
    board: Option<BoardBody>,
    /// Earlier key of the same device, which then keeps its id under an enrolment key.
    #[serde(default)]
    previous: Option<PreviousBody>,
    /// Signature of the device key over the request: 128 hex digits.
    proof: String,
}

/// Short code that a person has typed on a board.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ShortCodeBody {
    /// Eight digits such as `7K3M-9PQX`.
    pub(crate) short_code: String,
}

/// Pair code that a short code stands for.
#[derive(Serialize, ToSchema)]
#[schema(as = PairCodeOfShortCode)]
pub(crate) struct PairCodeDto {
    /// The code: 32 hex digits.
    #[schema(value_type = String)]
    pub(crate) pair_code: Secret,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Properties of a board, as it states them.
#[derive(Deserialize, ToSchema)]
#[schema(as = BoardFacts)]
struct BoardBody {
    /// Name that the board wants: 1 to 128 bytes. Devices of an enrolment key get it.
    name: Option<String>,
    /// MAC address, such as `00:00:5E:00:53:01`.
    mac: Option<String>,
    /// Hash of the serial number or machine id: 64 hex digits.
    hardware: Option<String>,
    /// Board profile: up to 64 bytes.
    #[serde(default)]
    profile: String,
    /// Version of the agent: up to 64 bytes.
    #[serde(default)]
    agent: String,
}

/// Earlier key of a device.
#[derive(Deserialize, ToSchema)]
#[schema(as = PreviousKey)]
struct PreviousBody {
    /// The key: 64 hex digits.
    device_key: String,
    /// Signature of the earlier key over the new key and the code: 128 hex digits.
    proof: String,
}

/// Parses a field; the error names it and not its value.
fn field<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error| ApiError::invalid("invalid_body", format!("{name}: {error}")))
}

fn facts(board: BoardBody) -> BoardFacts {
    BoardFacts {
        name: board.name,
        mac: board.mac,
        hardware: board.hardware,
        profile: board.profile,
        agent: board.agent,
    }
}

impl TryFrom<EnrollBody> for EnrollRequest {
    type Error = ApiError;

    fn try_from(body: EnrollBody) -> Result<Self, ApiError> {
        let previous = |previous: PreviousBody| {
            Ok::<_, ApiError>(Previous {
                device_key: field("previous.device_key", &previous.device_key)?,
                proof: field("previous.proof", &previous.proof)?,
            })
        };
        Ok(Self {
            code: body.code.map(|code| field("code", &code)).transpose()?,
            device_key: field("device_key", &body.device_key)?,
            sealing_key: field("sealing_key", &body.sealing_key)?,
            sealing_proof: field("sealing_proof", &body.sealing_proof)?,
            board: body.board.map(facts).unwrap_or_default(),
            previous: body.previous.map(previous).transpose()?,
            proof: field("proof", &body.proof)?,
        })
    }
}

/// Request of a device of release 0.1 to be known by a key.
#[derive(Deserialize, ToSchema)]
pub(crate) struct LegacyBody {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device_id: DeviceId,
    /// Secret of its broker login.
    #[schema(value_type = String)]
    secret: Secret,
    /// Public ed25519 key of the device: 64 hex digits.
    device_key: String,
    /// Public X25519 key of the device: 64 hex digits.
    sealing_key: String,
    /// Signature of the device key over the sealing key: 128 hex digits.
    sealing_proof: String,
    /// Properties of the board.
    #[serde(default)]
    board: Option<BoardBody>,
    /// Signature of the device key over the request: 128 hex digits.
    proof: String,
}

impl TryFrom<LegacyBody> for LegacyRequest {
    type Error = ApiError;

    fn try_from(body: LegacyBody) -> Result<Self, ApiError> {
        Ok(Self {
            device_id: body.device_id,
            secret: body.secret,
            keys: EnrollRequest {
                code: None,
                device_key: field("device_key", &body.device_key)?,
                sealing_key: field("sealing_key", &body.sealing_key)?,
                sealing_proof: field("sealing_proof", &body.sealing_proof)?,
                board: body.board.map(facts).unwrap_or_default(),
                previous: None,
                proof: field("proof", &body.proof)?,
            },
        })
    }
}

/// Place of a board in a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnrolledDto {
    /// State of the request: `enrolled`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device_id: DeviceId,
    /// Project of the device.
    #[schema(value_type = String)]
    project_id: ProjectId,
    /// Group of the device.
    #[schema(value_type = String, format = "uuid")]
    group_id: GroupId,
    /// Name of the device.
    name: String,
    /// Secret of the broker login.
    #[schema(value_type = String)]
    secret: Secret,
    /// Validity of the secret in milliseconds.
    valid_ms: u64,
    /// Time of the cloud in Unix milliseconds.
    time: UnixMs,
    /// Root metadata of the project's releases that the device trusts first, as JSON text.
    root: String,
    /// HTTP status: always 200.
    status: u16,
}

impl From<Enrolled> for EnrolledDto {
    fn from(enrolled: Enrolled) -> Self {
        Self {
            state: "enrolled",
            device_id: enrolled.device_id,
            project_id: enrolled.project_id,
            group_id: enrolled.group_id,
            name: enrolled.name,
            secret: enrolled.login.secret,
            valid_ms: enrolled.login.valid_ms,
            time: enrolled.login.time,
            root: enrolled.root,
            status: OK,
        }
    }
}

/// Request for a challenge.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ChallengeBody {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) device_id: DeviceId,
}

/// Challenge for a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChallengeDto {
    /// Challenge, valid for a minute: 112 hex digits.
    #[schema(value_type = String)]
    pub(crate) challenge: Challenge,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Request for a new secret.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SecretBody {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device_id: DeviceId,
    /// Challenge that was given to this device.
    challenge: String,
    /// Signature of the device key over both: 128 hex digits.
    proof: String,
}

impl TryFrom<SecretBody> for SecretRequest {
    type Error = ApiError;

    fn try_from(body: SecretBody) -> Result<Self, ApiError> {
        Ok(Self {
            device_id: body.device_id,
            challenge: field("challenge", &body.challenge)?,
            proof: field("proof", &body.proof)?,
        })
    }
}

/// New secret of a broker login. The former one is valid for ten minutes more.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretDto {
    /// Secret of the broker login.
    #[schema(value_type = String)]
    secret: Secret,
    /// Validity of the secret in milliseconds.
    valid_ms: u64,
    /// Time of the cloud in Unix milliseconds.
    time: UnixMs,
    /// HTTP status: always 200.
    status: u16,
}

impl From<RenewedSecret> for SecretDto {
    fn from(renewed: RenewedSecret) -> Self {
        Self {
            secret: renewed.secret,
            valid_ms: renewed.valid_ms,
            time: renewed.time,
            status: OK,
        }
    }
}

/// Enrolment key to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEnrolmentKey)]
pub(crate) struct NewEnrolmentKeyBody {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Maximum number of devices: 1 to 100,000.
    pub(crate) max_uses: u64,
    /// Expiry in Unix milliseconds; by default the key does not expire.
    #[schema(value_type = Option<i64>)]
    pub(crate) expires: Option<UnixMs>,
    /// Id of the deployment group of the devices; `_orphaned` by default.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
    /// Tags of the devices: 32 at most.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Hours without a connection after which a device of the key is deleted: 1 to 8,760; by default devices stay.
    pub(crate) ephemeral_hours: Option<u32>,
    /// True if a person has to approve each board; false by default.
    #[serde(default)]
    pub(crate) waiting: bool,
}

/// Enrolment key without its text.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = EnrolmentKey)]
pub struct EnrolmentKeyDto {
    /// Id of the key.
    #[schema(value_type = String, format = "uuid")]
    pub id: EnrolmentKeyId,
    /// Name of the key.
    pub name: String,
    /// First characters of the key's text, by which people distinguish keys.
    pub prefix: String,
    /// Creation time.
    pub created: Date,
    /// Time at which the key expires; null for never.
    pub expires: Option<Date>,
    /// Number of devices that were created with the key.
    pub uses: u64,
    /// Maximum number of devices.
    pub max_uses: u64,
    /// Id of the deployment group of the devices; null for `_orphaned`.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Tags of the devices.
    pub tags: Vec<String>,
    /// Hours without a connection after which a device of the key is deleted; null for never.
    pub ephemeral_hours: Option<i64>,
    /// True if a person has to approve each board.
    pub waiting: bool,
}

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: UnixMs = 60 * 60 * 1000;

impl From<EnrolmentKey> for EnrolmentKeyDto {
    fn from(key: EnrolmentKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            created: key.created.into(),
            expires: key.expires.map(Into::into),
            uses: key.uses,
            max_uses: key.max_uses,
            deployment_group: key.group,
            tags: key.tags,
            ephemeral_hours: key.ephemeral_ms.map(|ms| ms / HOUR_MS),
            waiting: key.waiting,
        }
    }
}

/// Enrolment keys of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct EnrolmentKeyList {
    /// Keys, without their texts, oldest first.
    pub enrolment_keys: Vec<EnrolmentKeyDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// New enrolment key with its text.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedEnrolmentKey {
    /// Text of the key: 32 hex digits; shown only here.
    #[schema(value_type = String)]
    pub enrolment_key: Secret,
    /// Address, key and fingerprint in one string, for `iottly-agent enroll`; left out if the cloud has no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Secret>,
    /// The key.
    #[serde(flatten)]
    pub about: EnrolmentKeyDto,
    /// HTTP status: always 200.
    pub status: u16,
}
