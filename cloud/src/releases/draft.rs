//! A release before its publication: the target and the manifest of a component. Reads and writes no file.

use std::collections::BTreeMap;

use iottly_manifest::{Script, ScriptError};
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use iottly_protocol::release::{
    AbiRange, CHUNK_BYTES, ChunkList, Component, DataSchema, ENGINE_FIELD, EngineNeed, FIRMWARE_ABI,
    HealthRules, MANIFEST_KEY, MANIFEST_SCHEMA, Manifest, Release,
};
use iottly_protocol::tuf::{Instant, TargetFile, encode_hex};
use serde_json::json;

use super::ReleaseError;

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
}

/// A release before publication.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) file: TargetFile,
    pub(super) list: ChunkList,
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
        let engine = needed_engine(&new.content)?;
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
            release,
        })
    }
}

/// Returns the script engine that a component needs; none if it has code of its own.
fn needed_engine(component: &[u8]) -> Result<Option<EngineNeed>, ReleaseError> {
    match Script::extract(component) {
        Ok(script) => Ok(script.map(|script| EngineNeed {
            abi: script.engine,
            exact: script.exact.map(|digest| digest.to_ascii_lowercase()),
            target: None,
        })),
        // A repository may hold other files than components; devices refuse those.
        Err(ScriptError::Section(_)) => Ok(None),
        Err(error) => Err(ReleaseError::Input(error.to_string())),
    }
}
