//! Attacks over the device protocol: hostile records and client ids, wrong secrets, endless greetings.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Strike, together};
use crate::site::Tenant;
use crate::wire::{self, Device, Rest, batch, hello, random_id};

pub(super) fn hostile_records(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        while !until.over() {
            let Some(mut device) = Device::login(&tenant) else {
                continue;
            };
            let (stream, mut seq) = (random_id(), 0);
            device.up(&hello("a\u{0}b", &[(stream.clone(), "control")]));
            let records = [
                r#"{"report":{"update":{"directive":"a\u0000b","sha256":"","state":"offered","at_ms":1}}}"#,
                r#"{"report":{"update":{"directive":"\ud800","sha256":"\u0000","state":"offered","at_ms":1}}}"#,
                r#"{"log":{"level":"info","at_ms":1,"text":"a\u0000b\ud800"}}"#,
            ];
            while !until.over() {
                seq += 1;
                if !device.up(&batch(
                    &stream,
                    seq,
                    records[usize::try_from(seq).expect("small") % records.len()],
                )) {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

pub(super) fn forged_log(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        while !until.over() {
            let id = [
                b"x\n2026-01-01T00:00:00Z ERROR iottly_cloud: forged line \x1b[31m".to_vec(),
                vec![b'a'; 60_000],
            ]
            .concat();
            drop(wire::open(tenant.mqtt, &wire::connect(&id, "stranger", "wrong")));
            thread::sleep(Duration::from_millis(2));
        }
    })
}

pub(super) fn wrong_secrets(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(4, until, move |_, until| {
            while !until.over() {
                let wrong = Tenant {
                    secret: "wrong".into(),
                    ..tenant.clone()
                };
                Device::login(&wrong);
            }
        });
    })
}

pub(super) fn hellos(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        while !until.over() {
            let Some(mut device) = Device::login(&tenant) else {
                continue;
            };
            let streams: Vec<(String, &str)> = (0..16).map(|_| (random_id(), "history")).collect();
            for version in 0_u64.. {
                if until.over() || !device.up(&hello(&version.to_string(), &streams)) {
                    break;
                }
            }
        }
    })
}

pub(super) fn hellos_with_commands(tenant: &Tenant) -> Strike {
    let rest = Rest::new(tenant);
    for _ in 0..400 {
        let values = json!({"echo.content": "x".repeat(60_000)});
        rest.post(
            &format!("/device/{}/command", tenant.device),
            &json!({"cmd_type": "echo", "values": values}),
        );
    }
    let tenant = tenant.clone();
    Box::new(move |until| {
        while !until.over() {
            let Some(mut device) = Device::login(&tenant) else {
                continue;
            };
            while !until.over() && device.up(&hello("1", &[])) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    })
}
