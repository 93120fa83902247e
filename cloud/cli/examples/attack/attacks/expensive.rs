//! Attacks with queries and filters that are expensive to evaluate.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Strike, together};
use crate::site::Tenant;
use crate::wire::{Device, Rest, batch, hello, message, random_id};

/// Stores messages and waits until the last one is in the history.
fn store(tenant: &Tenant, payloads: &[String]) {
    let mut device = Device::login(tenant).expect("the broker admits the device");
    let stream = random_id();
    device.up(&hello("1", &[(stream.clone(), "history")]));
    for (index, payload) in payloads.iter().enumerate() {
        device.up(&batch(&stream, index as u64 + 1, &message(payload)));
    }
    let rest = Rest::new(tenant);
    let wanted = payloads.len() as u64;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let (_, page) = rest.get(&format!("/messages/{}?numMessages=1", tenant.device));
        if page["messages"][0]["seq"].as_u64() == Some(wanted) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{wanted} messages were not stored");
}

/// Returns a text of a megabyte that is expensive for pattern matchers.
fn noise() -> String {
    let mut state = 0x2545_F491_u32;
    let bits = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if state & 1 == 0 { '0' } else { '1' }
    });
    bits.take(1_000_000).collect()
}

fn escaped(query: &Value) -> String {
    query
        .to_string()
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect()
}

fn query(tenant: &Tenant, count: usize, query: Value) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        let path = format!("/messages/{}?queryJson={}", tenant.device, escaped(&query));
        together(count, until, move |_, until| {
            let rest = Rest::new(&tenant);
            while !until.over() {
                rest.get(&path);
            }
        });
    })
}

pub(super) fn history_regex(tenant: &Tenant) -> Strike {
    store(tenant, &[format!(r#"{{"s":"{}"}}"#, noise())]);
    let patterns: Vec<Value> = (0..8)
        .map(|index| json!({"s": {"$regex": format!("1[01]{{{}}}x", 2500 - index)}}))
        .collect();
    query(tenant, 8, json!({"$or": patterns}))
}

pub(super) fn history_all(tenant: &Tenant) -> Strike {
    let numbers: Vec<String> = (0..510_000).map(|_| "1".to_owned()).collect();
    store(tenant, &[format!(r#"{{"a":[{}]}}"#, numbers.join(","))]);
    let all = json!({"a": {"$all": (1..=850).collect::<Vec<_>>()}});
    query(tenant, 8, json!({"$and": [all, all]}))
}

pub(super) fn history_memory(tenant: &Tenant) -> Strike {
    let text = "x".repeat(1_040_000);
    store(tenant, &vec![format!(r#"{{"s":"{text}"}}"#); 200]);
    query(tenant, 8, json!({"nothing": 1}))
}

pub(super) fn webhook_filter(tenant: &Tenant) -> Strike {
    let patterns: Vec<Value> = (0..8)
        .map(|index| json!({"s": {"$regex": format!("1[01]{{{}}}x", 2500 - index)}}))
        .collect();
    let rest = Rest::new(tenant);
    for _ in 0..3 {
        let hook = json!({"url": "http://127.0.0.1:8099/", "type": "all", "filter": {"$or": patterns}});
        let (status, made) = rest.post("/webhooks", &hook);
        // A refusal of such a filter is a success as well.
        assert!(
            status == 200 || made["code"] == "invalid_filter",
            "{status}: {made}"
        );
    }
    let tenant = tenant.clone();
    Box::new(move |until| {
        let Some(mut device) = Device::login(&tenant) else {
            return;
        };
        let (stream, payload) = (random_id(), format!(r#"{{"s":"{}"}}"#, noise()));
        device.up(&hello("1", &[(stream.clone(), "history")]));
        for seq in 1.. {
            if until.over() || !device.up(&batch(&stream, seq, &message(&payload))) {
                return;
            }
            thread::sleep(Duration::from_millis(300));
        }
    })
}
