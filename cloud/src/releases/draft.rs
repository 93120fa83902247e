//! A release before its publication: the target and the manifest of a component. Reads and writes no file.

use std::collections::BTreeMap;

use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{
    AbiRange, CHUNK_BYTES, ChunkList, Component, DataSchema, ENGINE_FIELD, FIRMWARE_ABI, HealthRules,
    MANIFEST_KEY, MANIFEST_SCHEMA, Manifest, Release,
};
use iottly_protocol::tuf::{Instant, TargetFile, encode_hex};
use serde_json::json;

use super::ReleaseError;
use super::engine::{EngineDraft, OfferedEngine, engine_of};

/// Contents of a release to make.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// Branch; the first part of the target's path after `app/`.
    pub branch: String,
    /// Component of the release.
    pub content: Vec<u8>,
    /// Version, for people.
    pub version: String,
    /// Board profiles that the release is for; empty for all.
    pub boards: Vec<String>,
    /// Security floor; 0 for none.
    pub security_floor: u64,
    /// Capabilities that the component imports in addition to the basic ones.
    pub capabilities: Vec<String>,
    /// Rules by which the trial succeeds.
    pub health: HealthRules,
    /// Engine to offer beside a script, to devices that have none that fits.
    pub engine: Option<OfferedEngine>,
}

/// A release before publication.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) file: TargetFile,
    pub(super) list: ChunkList,
    /// Engine that the release names beside itself.
    pub(super) brought: Option<EngineDraft>,
    pub(super) release: Release,
}

impl Draft {
    pub(super) fn new(new: &NewRelease, release_seq: u64, now: Instant) -> Result<Self, ReleaseError> {
        if new.content.len() > MAX_COMPONENT_BYTES {
            return Err(ReleaseError::Input(format!(
                "{} bytes are over the limit of {MAX_COMPONENT_BYTES}",
                new.content.len()
            )));
        }
        if new.branch.is_empty() || new.branch.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ReleaseError::Input(format!(
                "{:?} is not a valid branch name",
                new.branch
            )));
        }
        let list = ChunkList::of(
            &new.content,
            usize::try_from(CHUNK_BYTES).expect("a mebibyte fits"),
        );
        let (engine, brought) = engine_of(&new.content, new.engine.as_ref())?;
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA,
            component: Component::App,
            version: new.version.clone(),
            release_seq,
            security_floor: new.security_floor,
            boards: new.boards.clone(),
            abi: AbiRange::of(FIRMWARE_ABI),
            chunk_size: CHUNK_BYTES,
            chunk_root: encode_hex(&list.root()),
            requires_free: 2 * new.content.len() as u64,
            capabilities: new.capabilities.clone(),
            data_schema: DataSchema::default(),
            health: new.health,
            critical: engine.iter().map(|_| ENGINE_FIELD.to_owned()).collect(),
            engine,
            created: now.unix(),
            extra: BTreeMap::new(),
        };
        let mut file = TargetFile::of(&new.content);
        file.custom = Some(json!({ MANIFEST_KEY: &manifest }));
        let path = format!("app/{}/{release_seq}.wasm", new.branch);
        let release = Release::from_target(&path, &file).map_err(ReleaseError::Input)?;
        Ok(Self {
            path,
            file,
            list,
            brought,
            release,
        })
    }
}
