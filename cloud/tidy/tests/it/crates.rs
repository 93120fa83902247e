//! Crates use each other in the directions of ARCHITECTURE.md, and pure crates do no I/O.

use std::collections::BTreeMap;

use crate::repository::{code, files, is_test, list, metadata, packages, read, shown, text};

/// Our crates that a crate may use in its library and its programs. Tests may use more.
#[test]
fn crates_depend_only_as_designed() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("iottly-protocol", &[][..]),
        ("iottly-boards", &[]),
        ("iottly-manifest", &[]),
        ("iottly-firmware", &[]),
        ("iottly-tidy", &[]),
        (
            "iottly-e2e",
            &[
                "iottly-agent",
                "iottly-builder",
                "iottly-protocol",
                "iottly-sandbox",
            ],
        ),
        ("iottly-child", &[]),
        ("iottly-engine", &[]),
        (
            "iottly-sandbox",
            &[
                "iottly-boards",
                "iottly-child",
                "iottly-manifest",
                "iottly-protocol",
            ],
        ),
        ("iottly-update", &["iottly-protocol"]),
        (
            "iottly-agent",
            &[
                "iottly-engine",
                "iottly-sandbox",
                "iottly-boards",
                "iottly-protocol",
                "iottly-update",
            ],
        ),
        (
            "iottly-builder",
            &["iottly-engine", "iottly-manifest", "iottly-protocol"],
        ),
        ("iottly-filter", &["iottly-protocol"]),
        (
            "iottly-core",
            &["iottly-filter", "iottly-manifest", "iottly-protocol"],
        ),
        (
            "iottly-store",
            &["iottly-core", "iottly-filter", "iottly-protocol"],
        ),
        (
            "iottly-cloud",
            &[
                "iottly-core",
                "iottly-filter",
                "iottly-manifest",
                "iottly-protocol",
                "iottly-store",
            ],
        ),
        (
            "iottly-web",
            &[
                "iottly-cloud",
                "iottly-core",
                "iottly-filter",
                "iottly-protocol",
                "iottly-store",
            ],
        ),
        (
            "iottly",
            &[
                "iottly-agent",
                "iottly-boards",
                "iottly-builder",
                "iottly-child",
                "iottly-cloud",
                "iottly-core",
                "iottly-engine",
                "iottly-filter",
                "iottly-manifest",
                "iottly-protocol",
                "iottly-sandbox",
                "iottly-store",
                "iottly-web",
            ],
        ),
    ]);
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name}: say in this test what the new crate may use"));
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let ours = used == "iottly" || used.starts_with("iottly-");
            if ours && dependency["kind"].is_null() {
                assert!(allowed.contains(&used), "{name} must not depend on {used}");
            }
        }
    }
}

/// Crates that decide and do nothing else.
const PURE: &[&str] = &[
    "iottly-core",
    "iottly-filter",
    "iottly-manifest",
    "iottly-protocol",
];

/// Dependencies with which a crate would do I/O or need a runtime.
const IMPURE: &[&str] = &[
    "axum", "rand", "hyper", "mqtt5", "reqwest", "rumqttc", "rustix", "sled", "sqlx", "tokio", "tracing",
    "ureq",
];

/// Sources of random bytes. `iottly-core` gets ids, nonces and keys from its callers. `iottly-protocol` is not
/// checked for them: it makes the ids itself.
const RANDOM: &[&str] = &[
    "getrandom",
    "rand::",
    "new_v4",
    "::random",
    "RandomState",
    "SystemRandom",
];

#[test]
fn the_core_makes_no_random_bytes() {
    let core = "iottly-core";
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata["packages"])
        .iter()
        .filter(|package| text(&package["name"]) == core)
    {
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            assert!(
                !dependency["kind"].is_null() || !RANDOM.contains(&used),
                "{core} uses {used}"
            );
        }
    }
    let mut found = Vec::new();
    for (_, folder) in packages().iter().filter(|(name, _)| name == core) {
        let sources = files(&folder.join("src"), &["rs"]);
        for file in sources.iter().filter(|file| !is_test(file)) {
            let code = code(&read(file));
            found.extend(
                RANDOM
                    .iter()
                    .filter(|source| code.contains(**source))
                    .map(|source| format!("{}: {source}", shown(file))),
            );
        }
    }
    assert!(
        found.is_empty(),
        "the core takes random bytes as arguments:\n{}",
        found.join("\n")
    );
}

/// Parts of the standard library that do I/O or read a clock.
const IO: &[&str] = &[
    "std::env::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    ".elapsed()",
    "Instant::now",
    "SystemTime::now",
    "println!",
    "eprintln!",
];

#[test]
fn pure_crates_do_no_io() {
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if !PURE.contains(&name) {
            continue;
        }
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let counts = dependency["kind"].is_null();
            assert!(
                !counts || !IMPURE.contains(&used),
                "{name} is pure and uses {used}"
            );
        }
    }
    let mut found = Vec::new();
    for (_, folder) in packages()
        .iter()
        .filter(|(name, _)| PURE.contains(&name.as_str()))
    {
        for file in files(&folder.join("src"), &["rs"])
            .iter()
            .filter(|file| !is_test(file))
        {
            let code = code(&read(file));
            found.extend(
                IO.iter()
                    .filter(|io| code.contains(**io))
                    .map(|io| format!("{}: {io}", shown(file))),
            );
        }
    }
    assert!(
        found.is_empty(),
        "pure crates do no I/O and read no clock:\n{}",
        found.join("\n")
    );
}
