//! Shapes of the answers that commands print for programs.

use std::net::TcpListener;

use iottly_e2e::{CloudHome, beside_others, wait_for};
use serde_json::Value;

use crate::cli::{done, json, run};

/// Returns the shape of a value: the keys of objects and the types of values, without the values themselves.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        // Entries have the same shape; where one has fields that others lack, all are in it.
        Value::Array(entries) => Value::Array(entries.iter().map(shape).reduce(both).into_iter().collect()),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
    }
}

/// Returns the shape of a value that has one of two shapes.
fn both(one: Value, other: Value) -> Value {
    match (one, other) {
        // The order of the fields stays, however many entries there are.
        (Value::Object(one), Value::Object(other)) => {
            let mut merged = other.clone();
            merged.retain(|name, _| !one.contains_key(name));
            let known = one.into_iter().map(|(name, known)| match other.get(&name) {
                Some(shape) => (name, both(known, shape.clone())),
                None => (name, known),
            });
            Value::Object(known.chain(merged).collect())
        }
        (Value::Array(one), Value::Array(other)) => {
            Value::Array(one.into_iter().chain(other).reduce(both).into_iter().collect())
        }
        (one, other) if one == other => one,
        (Value::String(null), known) | (known, Value::String(null)) if null == "null" => known,
        (one, _) => one,
    }
}

/// Removes the fields of an answer that it has at times only: the age of what waits on a device at the moment of its report.
fn lasting(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("oldest_ms");
        for value in fields.values_mut() {
            *value = lasting(value.take());
        }
    }
    answer
}

/// Reads whose answers programs rely on.
const READS: [&str; 28] = [
    "whoami",
    "doctor --broker BROKER",
    "project list",
    "project settings",
    "device list",
    "device show porch",
    "device config get porch",
    "device timeline porch",
    "device board porch",
    "device waiting",
    "device copies",
    "group list",
    "rollout list",
    "history porch --filter n>0",
    "logs porch",
    "logs",
    "code files",
    "code revisions",
    "code releases",
    "code keys",
    "code drafts",
    "definition list",
    "token list",
    "enrolment-key list",
    "audit",
    "series list",
    "series saved",
    "webhook list",
];
/// Reads that are in the snapshot beside those with a short name.
const MORE: [&str; 6] = [
    "series points n --since 15m",
    "alert list",
    "alert rule list",
    "job list",
    "lease list",
    "crashes",
];

#[test]
fn answers_for_programs_have_the_shapes_that_are_recorded() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start_with(&["--webhook-allow", "127.0.0.0/8"]);
    let script =
        "let n = 0; function init() { log('up'); } function loop() { n += 1; send_msg({ n }); return 200; }";
    let device = home.device("plant", "porch", script);
    let (api, agent) = (device.api.clone(), device.start());
    device
        .api
        .wait_for_message(&device.id, "a number", |message| message["payload"]["n"].is_u64());
    done(&api, &["group", "create", "north"]);
    done(&api, &["device", "config", "set", "porch", "rate=5"]);
    done(&api, &["code", "save", "--message", "first"]);
    done(&api, &["token", "create", "--name", "t", "--scope", "read"]);
    done(&api, &["webhook", "add", "http://127.0.0.1:9999/in"]);
    done(&api, &["series", "save", "numbers", "n"]);
    done(&api, &["device", "tag", "porch", "--add", "x"]);
    wait_for("the reports of the firmware", || {
        let shown = json(&done(&api, &["device", "show", "porch", "--output", "json"]));
        let is_reported = !shown["firmware"].is_null() && shown["health"]["firmware"].is_object();
        (is_reported && shown["operatingstatus"] == "connected").then_some(())
    });
    wait_for("a line of the log and a point", || {
        let log = done(&api, &["logs", "porch"]);
        let points = done(
            &api,
            &["series", "points", "n", "--since", "15m", "--output", "jsonl"],
        );
        (log.contains("up") && !points.is_empty()).then_some(())
    });
    let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
    let broker = broker.local_addr().expect("an address").to_string();
    let mut text = String::new();
    for line in READS.iter().chain(&MORE) {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "BROKER" { broker.as_str() } else { word })
            .collect();
        // Some reads of what is not there, such as a board, fail after they have printed the answer.
        let (_, out, errors) = run(&api, &[&words[..], &["--output", "json"]].concat());
        assert_eq!(
            out.lines().count(),
            1,
            "{line}: one object in a line, {out}{errors}"
        );
        text += &format!(
            "$ iottly {line} --output json\n{:#}\n",
            shape(&lasting(json(&out)))
        );
        let (_, out, errors) = run(&api, &[&words[..], &["--output", "jsonl"]].concat());
        let entries: Vec<Value> = out.lines().map(|line| lasting(json(line))).collect();
        assert!(entries.iter().all(Value::is_object), "{line}: {out}{errors}");
        let entry = entries.iter().map(shape).reduce(both);
        text += &match entry {
            Some(entry) => format!("$ iottly {line} --output jsonl\n{entry}\n\n"),
            None => format!("$ iottly {line} --output jsonl\n(no entry)\n\n"),
        };
    }
    insta::assert_snapshot!(text);
    agent.terminate();
    cloud.terminate();
}
