//! Endpoints for the keys that sign a project's releases, and for the devices that trust them.

use iottly_cloud::releases::{PublishedRoot, RoleKey};
use iottly_cloud::rollout::{KeyRing, KeyStanding, RootPoint};
use iottly_core::model::Scopes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Answer;
use super::body::{JsonBody, JsonText};
use super::dto::{Date, OK};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Role of the keys that sign releases.
const RELEASES: &str = "targets";

/// Publication of a root.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RootPoint)]
pub struct RootPointDto {
    /// Version of the root.
    pub version: u64,
    /// Time of the publication; of a root that was not published through the API, as its expiry tells.
    pub at: Date,
    /// Name of the person or token that published it; missing for the cloud itself, and for a root that was not published
    /// through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Public key with what it signs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReleaseKey)]
pub struct KeyDto {
    /// Id of the key, in hex.
    pub key: String,
    /// Signature scheme, such as `ed25519`.
    pub scheme: String,
    /// Roles that the key signs for, or signed for last: `root`, `targets` (releases), `snapshot`, `timestamp`, `directive` (orders
    /// to install) or `developer` (orders of developer leases).
    pub roles: Vec<String>,
    /// First root that names the key.
    pub since: RootPointDto,
    /// First root that does not name the key any more; missing while devices trust the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<RootPointDto>,
    /// Number of releases that the key signed when they were published; missing for keys that sign no releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<usize>,
}

/// Root of a project's releases.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReleaseRoot)]
pub struct RootDto {
    /// Version of the root.
    pub version: u64,
    /// First moment at which the root is not valid any more.
    pub expires: String,
    /// Keys that the root names, by role.
    pub keys: Vec<KeyDto>,
}

/// Number of devices that trust one version of the root.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RootTrust)]
pub struct RootTrustDto {
    /// Version of the root; missing for devices that have not reported any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Number of devices.
    pub devices: usize,
}

/// Root and keys of a project.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The root, and the keys that it names.
    pub root: RootDto,
    /// Keys that devices do not trust any more once they have the root, newest first.
    pub former: Vec<KeyDto>,
    /// True if this cloud has the keys of root, and so can rotate and revoke. Otherwise the next root is proposed here, signed
    /// where the keys are, and published here.
    pub signs_roots: bool,
    /// Numbers of devices by the version of the root that they trust.
    pub devices: Vec<RootTrustDto>,
    /// Number of devices that do not trust the newest root yet. Each takes it up when it connects, or with its next update.
    pub behind: usize,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Role whose keys are to be replaced.
#[derive(Deserialize, ToSchema)]
pub(crate) struct RotateKeys {
    /// The role: `root`, `targets`, `snapshot`, `timestamp`, `directive` or `developer`.
    pub(crate) role: String,
}

/// Key that is to be revoked.
#[derive(Deserialize, ToSchema)]
pub(crate) struct RevokeKey {
    /// Id of the key, in hex.
    pub(crate) key: String,
}

/// A root with its signatures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedRoot {
    /// Signatures of the root's keys, old and new.
    #[schema(value_type = Vec<Object>)]
    pub signatures: Vec<Value>,
    /// The root.
    #[schema(value_type = Object)]
    pub signed: Value,
}

/// The next root of a project, without signatures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProposedRoot {
    /// The root, to be signed.
    pub root: SignedRoot,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Key of a role.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RoleKey)]
pub struct RoleKeyDto {
    /// The role.
    pub role: String,
    /// Id of the key, in hex.
    pub key: String,
}

/// A root that was published.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PublishedRoot)]
pub struct PublishedRootDto {
    /// Version of the root.
    pub version: u64,
    /// Keys that the root names and the one before did not.
    pub added: Vec<RoleKeyDto>,
    /// Keys that the root before named and this one does not.
    pub removed: Vec<RoleKeyDto>,
    /// Number of devices that do not trust the root yet.
    pub behind: usize,
    /// HTTP status: always 200.
    pub status: u16,
}

impl RootDto {
    /// Returns the ids of the keys that sign releases.
    pub(crate) fn release_keys(&self) -> impl Iterator<Item = &str> {
        let signing = self
            .keys
            .iter()
            .filter(|key| key.roles.iter().any(|role| role == RELEASES));
        signing.map(|key| key.key.as_str())
    }
}

impl From<RootPoint> for RootPointDto {
    fn from(point: RootPoint) -> Self {
        Self {
            version: point.version,
            at: point.at.into(),
            by: point.author,
        }
    }
}

impl From<KeyStanding> for KeyDto {
    fn from(key: KeyStanding) -> Self {
        Self {
            key: key.key,
            scheme: key.scheme,
            roles: key.roles,
            since: key.since.into(),
            until: key.until.map(Into::into),
            releases: key.releases,
        }
    }
}

impl From<KeyRing> for KeyList {
    fn from(ring: KeyRing) -> Self {
        let behind = ring.behind();
        let (present, former): (Vec<_>, Vec<_>) = ring.keys.into_iter().partition(|key| key.until.is_none());
        Self {
            root: RootDto {
                version: ring.root.header.version,
                expires: ring.root.header.expires.to_string(),
                keys: present.into_iter().map(Into::into).collect(),
            },
            former: former.into_iter().map(Into::into).collect(),
            signs_roots: ring.signs_roots,
            devices: ring
                .trust
                .into_iter()
                .map(|trust| RootTrustDto {
                    version: trust.version,
                    devices: trust.devices,
                })
                .collect(),
            behind,
            status: OK,
        }
    }
}

impl From<RoleKey> for RoleKeyDto {
    fn from(key: RoleKey) -> Self {
        Self {
            role: key.role,
            key: key.key,
        }
    }
}

/// Returns the keys of the caller's project.
pub(crate) async fn of(access: &ProjectAccess) -> Result<KeyList, ApiError> {
    Ok(access.services().rollouts.key_ring(access.id()).await?.into())
}

/// Returns the root of the project's releases with its public keys, the keys before them, and the devices that trust it.
///
/// A device runs a release only if the keys of `targets` have signed it.
#[utoipa::path(
    get,
    path = "/keys",
    tag = "releases",
    responses((status = 200, description = "The root and its keys", body = KeyList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<KeyList> {
    Ok(Spaced(of(&access).await?))
}

/// Replaces the keys of a role by new ones, in a new root (scope `admin`).
///
/// Devices take the root up when they connect, or with their next update, before they decide about a release. The keys of
/// `directive` are not replaced while rollouts are under way.
#[utoipa::path(
    post,
    path = "/keys/rotate",
    tag = "releases",
    request_body = RotateKeys,
    responses((status = 200, description = "The root that was published", body = PublishedRootDto))
)]
pub(crate) async fn rotate(
    access: ProjectAccess,
    JsonBody(body): JsonBody<RotateKeys>,
) -> Answer<PublishedRootDto> {
    access.require(Scopes::ADMIN)?;
    let rollouts = &access.services().rollouts;
    let published = rollouts.rotate_role(access.principal(), body.role).await?;
    answer(&access, published).await
}

/// Revokes a key, in a new root (scope `admin`).
///
/// Every device that trusts the new root refuses the signatures of the key. A role that has too few keys left gets a new one.
#[utoipa::path(
    post,
    path = "/keys/revoke",
    tag = "releases",
    request_body = RevokeKey,
    responses((status = 200, description = "The root that was published", body = PublishedRootDto))
)]
pub(crate) async fn revoke(
    access: ProjectAccess,
    JsonBody(body): JsonBody<RevokeKey>,
) -> Answer<PublishedRootDto> {
    access.require(Scopes::ADMIN)?;
    let rollouts = &access.services().rollouts;
    let published = rollouts.revoke_key(access.principal(), body.key).await?;
    answer(&access, published).await
}

/// Returns the next root without signatures, in which a new key takes over a role (scope `admin`).
///
/// For projects whose root keys are kept elsewhere: sign it there, then publish it. Nothing changes before.
#[utoipa::path(
    post,
    path = "/keys/propose",
    tag = "releases",
    request_body = RotateKeys,
    responses((status = 200, description = "The root to sign", body = ProposedRoot))
)]
pub(crate) async fn propose(
    access: ProjectAccess,
    JsonBody(body): JsonBody<RotateKeys>,
) -> Answer<ProposedRoot> {
    access.require(Scopes::ADMIN)?;
    let rollouts = &access.services().rollouts;
    let document = rollouts.propose_root(access.id(), body.role).await?;
    let root = serde_json::from_slice(&document).map_err(|error| ApiError::internal(&error))?;
    Ok(Spaced(ProposedRoot { root, status: OK }))
}

/// Publishes a root that was signed elsewhere (scope `admin`).
///
/// The root is verified as devices verify it: signed by the keys of the root before and by its own, with the next version.
/// A root under which this cloud could not sign is refused, and one with other directive keys while rollouts are under way.
#[utoipa::path(
    post,
    path = "/keys/publish",
    tag = "releases",
    request_body = SignedRoot,
    responses((status = 200, description = "The root that was published", body = PublishedRootDto))
)]
pub(crate) async fn publish(access: ProjectAccess, JsonText(document): JsonText) -> Answer<PublishedRootDto> {
    access.require(Scopes::ADMIN)?;
    let rollouts = &access.services().rollouts;
    let document = document.get().as_bytes().to_vec();
    let published = rollouts.publish_root(access.principal(), document).await?;
    answer(&access, published).await
}

async fn answer(access: &ProjectAccess, published: PublishedRoot) -> Answer<PublishedRootDto> {
    let trust = access.services().store.root_trust(access.id()).await?;
    let behind = trust
        .iter()
        .filter(|trust| trust.version.is_none_or(|version| version < published.version))
        .map(|trust| trust.devices)
        .sum();
    Ok(Spaced(PublishedRootDto {
        version: published.version,
        added: published.added.into_iter().map(Into::into).collect(),
        removed: published.removed.into_iter().map(Into::into).collect(),
        behind,
        status: OK,
    }))
}
