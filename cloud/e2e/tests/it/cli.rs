//! The command line in large projects, over cut connections, and beside the pages: what a page does, a command does too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iottly_e2e::{Api, CloudHome, beside_others, program, wait_for};
use serde_json::Value;

use crate::jobs::many;

const QUIET: &str = "function loop() { return 60000; }";
const COUNTING: &str = "let n = 0; function loop() { n += 1; send_msg({ n }); return 100; }";

/// Runs a command; returns its exit code and both outputs.
pub(crate) fn run(api: &Api, words: &[&str]) -> (Option<i32>, String, String) {
    api.iottly(Path::new("/"), words)
}

/// Runs a command that succeeds.
pub(crate) fn done(api: &Api, words: &[&str]) -> String {
    let (code, out, errors) = run(api, words);
    assert_eq!(code, Some(0), "{words:?}: {out}{errors}");
    out
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn a_project_with_forty_thousand_devices_is_listed_and_its_devices_are_found_by_name() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "one", QUIET);
    many(&home, 40_000);
    let (api, cloud) = (device.api, home.start());
    let table = done(&api, &["device", "list"]);
    assert_eq!(table.lines().count(), 40_001);
    assert!(
        table
            .lines()
            .all(|line| line.len() > 36 && line.find("  ") == Some(36))
    );
    let text = done(&api, &["device", "list", "--output", "json"]);
    assert!(text.len() > 10 << 20, "{} bytes are no large answer", text.len());
    let whole = json(&text);
    assert_eq!((&whole["count"], &whole["status"]), (&40_001.into(), &200.into()));
    assert_eq!(whole["devices"].as_array().map(Vec::len), Some(40_001));
    let names = |words: &[&str]| -> Vec<String> {
        let out = done(&api, &[words, &["--output", "jsonl"]].concat());
        let names = out
            .lines()
            .map(|line| json(line)["name"].as_str().expect("a name").to_owned());
        names.collect()
    };
    let found = names(&["device", "list", "--search", "MANY-29"]);
    assert_eq!(found.len(), 1111, "all pages of a search");
    let numbers = found
        .iter()
        .map(|name| name["many-".len()..].parse::<u32>().expect("a number"));
    assert!(numbers.is_sorted(), "natural order");
    let found = names(&["device", "list", "--search", "many-29", "--filter", "name:*7"]);
    assert_eq!(found.len(), 111, "a search and a filter");
    assert_eq!(names(&["device", "list", "--filter", "name:many-77*"]).len(), 111);

    // 11,111 names contain this one.
    let shown = done(&api, &["device", "show", "many-1"]);
    assert!(
        shown
            .lines()
            .any(|line| line.split_whitespace().eq(["name", "many-1"])),
        "{shown}"
    );
    let (code, _, errors) = run(&api, &["device", "show", "MANY-1"]);
    assert_eq!(code, Some(4));
    assert!(errors.contains("is it \"many-1\""), "{errors}");
    cloud.terminate();
}

/// A port that passes connections on to a cloud, until they are cut.
struct Cable {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(cloud: &str) -> Self {
        let target = cloud.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, open) = (
            Arc::<AtomicBool>::default(),
            Arc::<Mutex<Vec<TcpStream>>>::default(),
        );
        let (cut, streams) = (Arc::clone(&is_cut), Arc::clone(&open));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&target) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (
                        from.try_clone().expect("a socket"),
                        to.try_clone().expect("a socket"),
                    );
                    streams
                        .lock()
                        .expect("whole")
                        .push(from.try_clone().expect("a socket"));
                    std::thread::spawn(move || carry(from, to));
                }
            }
        });
        Self {
            address,
            is_cut,
            open,
        }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
        for stream in self.open.lock().expect("whole").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..length]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_tail_shows_what_was_stored_while_its_connection_was_cut() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "porch", COUNTING);
    let (api, cloud, agent) = (device.api.clone(), home.start(), device.start());
    let cable = Cable::to(&api.url);
    let mut tail = Command::new(program())
        .args(["tail", "porch", "--output", "jsonl"])
        .env("IOTTLY_URL", format!("http://{}", cable.address))
        .env("IOTTLY_TOKEN", &api.token)
        .env("IOTTLY_PROJECT", &api.project)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iottly starts");
    let collect = |stream: Box<dyn std::io::Read + Send>| {
        let kept: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&kept);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().expect("whole").push(line);
            }
        });
        kept
    };
    let out = collect(Box::new(tail.stdout.take().expect("piped")));
    let said = collect(Box::new(tail.stderr.take().expect("piped")));
    let numbers = || -> Vec<u64> {
        let lines = out.lock().expect("whole");
        lines
            .iter()
            .filter_map(|line| json(line)["payload"]["n"].as_u64())
            .collect()
    };
    wait_for("messages before the cut", || (numbers().len() > 5).then_some(()));
    cable.cut(true);
    std::thread::sleep(Duration::from_millis(300));
    let before = numbers().last().copied().expect("a message");
    device
        .api
        .wait_for_message(&device.id, "messages during the cut", |message| {
            message["payload"]["n"].as_u64() > Some(before + 20)
        });
    cable.cut(false);
    wait_for("messages after the cut", || {
        (numbers().last() > Some(&(before + 40))).then_some(())
    });
    tail.kill().expect("ends");
    tail.wait().expect("ended");
    let numbers = numbers();
    let first = numbers[0];
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "each once, in order, without a gap");
    let said = said.lock().expect("whole").join("\n");
    assert!(
        said.contains("the connection to the cloud has ended; opening the stream again")
            && said.contains("messages of the meantime are shown")
            && said.contains("`iottly logs`"),
        "{said}"
    );
    agent.terminate();
    cloud.terminate();
}

#[test]
fn what_pages_change_is_changed_by_commands_too() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start_with(&["--webhook-allow", "127.0.0.0/8"]);
    let device = home.device("plant", "porch", QUIET);
    let api = &device.api;

    let hook = done(
        api,
        &[
            "webhook",
            "add",
            "http://127.0.0.1:9999/in",
            "--header",
            "X-Key: 1",
            "--output",
            "json",
        ],
    );
    let hook = json(&hook)["id"].as_str().expect("an id").to_owned();
    let shown = |field: &str| {
        let list = json(&done(api, &["webhook", "list", "--output", "json"]));
        list["webhooks"][0][field].clone()
    };
    done(api, &["webhook", "off", &hook]);
    assert_eq!(shown("enabled"), false);
    assert!(done(api, &["webhook", "on", &hook]).contains("  on  "));
    assert_eq!(shown("enabled"), true);
    let change = ["--filter", "temp>30", "--ordered", "true", "--description", "hot"];
    done(api, &[&["webhook", "set", &hook][..], &change].concat());
    assert_eq!(
        (shown("ordered"), shown("description")),
        (true.into(), "hot".into())
    );
    assert!(!shown("filter").is_null() && shown("headers")["X-Key"].is_string());
    done(api, &["webhook", "set", &hook, "--filter", "", "--no-headers"]);
    assert!(shown("filter").is_null() && shown("headers") == serde_json::json!({}));
    assert_eq!(
        run(api, &["webhook", "set", &hook]).0,
        Some(2),
        "nothing to change"
    );
    for since in ["1d", "2026-11-01", "2026-11-27T18:00:00Z"] {
        let out = done(api, &["webhook", "replay", &hook, "--failed-since", since]);
        assert_eq!(out, "0 deliveries queued again\n");
    }

    assert_eq!(
        done(api, &["device", "rename", "porch", "front porch"]),
        format!("{} is named front porch\n", device.id)
    );
    assert_eq!(
        done(api, &["device", "config", "get", "front porch"]),
        "no settings were ever set\n"
    );
    done(
        api,
        &["device", "config", "set", "front porch", "rate=5", "mode=eco"],
    );
    let set = done(
        api,
        &[
            "device",
            "config",
            "set",
            "front porch",
            "rate=9",
            "--remove",
            "mode",
            "--output",
            "json",
        ],
    );
    assert_eq!(json(&set)["desired"]["values"], serde_json::json!({"rate": 9}));
    let (code, _, errors) = run(
        api,
        &["device", "config", "set", "front porch", "--remove", "gone"],
    );
    assert_eq!(code, Some(4), "{errors}");

    assert_eq!(done(api, &["rollout", "list"]), "");
    let (code, _, errors) = run(api, &["rollout", "show", "16825a35-0000-4000-8000-000000000001"]);
    assert_eq!(code, Some(4), "{errors}");
    let (code, _, errors) = run(api, &["rollout", "list", "--group", "orphaned"]);
    assert_eq!(code, Some(4));
    assert!(
        errors.contains("is it \"_orphaned\"? `iottly group list`"),
        "{errors}"
    );

    assert!(done(api, &["project", "rename", "home"]).ends_with(" is named home\n"));
    let kept = done(api, &["project", "settings", "--retention-days", "30"]);
    assert!(
        kept.contains("home\nretention-days 30 days\nretention-bytes no limit\npublic-releases false"),
        "{kept}"
    );
    assert_eq!(done(api, &["project", "settings"]), kept);
    let (code, _, errors) = run(api, &["project", "create", "second"]);
    assert_eq!(code, Some(3), "a token of a project creates none: {errors}");

    let until = "2027-01-01";
    done(
        api,
        &[
            "token",
            "create",
            "--name",
            "t",
            "--scope",
            "read",
            "--expires",
            until,
        ],
    );
    let (_, tokens, _) = run(api, &["token", "list"]);
    assert!(tokens.contains("2027-01-01T00:00:00.000Z"), "{tokens}");
    let (code, _, errors) = run(
        api,
        &[
            "token",
            "create",
            "--name",
            "t",
            "--scope",
            "read",
            "--expires",
            "soon",
        ],
    );
    assert!(
        code == Some(2) && errors.contains("neither a length of time"),
        "{errors}"
    );
    cloud.terminate();
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "porch", QUIET);
    let api = &device.api;
    let (code, out, errors) = run(api, &["doctor"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("failed   cloud")
            && out.contains("start the cloud with `iottly serve`")
            && out.contains("skipped  token"),
        "{out}"
    );
    assert!(errors.contains("1 check has failed"), "{errors}");

    let cloud = home.start();
    let broker = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = broker.local_addr().expect("an address").to_string();
    let out = done(api, &["doctor", "--broker", &address, "--output", "jsonl"]);
    let checks: Vec<Value> = out.lines().map(json).collect();
    let states: Vec<_> = checks
        .iter()
        .map(|check| (check["check"].clone(), check["state"].clone()))
        .collect();
    let names = ["address", "cloud", "ready", "clock", "token", "project", "broker"];
    let expected: Vec<_> = names.map(|name| (name.into(), "ok".into())).into();
    assert_eq!(states, expected, "{out}");

    drop(broker);
    let (code, out, _) = run(api, &["doctor", "--broker", &address]);
    assert!(code == Some(1) && out.contains("failed   broker"), "{out}");
    let wrong = ["doctor", "--broker", &address, "--token", "wrong"];
    let (code, out, _) = run(api, &wrong);
    assert!(
        code == Some(1) && out.contains("failed   token") && out.contains("iottly login --url"),
        "{out}"
    );
    cloud.terminate();
}

#[test]
fn quiet_leaves_out_notes_and_not_errors() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("plant", "porch", QUIET);
    let (api, cloud) = (&device.api, home.start());
    let tag = ["device", "tag", "--filter", "", "--add", "x", "--yes"];
    let (code, _, errors) = run(api, &tag);
    assert!(
        code == Some(0) && errors.contains("this affects 1 device"),
        "{errors}"
    );
    let (code, _, errors) = run(api, &[&tag[..], &["-q"]].concat());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, _, errors) = run(api, &["-q", "device", "show", "gone"]);
    assert!(
        code == Some(4) && errors.contains("\"gone\" does not exist"),
        "{errors}"
    );
    let (code, out, errors) = run(api, &["context", "list"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    cloud.terminate();
}
