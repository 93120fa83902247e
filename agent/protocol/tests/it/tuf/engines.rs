//! Admission of scripts: the device has the engine that a script needs, takes it with the release, or refuses by name.

use iottly_protocol::release::{
    DeviceFacts, ENGINE_FIELD, ENGINE_KEY, EngineFact, EngineManifest, EngineNeed, EngineTarget,
    MANIFEST_KEY, Reason, Refusal, Release, admit_release,
};
use iottly_protocol::tuf::TargetFile;
use serde_json::json;

use super::scenario::{directive, facts, manifest};

const CONTENT: &[u8] = b"a script";

fn engine(abi: &str, digit: &str) -> EngineFact {
    EngineFact {
        abi: abi.to_owned(),
        sha256: digit.repeat(64),
    }
}

fn offered(size: u64) -> EngineTarget {
    EngineTarget {
        path: "engine/2.wasm".into(),
        sha256: "2".repeat(64),
        size,
    }
}

fn parsed(need: EngineNeed) -> Result<Release, String> {
    let mut manifest = manifest(CONTENT, 5);
    manifest.engine = Some(need);
    manifest.critical = vec![ENGINE_FIELD.to_owned()];
    let mut file = TargetFile::of(CONTENT);
    file.custom = Some(json!({ MANIFEST_KEY: manifest }));
    Release::from_target("app/main/5.wasm", &file)
}

/// Judges a script on a device with these engines.
fn judge(need: EngineNeed, engines: Vec<EngineFact>, free: u64) -> Result<(), Refusal> {
    let release = parsed(need).expect("a release");
    let facts = DeviceFacts {
        engines,
        free,
        ..facts()
    };
    admit_release(&directive(CONTENT), &release, &facts)
}

fn refused(need: EngineNeed, engines: Vec<EngineFact>) -> (Reason, String) {
    let refusal = judge(need, engines, 1 << 20).expect_err("refused");
    (refusal.reason, refusal.detail)
}

#[test]
fn a_script_runs_on_any_engine_of_its_name_unless_it_names_a_digest() {
    let have = vec![engine("script 2", "b"), engine("script 1", "a")];
    assert_eq!(judge(EngineNeed::of("script 1"), have.clone(), 1 << 20), Ok(()));
    let exact = |digit: &str| EngineNeed {
        exact: Some(digit.repeat(64)),
        ..EngineNeed::of("script 1")
    };
    assert_eq!(judge(exact("A"), have.clone(), 1 << 20), Ok(()));
    let (reason, detail) = refused(exact("b"), have);
    assert_eq!(reason, Reason::Incompatible);
    assert!(
        detail.contains("script 1 with the digest bbb")
            && detail.ends_with("the device has script 2, script 1"),
        "{detail}"
    );
}

#[test]
fn a_device_without_the_engine_refuses_by_its_name() {
    assert_eq!(
        refused(EngineNeed::of("script 2"), vec![engine("script 1", "a")]),
        (
            Reason::Incompatible,
            "engine: the script needs script 2, the device has script 1".to_owned()
        )
    );
    assert_eq!(
        refused(EngineNeed::of("script 1"), vec![]),
        (
            Reason::Incompatible,
            "engine: the script needs script 1, and the agent runs no scripts of this kind".to_owned()
        )
    );
}

#[test]
fn an_engine_beside_the_release_is_taken_by_devices_that_run_scripts_and_lack_it() {
    let need = |size| EngineNeed {
        target: Some(offered(size)),
        ..EngineNeed::of("script 2")
    };
    let have = vec![engine("script 1", "a")];
    assert_eq!(judge(need(50_000), have.clone(), 60_000), Ok(()));
    let refusal = judge(need(50_000), have.clone(), 59_999).expect_err("no room");
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::NoSpace, "60000 bytes are needed, 59999 are free"),
        "the engine's bytes count"
    );
    assert_eq!(
        refused(need(50_000), vec![]).0,
        Reason::Incompatible,
        "an agent without engines cannot take one"
    );
    assert_eq!(need(9).to_take(&have), Some(&offered(9)));
    assert_eq!(need(9).to_take(&[engine("script 2", "c")]), None, "it has one");
}

#[test]
fn a_need_that_contradicts_itself_is_no_release() {
    let with = |target| EngineNeed {
        target: Some(target),
        ..EngineNeed::of("script 1")
    };
    let long = "x".repeat(65);
    for (need, text) in [
        (EngineNeed::of(""), "engine.abi"),
        (EngineNeed::of(long), "engine.abi"),
        (EngineNeed::of("script\n1"), "engine.abi"),
        (with(offered(0)), "engine.target has 0 bytes"),
        (with(offered(u64::MAX)), "the limit is"),
        (
            with(EngineTarget {
                sha256: "22".into(),
                ..offered(9)
            }),
            "engine.target is not",
        ),
        (
            EngineNeed {
                exact: Some("3".repeat(64)),
                ..with(offered(9))
            },
            "engine.target is not",
        ),
        (
            EngineNeed {
                exact: Some("3".into()),
                ..EngineNeed::of("script 1")
            },
            "engine.exact",
        ),
    ] {
        let error = parsed(need.clone()).expect_err("refused");
        assert!(error.contains(text), "{need:?}: {error}");
    }
    let mut silent = manifest(CONTENT, 5);
    silent.engine = Some(EngineNeed::of("script 1"));
    let mut file = TargetFile::of(CONTENT);
    file.custom = Some(json!({ MANIFEST_KEY: silent }));
    assert_eq!(
        Release::from_target("app/main/5.wasm", &file),
        Err("engine is not named as critical".to_owned()),
        "an agent without engines would try it"
    );
}

#[test]
fn an_engine_is_the_target_that_the_release_names() {
    let content = [7; 3000];
    let described = json!({ "abi": "script 1", "chunk_size": 1024, "chunk_root": "a".repeat(64) });
    let mut file = TargetFile::of(&content);
    file.custom = Some(json!({ ENGINE_KEY: described }));
    let wanted = EngineTarget {
        path: "engine/2.wasm".into(),
        sha256: file.hashes["sha256"].clone(),
        size: 3000,
    };
    let read = |need: &str, wanted: &EngineTarget, file: &TargetFile| {
        EngineManifest::from_target(&EngineNeed::of(need), wanted, file)
    };
    let manifest = read("script 1", &wanted, &file).expect("the engine");
    assert_eq!(manifest.chunk_size, 1024);
    let error = "engine: the target is not the engine that the release names";
    assert_eq!(read("script 2", &wanted, &file), Err(error.to_owned()));
    assert_eq!(read("script 1", &offered(3000), &file), Err(error.to_owned()));
    file.custom = None;
    assert_eq!(
        read("script 1", &wanted, &file),
        Err("engine: the target is no engine".to_owned())
    );
}
