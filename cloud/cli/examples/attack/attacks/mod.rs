//! The attacks. Each prepares, reports that, waits for the start, and then continues until its time is over.

mod device;
mod expensive;
mod held;
mod requests;

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::site::Tenant;

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
        prepare: device::hostile_records,
    },
    Attack {
        name: "history-regex",
        prepare: expensive::history_regex,
    },
    Attack {
        name: "history-all",
        prepare: expensive::history_all,
    },
    Attack {
        name: "history-memory",
        prepare: expensive::history_memory,
    },
    Attack {
        name: "webhook-filter",
        prepare: expensive::webhook_filter,
    },
    Attack {
        name: "idle-http",
        prepare: held::idle_http,
    },
    Attack {
        name: "idle-mqtt",
        prepare: held::idle_mqtt,
    },
    Attack {
        name: "unfinished-connects",
        prepare: held::unfinished_connects,
    },
    Attack {
        name: "forged-log",
        prepare: device::forged_log,
    },
    Attack {
        name: "wrong-secrets",
        prepare: device::wrong_secrets,
    },
    Attack {
        name: "hellos",
        prepare: device::hellos,
    },
    Attack {
        name: "hellos-with-commands",
        prepare: device::hellos_with_commands,
    },
    Attack {
        name: "endless-builds",
        prepare: requests::endless_builds,
    },
    Attack {
        name: "uploads",
        prepare: requests::uploads,
    },
    Attack {
        name: "logins",
        prepare: requests::logins,
    },
    Attack {
        name: "event-streams",
        prepare: held::event_streams,
    },
    Attack {
        name: "deletions",
        prepare: requests::deletions,
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
