//! A device with a release to take, and the fixtures on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use iottly_protocol::release::{
    AbiRange, Action, Audience, ChunkList, Component, DataSchema, DeviceFacts, Directive, HealthRules,
    MANIFEST_KEY, MANIFEST_SCHEMA, Manifest, ROLES_KEY, Reason, Release, admit_directive, admit_release,
};
use iottly_protocol::tuf::{Client, Instant, RoleKeys, Schemes, TargetFile, encode_hex, quote};
use iottly_protocol::{DeviceId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::repo::{DAY, Kept, NOW, Repo, Server, ids, key, public};

pub(crate) const TARGET: &str = "app/main/5.wasm";

pub(crate) fn directive_key() -> iottly_protocol::tuf::SigningKey {
    key(5)
}

/// Device that runs release 4 and has a directive to install release 5.
pub(crate) struct Scenario {
    pub(crate) repo: Repo,
    pub(crate) kept: Kept,
    pub(crate) facts: DeviceFacts,
    pub(crate) directive: Directive,
    pub(crate) signers: Vec<iottly_protocol::tuf::SigningKey>,
    pub(crate) content: Vec<u8>,
    pub(crate) now: Instant,
    pub(crate) endless: Option<String>,
    /// Document in place of the signed directive.
    pub(crate) raw_directive: Option<Vec<u8>>,
}

pub(crate) fn manifest(content: &[u8], release_seq: u64) -> Manifest {
    Manifest {
        schema: MANIFEST_SCHEMA,
        component: Component::App,
        version: format!("1.{release_seq}"),
        release_seq,
        security_floor: 3,
        boards: vec!["virtual".into()],
        abi: AbiRange {
            min: "0.1".into(),
            max: "0.1".into(),
        },
        chunk_size: 1024,
        chunk_root: encode_hex(&ChunkList::of(content, 1024).root()),
        requires_free: 10_000,
        capabilities: vec!["gpio".into()],
        data_schema: DataSchema::default(),
        health: HealthRules::default(),
        engine: None,
        created: NOW.unix(),
        critical: vec![],
        extra: BTreeMap::new(),
    }
}

impl Scenario {
    pub(crate) fn new() -> Self {
        let mut repo = Repo::new();
        let signers = vec![directive_key()];
        repo.root.keys.extend(public(&signers));
        repo.root.extra.insert(
            ROLES_KEY.into(),
            json!({"directive": RoleKeys::new(ids(&signers), 1)}),
        );
        repo.publish(&["root"]);
        let content: Vec<u8> = (0..3000u32).flat_map(u32::to_be_bytes).collect();
        let mut scenario = Self {
            kept: repo.enrolled(),
            facts: facts(),
            directive: directive(&content),
            signers,
            content,
            now: NOW,
            endless: None,
            raw_directive: None,
            repo,
        };
        scenario.repo.publish_all();
        scenario
            .repo
            .refresh(&scenario.kept)
            .expect("the device is up to date");
        scenario.release(|_| {});
        scenario
    }

    /// Publishes the release with a changed manifest.
    pub(crate) fn release(&mut self, change: impl FnOnce(&mut Manifest)) {
        let mut manifest = manifest(&self.content, 5);
        change(&mut manifest);
        let content = self.content.clone();
        self.repo.add_target("targets", TARGET, &content);
        let file = self
            .repo
            .targets
            .get_mut("targets")
            .expect("role")
            .targets
            .get_mut(TARGET)
            .expect("target");
        file.custom = Some(json!({ MANIFEST_KEY: manifest }));
        self.repo.publish_all();
    }

    pub(crate) fn signed_directive(&self) -> Vec<u8> {
        let signed = || {
            self.directive
                .sign(&self.signers.iter().collect::<Vec<_>>())
                .expect("signed")
        };
        self.raw_directive.clone().unwrap_or_else(signed)
    }

    /// Returns the fixture's files by name.
    pub(crate) fn files(&self, why: &str, expect: Reason) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let case = Case {
            why: why.to_owned(),
            expect,
            now: self.now.to_string().parse().expect("a moment"),
            endless: self.endless.clone(),
            facts: self.facts.clone(),
        };
        files.insert(
            "case.json".to_owned(),
            serde_json::to_vec_pretty(&case).expect("json"),
        );
        files.insert("directive.json".to_owned(), self.signed_directive());
        for (role, bytes) in self.kept.0.borrow().iter() {
            files.insert(format!("trusted/{}.json", quote(role)), bytes.clone());
        }
        let served = self.repo.server.0.borrow();
        for (name, bytes) in &served.metadata {
            files.insert(format!("metadata/{name}"), bytes.clone());
        }
        for (name, bytes) in &served.blobs {
            files.insert(format!("targets/{}", quote(name)), bytes.clone());
        }
        files
    }
}

pub(crate) fn facts() -> DeviceFacts {
    DeviceFacts {
        device: DeviceId::from_bytes([7; 16]),
        project: ProjectId::from_bytes([8; 12]),
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: 2,
        counter: 40,
        running_seq: 4,
        running_sha256: "44".repeat(32),
        floor: 3,
        free: 1 << 20,
        data_schema: 1,
        capabilities: vec!["gpio".into(), "i2c".into()],
        quarantined: vec![],
        clock_trusted: true,
        engines: Vec::new(),
    }
}

pub(crate) fn directive(content: &[u8]) -> Directive {
    Directive {
        id: "d-1".into(),
        project: ProjectId::from_bytes([8; 12]),
        audience: Audience::Device(DeviceId::from_bytes([7; 16])),
        component: Component::App,
        action: Action::Install,
        target: TARGET.into(),
        sha256: TargetFile::of(content).hashes["sha256"].clone(),
        release_seq: 5,
        counter: 41,
        not_before: NOW,
        expires: NOW.plus(DAY),
        deadline_s: 3600,
        max_bps: 0,
        window: None,
        force_retry: false,
        approved: vec![],
        extra: BTreeMap::new(),
    }
}

/// Content of a fixture's `case.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) why: String,
    pub(crate) expect: Reason,
    pub(crate) now: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endless: Option<String>,
    pub(crate) facts: DeviceFacts,
}

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/data/attacks")
        .join(name)
}

/// Performs a device's checks in its order, with nothing but the fixture's files.
pub(crate) fn attempt(dir: &Path) -> (Case, Result<Vec<u8>, (Reason, String)>) {
    let read = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let case: Case = serde_json::from_slice(&read("case.json")).expect("case");
    let kept = Kept::default();
    let server = Server::default();
    let entries = |folder: &str| -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(dir.join(folder))
            .expect("folder")
            .map(|entry| entry.expect("entry"));
        entries
            .map(|entry| {
                (
                    entry.file_name().into_string().expect("utf-8"),
                    fs::read(entry.path()).expect("file"),
                )
            })
            .collect()
    };
    for (name, bytes) in entries("trusted") {
        kept.0
            .borrow_mut()
            .insert(name.trim_end_matches(".json").to_owned(), bytes);
    }
    server.0.borrow_mut().metadata.extend(entries("metadata"));
    server.0.borrow_mut().blobs.extend(
        entries("targets")
            .into_iter()
            .map(|(name, bytes)| (name.replace("%2F", "/"), bytes)),
    );
    server.0.borrow_mut().endless.extend(case.endless.clone());
    let outcome = take(&case, kept, server, &read("directive.json"));
    (case, outcome)
}

fn take(case: &Case, kept: Kept, server: Server, directive: &[u8]) -> Result<Vec<u8>, (Reason, String)> {
    let tuf = |e: iottly_protocol::tuf::TufError| (e.reason(), e.to_string());
    let mut client = Client::open(server, kept, case.now, Schemes::ED25519).map_err(tuf)?;
    client.refresh().map_err(tuf)?;
    let directive = Directive::verify(directive, client.trusted().root(), Schemes::ED25519)
        .map_err(|e| (e.reason(), e.to_string()))?;
    admit_directive(&directive, &case.facts, case.now).map_err(|refusal| (refusal.reason, refusal.detail))?;
    let located = client.find(&directive.target).map_err(tuf)?;
    let release =
        Release::from_target(&located.path, &located.file).map_err(|e| (Reason::Incompatible, e))?;
    admit_release(&directive, &release, &case.facts).map_err(|refusal| (refusal.reason, refusal.detail))?;
    let mut reader = client.open_target(&located).map_err(tuf)?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer).map_err(tuf)? {
            0 => break,
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
    reader.finish().map_err(tuf)?;
    Ok(content)
}
