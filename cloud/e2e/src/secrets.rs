//! Secrets that this test program has seen, and the search for them in what its processes write.
//!
//! The kit remembers tokens, codes, passwords and keys where they pass through it, and searches every log, every answer
//! with an error and the arguments of every long-running process for all of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Minimum length of a text that is searched for, in bytes; shorter ones, such as the `s` of a test, are words of a log.
const MIN_BYTES: usize = 9;
/// Names of JSON fields that contain a secret.
const FIELDS: [&str; 9] = [
    "token",
    "secret",
    "pair_code",
    "enrolment_key",
    "device_code",
    "password",
    "login",
    "device",
    "sealing",
];
/// Files of a cloud's data folder that contain a secret, with a line for each.
const FILES: [&str; 3] = ["seal.key", "tls/ca.key", "tls/server.key"];

/// Size of the header of an identity's file, in bytes.
const IDENTITY_HEADER: usize = 24;

static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn known() -> MutexGuard<'static, BTreeSet<String>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers a secret.
pub fn remember(secret: &str) {
    // A login link is known by its last part.
    let secret = secret.rsplit(['/', '=']).next().unwrap_or(secret).trim();
    if secret.len() >= MIN_BYTES {
        known().insert(secret.to_owned());
    }
}

/// Remembers all secrets in an answer of the cloud, in what a program prints, or in an identity's file.
pub fn remember_all(answer: &Value) {
    match answer {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    // The names `device` and `login` have other meanings; an id is no secret.
                    Value::String(text) if FIELDS.contains(&name.as_str()) && !is_id(text) => remember(text),
                    value => remember_all(value),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(remember_all),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_id(text: &str) -> bool {
    text.len() < 32 || text.as_bytes().get(8) == Some(&b'-')
}

/// Remembers the keys in a cloud's data folder.
pub(crate) fn remember_keys(data: &Path) {
    for name in FILES {
        let text = std::fs::read_to_string(data.join(name)).unwrap_or_default();
        text.lines()
            .filter(|line| !line.starts_with('-'))
            .for_each(remember);
    }
}

/// Remembers the secret in the configuration of a device, if there is one.
pub fn remember_device(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("agent.toml")).unwrap_or_default();
    for secret in text.lines().filter_map(|line| line.strip_prefix("secret = ")) {
        remember(secret.trim_matches('"'));
    }
}

/// Remembers the keys and the secret of an enrolled board; returns its newest identity.
///
/// # Panics
/// If the board is not enrolled.
pub fn remember_identity(folder: &Path) -> Value {
    let files = ["0", "1"].map(|name| std::fs::read(folder.join("identity").join(name)));
    let newest = files
        .into_iter()
        .flatten()
        .max_by_key(|bytes| bytes[8..16].to_vec())
        .expect("an identity");
    let identity = serde_json::from_slice(&newest[IDENTITY_HEADER..]).expect("JSON");
    remember_all(&identity);
    identity
}

/// Returns the first line of a text that contains a secret, with the secret struck out.
pub fn found_in(text: &str) -> Option<String> {
    let known = known();
    text.lines().find_map(|line| {
        let secret = known.iter().find(|secret| line.contains(secret.as_str()))?;
        Some(line.replace(secret.as_str(), "<SECRET>"))
    })
}

/// Checks that a text contains no secret.
///
/// # Panics
/// If it does, unless the thread panics already.
pub fn check(what: &str, text: &str) {
    if let Some(line) = found_in(text)
        && !std::thread::panicking()
    {
        panic!("{what} contains a secret: {line}");
    }
}
