//! Preflight of a release: which devices would accept it. Sends nothing.

use iottly_protocol::release::{DeviceFacts, Directive, Refusal, Release, admit_directive, admit_release};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use crate::model::KnownFacts;

/// Devices that would accept a release, judged by their reported facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Devices that would accept it.
    pub ready: Vec<DeviceId>,
    /// Devices that would refuse it, with the reason.
    pub refusals: Vec<(DeviceId, Refusal)>,
    /// Devices that have not reported any facts yet.
    pub unknown: Vec<DeviceId>,
}

impl Preflight {
    /// Adds what was found for further devices.
    pub fn add(&mut self, more: Self) {
        self.ready.extend(more.ready);
        self.refusals.extend(more.refusals);
        self.unknown.extend(more.unknown);
    }
}

/// Runs the devices' own verifier on the facts that each device has reported, before anything is sent.
///
/// `directive` makes the directive for a device with a sufficiently high counter.
#[must_use]
pub fn preflight(
    project: ProjectId,
    release: &Release,
    devices: &[KnownFacts],
    now: Instant,
    directive: impl Fn(DeviceId, u64) -> Directive,
) -> Preflight {
    let mut found = Preflight::default();
    for known in devices {
        let Some(facts) = &known.facts else {
            found.unknown.push(known.device);
            continue;
        };
        // Device and project are known to the cloud; reports about them are not trusted.
        let facts = DeviceFacts {
            device: known.device,
            project,
            ..facts.clone()
        };
        let directive = directive(known.device, facts.counter.saturating_add(1));
        let verdict = admit_directive(&directive, &facts, now)
            .and_then(|()| admit_release(&directive, release, &facts));
        match verdict {
            Ok(()) => found.ready.push(known.device),
            Err(refusal) => found.refusals.push((known.device, refusal)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use iottly_protocol::release::{Action, Audience, Component, MANIFEST_KEY, Reason};
    use iottly_protocol::tuf::TargetFile;
    use serde_json::json;

    use super::*;

    const NOW: Instant = Instant::from_unix(1_800_000_000);
    /// Facts as an agent of release 0.1 reports them.
    const FACTS_0_1: &str = r#"{"device":"00000000-0000-4000-8000-000000000002","project":"010101010101010101010101","board":"virtual","abi":"0.1.0","root_version":1,"counter":7,"running_seq":3,"running_sha256":"ab","floor":2,"free":1000000,"data_schema":1,"capabilities":[],"quarantined":[],"clock_trusted":true}"#;

    fn script() -> Release {
        let mut file = TargetFile::of(b"a script");
        file.custom = Some(json!({ MANIFEST_KEY: {
            "schema": 1, "component": "app", "version": "1", "release_seq": 4, "security_floor": 0,
            "abi": { "min": "0.1", "max": "0.1" }, "chunk_size": 1024, "chunk_root": "ab".repeat(32),
            "requires_free": 0, "engine": { "abi": "script 1" }, "created": 0, "critical": ["engine"],
        }}));
        Release::from_target("app/main/4.wasm", &file).expect("a release")
    }

    fn look(release: &Release, facts: DeviceFacts) -> Preflight {
        let project = facts.project;
        let known = KnownFacts {
            device: facts.device,
            name: String::new(),
            facts: Some(facts),
        };
        preflight(project, release, &[known], NOW, |device, counter| Directive {
            id: "d".into(),
            project,
            audience: Audience::Device(device),
            component: Component::App,
            action: Action::Install,
            target: release.path.clone(),
            sha256: release.sha256.clone(),
            release_seq: 4,
            counter,
            not_before: NOW,
            expires: NOW.plus(60),
            deadline_s: 60,
            max_bps: 0,
            window: None,
            force_retry: false,
            approved: Vec::new(),
            extra: BTreeMap::new(),
        })
    }

    #[test]
    fn a_device_whose_facts_name_no_engine_is_not_sent_a_script() {
        let old: DeviceFacts = serde_json::from_str(FACTS_0_1).expect("facts of 0.1");
        let mut new = old.clone();
        let found = look(&script(), old);
        let (_, refusal) = &found.refusals[0];
        assert_eq!(refusal.reason, Reason::Incompatible);
        assert!(
            refusal.detail.starts_with("engine: the script needs script 1"),
            "{}",
            refusal.detail
        );
        new.engines = serde_json::from_str(r#"[{"abi":"script 1","sha256":"ab"}]"#).expect("engines");
        assert_eq!(look(&script(), new).ready.len(), 1);
    }
}
