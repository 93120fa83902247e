//! The attacks. Each prepares, reports that, waits for the start, and then continues until its time is over.

use std::io::{BufRead as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::site::Tenant;
use crate::wire::{self, Device, Rest, batch, hello, message, random_id};

/// An attack with its name.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    prepare: fn(&Tenant) -> Strike,
}

/// A prepared attack.
type Strike = Box<dyn FnOnce(Until)>;

/// The end of an attack.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    fn over(self) -> bool {
        Instant::now() >= self.0
    }
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "hostile-records",
        prepare: hostile_records,
    },
    Attack {
        name: "history-regex",
        prepare: history_regex,
    },
    Attack {
        name: "history-all",
        prepare: history_all,
    },
    Attack {
        name: "history-memory",
        prepare: history_memory,
    },
    Attack {
        name: "webhook-filter",
        prepare: webhook_filter,
    },
    Attack {
        name: "idle-http",
        prepare: idle_http,
    },
    Attack {
        name: "idle-mqtt",
        prepare: idle_mqtt,
    },
    Attack {
        name: "unfinished-connects",
        prepare: unfinished_connects,
    },
    Attack {
        name: "forged-log",
        prepare: forged_log,
    },
    Attack {
        name: "wrong-secrets",
        prepare: wrong_secrets,
    },
    Attack {
        name: "hellos",
        prepare: hellos,
    },
    Attack {
        name: "hellos-with-commands",
        prepare: hellos_with_commands,
    },
    Attack {
        name: "endless-builds",
        prepare: endless_builds,
    },
    Attack {
        name: "uploads",
        prepare: uploads,
    },
    Attack {
        name: "logins",
        prepare: logins,
    },
    Attack {
        name: "event-streams",
        prepare: event_streams,
    },
    Attack {
        name: "deletions",
        prepare: deletions,
    },
];

/// Runs an attack as this process.
pub(crate) fn attack(name: &str, context: &str, time: Duration) {
    let tenant: Tenant = serde_json::from_str(context).expect("the context is JSON");
    let attack = ATTACKS
        .iter()
        .find(|attack| attack.name == name)
        .expect("a known attack");
    let strike = (attack.prepare)(&tenant);
    let mut out = std::io::stdout();
    out.write_all(b"ready\n")
        .and_then(|()| out.flush())
        .expect("the parent listens");
    let mut word = String::new();
    if std::io::stdin()
        .lock()
        .read_line(&mut word)
        .is_ok_and(|read| read > 0)
    {
        strike(Until(Instant::now() + time));
    }
}

/// Does the same from several threads.
fn together(count: usize, until: Until, work: impl Fn(usize, Until) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..count)
        .map(|index| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(index, until))
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
}

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

fn hostile_records(tenant: &Tenant) -> Strike {
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

fn history_regex(tenant: &Tenant) -> Strike {
    store(tenant, &[format!(r#"{{"s":"{}"}}"#, noise())]);
    let patterns: Vec<Value> = (0..8)
        .map(|index| json!({"s": {"$regex": format!("1[01]{{{}}}x", 2500 - index)}}))
        .collect();
    query(tenant, 8, json!({"$or": patterns}))
}

fn history_all(tenant: &Tenant) -> Strike {
    let numbers: Vec<String> = (0..510_000).map(|_| "1".to_owned()).collect();
    store(tenant, &[format!(r#"{{"a":[{}]}}"#, numbers.join(","))]);
    let all = json!({"a": {"$all": (1..=850).collect::<Vec<_>>()}});
    query(tenant, 8, json!({"$and": [all, all]}))
}

fn history_memory(tenant: &Tenant) -> Strike {
    let text = "x".repeat(1_040_000);
    store(tenant, &vec![format!(r#"{{"s":"{text}"}}"#); 200]);
    query(tenant, 8, json!({"nothing": 1}))
}

fn webhook_filter(tenant: &Tenant) -> Strike {
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

/// Opens connections, sends `bytes` on each, and keeps them open.
fn hold(address: std::net::SocketAddr, count: usize, bytes: Vec<u8>) -> Strike {
    Box::new(move |until| {
        let mut held: Vec<TcpStream> = Vec::new();
        while !until.over() {
            if held.len() < count
                && let Some(stream) = wire::open(address, &bytes)
            {
                held.push(stream);
            } else {
                thread::sleep(Duration::from_millis(10));
            }
        }
    })
}

fn idle_http(tenant: &Tenant) -> Strike {
    let address = tenant
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    hold(address, 900, Vec::new())
}

fn idle_mqtt(tenant: &Tenant) -> Strike {
    hold(tenant.mqtt, 900, Vec::new())
}

fn unfinished_connects(tenant: &Tenant) -> Strike {
    hold(tenant.mqtt, 300, wire::endless_connect(290_000))
}

fn forged_log(tenant: &Tenant) -> Strike {
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

fn wrong_secrets(tenant: &Tenant) -> Strike {
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

fn hellos(tenant: &Tenant) -> Strike {
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

fn hellos_with_commands(tenant: &Tenant) -> Strike {
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

fn endless_builds(tenant: &Tenant) -> Strike {
    let rest = Rest::new(tenant);
    let (_, group) = rest.post("/deploymentgroups", &json!({"name": "g", "branch": "main"}));
    let id = group["deployment_group"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(8, until, move |index, until| {
            let rest = Rest::new(&tenant);
            for number in 0_u64.. {
                if until.over() {
                    return;
                }
                // Different code each time, so that no result is cached.
                let code = format!("while (true) {{}} // {index} {number}");
                rest.put(
                    "/branches/main/snippets",
                    &json!({"snippets": [{"name": "global", "code": code}]}),
                );
                rest.post("/branches/main/revisions", &json!({"message": "endless"}));
                rest.post(&format!("/deploymentgroups/{id}/flashfw"), &json!({}));
            }
        });
    })
}

fn uploads(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(4, until, move |index, until| {
            let rest = Rest::new(&tenant);
            for number in 0_u64.. {
                if until.over() {
                    return;
                }
                // An empty component with a custom section of eight megabytes.
                let mut section = vec![1, b'x'];
                section.extend(number.to_le_bytes());
                section.extend([u8::try_from(index).expect("small")]);
                section.resize(8 << 20, 0);
                let mut component = b"\0asm\x0d\0\x01\0\0".to_vec();
                let mut length = section.len();
                while length >= 128 {
                    component.push(u8::try_from(length % 128).expect("seven bits") | 0x80);
                    length /= 128;
                }
                component.push(u8::try_from(length).expect("seven bits"));
                component.extend(section);
                rest.post_bytes("/branches/main/component", "application/wasm", &component);
            }
        });
    })
}

fn logins(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(4, until, move |_, until| {
            let rest = Rest::new(&tenant);
            while !until.over() {
                rest.login();
            }
        });
    })
}

fn event_streams(tenant: &Tenant) -> Strike {
    let cookie = Rest::new(tenant).login().unwrap_or_default();
    let address = tenant
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let request = format!("GET /ui/events HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
    hold(address, 500, request.into_bytes())
}

fn deletions(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(16, until, move |_, until| {
            let rest = Rest::new(&tenant);
            while !until.over() {
                let (_, made) = rest.post("/device", &json!({"name": "short-lived"}));
                if let Some(id) = made["ID"].as_str() {
                    rest.delete(&format!("/device/{id}"));
                }
            }
        });
    })
}
