//! The command line's contract: what is printed where, and exit codes.

mod common;

use common::iottly;

#[test]
fn filter_prints_what_matches() {
    let documents = "{\"a\": 1, \"b\": [1, 2]}\n\n{\"a\": 2}\n{\"b\": 2.0, \"a\": \"x\"}\n";
    let (code, out, err) = iottly(&["filter", r#"{"b": 2}"#], documents);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "{\"a\": 1, \"b\": [1, 2]}\n{\"b\": 2.0, \"a\": \"x\"}\n");
}

#[test]
fn filter_refuses_by_name() {
    for (query, word) in [(r#"{"a": {"$where": "1"}}"#, "$where"), ("{", "not valid"), (r#"{"$text": {}}"#, "$text")] {
        let (code, out, err) = iottly(&["filter", query], "{}\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{query}");
        assert!(err.to_lowercase().contains(word), "{query}: {err}");
    }
    let (code, _, err) = iottly(&["filter", "{}"], "{}\nnonsense\n");
    assert_eq!(code, Some(2));
    assert!(err.contains("line 2"), "{err}");
}

#[test]
fn wrong_usage_ends_with_2() {
    assert_eq!(iottly(&["fly"], "").0, Some(2));
    assert_eq!(iottly(&["demo", "--devices", "0"], "").0, Some(2));
    assert_eq!(iottly(&["serve"], "").0, Some(2));
}

#[test]
fn provision_never_replaces_a_device() {
    let dir = tempfile::tempdir().expect("folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
    let (data, out) = (path("cloud"), path("porch"));
    let args = ["provision", "--data", &data, "--project", "home", "--device", "porch", "--out", &out];
    let (code, first, err) = iottly(&args, "");
    assert_eq!(code, Some(0), "{err}");
    let config = std::fs::read_to_string(dir.path().join("porch/agent.toml")).expect("a configuration");
    let (code, _, err) = iottly(&args, "");
    assert_eq!(code, Some(1));
    assert!(err.contains("holds a device already"), "{err}");
    assert_eq!(std::fs::read_to_string(dir.path().join("porch/agent.toml")).expect("still there"), config);
    let first: serde_json::Value = serde_json::from_str(&first).expect("json");
    assert!(config.contains(first["device_id"].as_str().expect("id")));
}
