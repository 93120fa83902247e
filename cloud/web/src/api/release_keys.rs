//! Endpoint with the public keys that a project's devices trust.

use std::collections::BTreeMap;

use iottly_protocol::release::{developer_role, directive_role};
use iottly_protocol::tuf::{RoleKeys, Root};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answer;
use super::dto::OK;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Role of the keys that sign releases.
const RELEASES: &str = "targets";

/// Public key with what it signs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReleaseKey)]
pub struct KeyDto {
    /// Id of the key, in hex.
    pub key: String,
    /// Signature scheme, such as `ed25519`.
    pub scheme: String,
    /// Roles that the key signs for: `root`, `targets` (releases), `snapshot`, `timestamp`, `directive` (orders to install) or
    /// `developer` (orders of developer leases).
    pub roles: Vec<String>,
}

/// Root of a project's releases.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReleaseRoot)]
pub struct RootDto {
    /// Version of the root.
    pub version: u64,
    /// First moment at which the root is not valid any more.
    pub expires: String,
    /// Keys, by id.
    pub keys: Vec<KeyDto>,
}

/// Root and keys of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The root, and the keys that it names.
    pub root: RootDto,
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

impl From<Root> for RootDto {
    fn from(root: Root) -> Self {
        let mut roles: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let further = [
            ("directive", directive_role(&root)),
            ("developer", developer_role(&root)),
        ];
        let further: Vec<(&str, RoleKeys)> = further
            .into_iter()
            .filter_map(|(name, role)| Some((name, role?)))
            .collect();
        let named = root.roles.iter().map(|(name, role)| (name.as_str(), role));
        for (name, role) in named.chain(further.iter().map(|(name, role)| (*name, role))) {
            for id in &role.keyids {
                let of_key = roles.entry(id).or_default();
                if !of_key.iter().any(|known| known == name) {
                    of_key.push(name.to_owned());
                }
            }
        }
        let scheme = |id: &str| root.keys.get(id).map_or("", |key| &key.scheme);
        let keys = roles.iter().map(|(id, roles)| KeyDto {
            key: (*id).to_owned(),
            scheme: scheme(id).to_owned(),
            roles: roles.clone(),
        });
        Self {
            version: root.header.version,
            expires: root.header.expires.to_string(),
            keys: keys.collect(),
        }
    }
}

/// Returns the root of the caller's project.
pub(crate) async fn of(access: &ProjectAccess) -> Result<RootDto, ApiError> {
    let root = access.services().rollouts.current_root(access.id()).await;
    root.map(Into::into).map_err(|error| ApiError::internal(&error))
}

/// Returns the root of the project's releases with its public keys.
///
/// A device runs a release only if the keys of `targets` have signed it.
#[utoipa::path(
    get,
    path = "/keys",
    tag = "releases",
    responses((status = 200, description = "The root and its keys", body = KeyList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<KeyList> {
    Ok(Spaced(KeyList {
        root: of(&access).await?,
        status: OK,
    }))
}
