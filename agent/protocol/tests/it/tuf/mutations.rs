//! Documents with bytes changed, removed and repeated at random: nothing panics, and what is still accepted
//! has the same content.

use iottly_protocol::release::{ChunkList, Directive, Release};
use iottly_protocol::tuf::{Schemes, TargetFile, Trusted, canonical};
use proptest::prelude::*;
use serde_json::Value;

use super::repo::NOW;
use super::scenario::{Scenario, TARGET};

/// Change to some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (any::<usize>(), 1usize..40).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<usize>(), 1usize..40).prop_map(|(at, len)| Change::Repeat(at, len)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = bytes.len().max(1);
        match change {
            Change::Flip(at, bits) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= bits;
                }
            }
            Change::Remove(at, count) => drop(bytes.drain(at % len..(at % len + count).min(bytes.len()))),
            Change::Repeat(at, count) => {
                let at = (at % len).min(bytes.len());
                let part = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Insert(at, new) => {
                let at = (at % len).min(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
    bytes
}

/// Returns the signed part in its canonical form.
fn signed(bytes: &[u8]) -> Vec<u8> {
    let document: Value = serde_json::from_slice(bytes).expect("json");
    canonical(document["signed"].to_string().as_bytes()).expect("canonical")
}

thread_local! {
    static SCENARIO: Scenario = Scenario::new();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn metadata_that_was_changed_is_refused_or_says_the_same(changes in prop::collection::vec(change(), 1..4)) {
        SCENARIO.with(|scenario| -> Result<(), TestCaseError> {
            let root = scenario.repo.bytes("root");
            let mut trusted = Trusted::new(&root, NOW, Schemes::ED25519).expect("trusted");
            let mutant = changed(root.clone(), &changes);
            if Trusted::new(&mutant, NOW, Schemes::ED25519).is_ok() {
                prop_assert_eq!(signed(&mutant), signed(&root));
            }
            prop_assert!(trusted.update_root(&mutant).is_err());
            let timestamp = scenario.repo.bytes("timestamp");
            let mutant = changed(timestamp.clone(), &changes);
            if trusted.update_timestamp(&mutant).is_ok() {
                prop_assert_eq!(signed(&mutant), signed(&timestamp));
            }
            let _ = trusted.update_timestamp(&timestamp);
            let snapshot = scenario.repo.bytes("snapshot");
            let mutant = changed(snapshot.clone(), &changes);
            if trusted.update_snapshot(&mutant).is_ok() {
                prop_assert_eq!(signed(&mutant), signed(&snapshot));
            }
            trusted.update_snapshot(&snapshot).expect("the real one");
            let targets = scenario.repo.bytes("targets");
            let mutant = changed(targets.clone(), &changes);
            if trusted.update_targets(&mutant, "targets", "root").is_ok() {
                prop_assert_eq!(signed(&mutant), signed(&targets));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_directive_that_was_changed_is_refused_or_says_the_same(changes in prop::collection::vec(change(), 1..4)) {
        SCENARIO.with(|scenario| -> Result<(), TestCaseError> {
            let document = scenario.signed_directive();
            let mutant = changed(document.clone(), &changes);
            if let Ok(directive) = Directive::verify(&mutant, &scenario.repo.root, Schemes::ED25519) {
                prop_assert_eq!(&directive, &scenario.directive);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_manifest_that_was_changed_makes_a_sound_release_or_none(changes in prop::collection::vec(change(), 1..4)) {
        SCENARIO.with(|scenario| {
            let file = scenario.repo.targets["targets"].targets[TARGET].clone();
            let mutant = changed(serde_json::to_vec(&file).expect("json"), &changes);
            if let Ok(file) = serde_json::from_slice::<TargetFile>(&mutant)
                && let Ok(release) = Release::from_target(TARGET, &file)
            {
                let last = release.chunk_count() - 1;
                let (from, len) = release.chunk_range(last);
                assert_eq!(from + len, release.size);
            }
        });
    }

    #[test]
    fn any_bytes_are_a_list_of_parts_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(list) = ChunkList::decode(&bytes) {
            prop_assert_eq!(list.encode(), bytes);
            let _ = list.root();
        }
    }
}
