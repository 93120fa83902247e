//! Script engines in a repository: which one a component needs, and engines as targets beside the releases that need
//! them. Runs no script.

use iottly_manifest::{Script, ScriptError};
use iottly_protocol::release::{
    CHUNK_BYTES, ChunkList, ENGINE_KEY, EngineManifest, EngineNeed, EngineTarget, Release,
};
use iottly_protocol::tuf::{TargetFile, Targets, encode_hex};
use serde::Deserialize as _;
use serde_json::json;

use super::{ReleaseError, ReleaseRepository, files};

/// Script engine that a repository offers to devices that have none that fits.
#[derive(Debug, Clone)]
pub struct OfferedEngine {
    /// Name of what scripts can rely on.
    pub abi: String,
    /// The engine.
    pub content: &'static [u8],
}

/// Engine as a target, before its publication.
pub(super) struct EngineDraft {
    target: EngineTarget,
    file: TargetFile,
    list: ChunkList,
    content: &'static [u8],
}

/// Returns the script engine that a component needs, and the offered one if it fits.
pub(super) fn engine_of(
    component: &[u8],
    offered: Option<&OfferedEngine>,
) -> Result<(Option<EngineNeed>, Option<EngineDraft>), ReleaseError> {
    let mut need = needed_engine(component)?;
    let draft = need
        .as_mut()
        .zip(offered)
        .and_then(|(need, offered)| EngineDraft::beside(need, offered));
    Ok((need, draft))
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

impl EngineDraft {
    /// Names an engine in a script's need, if it fits.
    fn beside(need: &mut EngineNeed, offered: &OfferedEngine) -> Option<Self> {
        let list = ChunkList::of(
            offered.content,
            usize::try_from(CHUNK_BYTES).expect("a mebibyte fits"),
        );
        let mut file = TargetFile::of(offered.content);
        let manifest = EngineManifest {
            abi: offered.abi.clone(),
            chunk_size: CHUNK_BYTES,
            chunk_root: encode_hex(&list.root()),
        };
        file.custom = Some(json!({ ENGINE_KEY: manifest }));
        let sha256 = file.hashes.get("sha256")?.clone();
        let fits = offered.abi == need.abi && need.exact.as_ref().is_none_or(|exact| *exact == sha256);
        if !fits {
            return None;
        }
        let target = EngineTarget {
            path: format!("engine/{}.wasm", &sha256[..16]),
            sha256,
            size: file.length,
        };
        need.target = Some(target.clone());
        Some(Self {
            target,
            file,
            list,
            content: offered.content,
        })
    }

    /// Adds the engine to the targets to be signed.
    pub(super) fn list_in(&self, targets: &mut Targets) {
        targets
            .targets
            .insert(self.target.path.clone(), self.file.clone());
    }

    /// Writes the files of the engine.
    pub(super) fn write(&self, repository: &ReleaseRepository) -> Result<(), ReleaseError> {
        let chunks = repository
            .path
            .join("targets/chunks")
            .join(encode_hex(&self.list.root()));
        files::replace(
            &repository.served(&self.target.path, &self.file),
            self.content,
            0o644,
        )?;
        files::replace(&chunks, &self.list.encode(), 0o644)
    }
}

/// Returns the root over the parts of a target that is an engine.
pub(super) fn engine_chunk_root(file: &TargetFile) -> Option<String> {
    let custom = file.custom.as_ref()?.get(ENGINE_KEY)?;
    Some(EngineManifest::deserialize(custom).ok()?.chunk_root)
}

/// Removes the engines that no release names any more.
pub(super) fn forget_engines(targets: &mut Targets) {
    let named: Vec<String> = targets
        .targets
        .iter()
        .filter_map(|(path, file)| Release::from_target(path, file).ok())
        .filter_map(|release| Some(release.manifest.engine?.target?.path))
        .collect();
    targets
        .targets
        .retain(|path, file| engine_chunk_root(file).is_none() || named.contains(path));
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use iottly_protocol::release::{ENGINE_FIELD, HealthRules};
    use iottly_protocol::tuf::{Instant, sha256_hex};

    use super::super::prune::files_below;
    use super::super::{KeyFolder, Lifetimes, NewRelease};
    use super::*;

    const NOW: Instant = Instant::from_unix(1_800_000_000);
    const ENGINE: OfferedEngine = OfferedEngine {
        abi: String::new(),
        content: b"an engine",
    };

    fn script(abi: &str, exact: Option<String>) -> Vec<u8> {
        let script = Script {
            engine: abi.to_owned(),
            exact,
            files: BTreeMap::from([("main.js".to_owned(), String::new())]),
            sections: Vec::new(),
        };
        script.component("name = \"test\"").expect("a script")
    }

    fn release(content: Vec<u8>, abi: Option<&str>) -> NewRelease {
        NewRelease {
            branch: "main".to_owned(),
            content,
            version: "1".to_owned(),
            boards: Vec::new(),
            security_floor: 0,
            capabilities: Vec::new(),
            health: HealthRules::default(),
            engine: abi.map(|abi| OfferedEngine {
                abi: abi.to_owned(),
                ..ENGINE
            }),
        }
    }

    fn repository(dir: &std::path::Path) -> (ReleaseRepository, KeyFolder) {
        let repository = ReleaseRepository::new(&dir.join("repository"), Lifetimes::default());
        let keys = KeyFolder::new(&dir.join("keys"), None);
        repository.init(&keys, 1, NOW).expect("repository");
        (repository, keys)
    }

    #[test]
    fn a_release_names_the_engine_of_its_script_as_critical() {
        let dir = tempfile::tempdir().expect("dir");
        let (repository, keys) = repository(dir.path());
        let add = |new: &NewRelease| {
            let added = repository.add(new, &keys, NOW).expect("added");
            repository.release(&added.path).expect("a release").manifest
        };
        let exact = "AB".repeat(32);
        let manifest = add(&release(script("script 1", Some(exact.clone())), None));
        assert_eq!(manifest.critical, [ENGINE_FIELD]);
        let need = manifest.engine.expect("an engine");
        assert_eq!(
            (need.abi.as_str(), need.exact, need.target),
            ("script 1", Some(exact.to_lowercase()), None)
        );
        let manifest = add(&release(b"\0asm\x0d\0\x01\0".to_vec(), Some("script 1")));
        assert_eq!((manifest.engine, manifest.critical), (None, Vec::new()));
        let both = [script("script 1", None), b"\x01\x01\0".to_vec()].concat();
        assert!(matches!(
            repository.add(&release(both, None), &keys, NOW),
            Err(ReleaseError::Input(_))
        ));
    }

    #[test]
    fn an_engine_is_a_target_while_a_release_names_it() {
        let dir = tempfile::tempdir().expect("dir");
        let (repository, keys) = repository(dir.path());
        let add = |new: &NewRelease| repository.add(new, &keys, NOW).expect("added");
        let other = add(&release(script("script 2", None), Some("script 1")));
        assert_eq!(
            repository
                .release(&other.path)
                .expect("a release")
                .manifest
                .engine,
            Some(EngineNeed::of("script 2")),
            "an engine that does not fit is not offered"
        );
        let added = add(&release(script("script 1", None), Some("script 1")));
        let need = repository
            .release(&added.path)
            .expect("a release")
            .manifest
            .engine;
        let target = need.expect("an engine").target.expect("a target");
        assert_eq!(target.sha256, sha256_hex(ENGINE.content));
        assert_eq!(repository.content(&target.path).expect("served"), ENGINE.content);
        repository.sweep().expect("swept");
        assert_eq!(repository.content(&target.path).expect("served"), ENGINE.content);
        let files = || {
            let mut files = 0;
            files_below(&repository.path.join("targets"), &mut |_| files += 1).expect("read");
            files
        };
        let before = files();
        // Another release without it, and the one that names it is forgotten.
        add(&release(script("script 1", None), None));
        repository
            .forget(1, &BTreeSet::new(), &keys, NOW)
            .expect("forgotten");
        repository.sweep().expect("swept");
        assert!(repository.content(&target.path).is_err());
        assert!(files() < before, "its parts went with it");
    }
}
