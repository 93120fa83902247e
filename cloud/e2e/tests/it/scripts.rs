//! Boxes for scripts: every command line and every request that the pages show, run against a demo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use iottly_e2e::{Api, beside_others, program, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Demo;
use crate::readme::text;
use crate::webdriver::{Browser, is_installed};

/// Lines that the demo must refuse, as they are examples of what it does not have: a part of the line, and the words of
/// the refusal.
const REFUSED: &[(&str, &str)] = &[
    ("device enroll", "the cloud has no TLS listener"),
    ("CODE", "no board that waits shows this code"),
    ("LEASE", "lease"),
    ("KEY", "names no such key"),
    ("signed.json", "cannot read"),
    ("/keys/publish", "devices would refuse"),
    ("mail test", "mail"),
    ("/alerts/mails\"", "mail"),
];
/// Lines that show something for as long as they run.
const ENDLESS: &[&str] = &["iottly tail", "--watch", "/events\""];

/// A box of a page: its heading, and its lines.
struct Box {
    page: String,
    title: String,
    lines: Vec<String>,
}

struct World {
    demo: Demo,
    browser: Browser,
    api: Api,
    base: String,
    folder: TempDir,
}

impl World {
    fn begin() -> Self {
        let demo = Demo::start(3);
        let browser = Browser::start(true);
        browser.open(demo.link());
        browser.click(&browser.find("form[action='/login'] button"));
        browser.find("nav.side");
        let base = browser.url().trim_end_matches('/').to_owned();
        let project = base.rsplit('/').next().expect("a project").to_owned();
        let api = Api::new(demo.url(), demo.says("Token"), &project);
        Self {
            demo,
            browser,
            api,
            base,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn get(&self, path: &str) -> Value {
        self.api.get(&format!("/project/{}{path}", self.api.project)).1
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self
            .api
            .post(&format!("/project/{}{path}", self.api.project), body);
        assert!((200..300).contains(&status), "{path}: {answer}");
        answer
    }

    /// Returns the boxes of a page.
    fn boxes(&self, page: &str) -> Vec<Box> {
        self.browser.open(&format!("{}{page}", self.base));
        let found = self.browser.run(
            "return [...document.querySelectorAll('details.script')].map((box) =>
                [box.querySelector('summary').textContent, ...[...box.querySelectorAll('pre')].map((line) => line.textContent)])",
        );
        let found = found
            .as_array()
            .unwrap_or_else(|| panic!("{page} has no list"))
            .iter();
        let words = |list: &Value| -> Vec<String> {
            let list = list.as_array().expect("a list").iter();
            list.map(|word| word.as_str().expect("a text").to_owned())
                .collect()
        };
        found
            .map(|list| {
                let mut words = words(list).into_iter();
                Box {
                    page: page.to_owned(),
                    title: words.next().expect("a heading"),
                    lines: words.collect(),
                }
            })
            .collect()
    }

    /// Runs a line in a shell; returns its exit code, or the status of the answer of a request, and what was printed.
    fn run(&self, line: &str, variables: &[(&str, String)]) -> (i32, String) {
        let bin = PathBuf::from(program());
        let path = format!(
            "{}:{}",
            bin.parent().expect("a folder").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let line = format!("curl() {{ command curl -sS -m 5 -w '\\n%{{http_code}}' \"$@\"; }}; {line}");
        let output = Command::new("timeout")
            .args(["10", "sh", "-c", &line])
            .env("PATH", path)
            .env("IOTTLY_URL", &self.api.url)
            .env("IOTTLY_TOKEN", &self.api.token)
            .env("IOTTLY_PROJECT", &self.api.project)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .current_dir(self.folder.path())
            .output()
            .expect("a shell");
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, errors) = (words(&output.stdout), words(&output.stderr));
        let status = out.lines().last().and_then(|last| last.parse().ok());
        match status {
            Some(status) if line.contains("; curl ") => (status, out),
            _ => (output.status.code().unwrap_or(-1), format!("{out}{errors}")),
        }
    }
}

/// Starts a receiver that takes every request; returns its port.
pub(crate) fn receiver() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.split_once(": ")
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

/// Returns true for a line after which its object is gone.
fn is_last(line: &str) -> bool {
    let verbs = [
        " rm ",
        " remove ",
        " delete ",
        " revoke ",
        " forget ",
        "-X DELETE",
    ];
    verbs.iter().any(|verb| line.contains(verb))
}

#[test]
fn every_line_of_every_box_does_what_it_says() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let world = World::begin();
    let (pages, variables) = furnish(&world);
    let mut boxes = Vec::new();
    for page in &pages {
        let found = world.boxes(page);
        // A question has a box only while there is something to go back to, or to cancel.
        let is_question = page.ends_with("/rollback") || page.ends_with("/cancel");
        assert!(!found.is_empty() || is_question, "{page} has no box");
        boxes.extend(found);
    }
    // A renamed file has another name in all lines behind.
    let is_renaming = |one: &Box| one.lines.iter().any(|line| line.contains(" code rename "));
    boxes.sort_by_key(|one| (is_renaming(one), one.lines.iter().any(|line| is_last(line))));
    let (mut seen, mut wrong) = (std::collections::BTreeSet::new(), Vec::new());
    for one in &boxes {
        let mut is_done = false;
        for line in &one.lines {
            if !seen.insert(line.clone()) {
                continue;
            }
            let filled = filled(line, &variables);
            let (code, said) = world.run(&filled, &variables);
            let is_request = line.starts_with("curl ");
            let is_good = match code {
                0 => !is_request,
                200..300 => is_request,
                124 => ENDLESS.iter().any(|part| line.contains(part)),
                // The line before has done the same, or its object is gone.
                403 | 404 | 409 => is_request && is_done || is_refused(line, &said),
                _ => is_refused(line, &said),
            };
            is_done |= is_good;
            if !is_good {
                wrong.push(format!("{} ({}): {filled}\n  {code} {said}", one.page, one.title));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        seen.len(),
        wrong.join("\n")
    );
    assert!(seen.len() >= 100, "{} lines", seen.len());
    world.demo.end();
}

fn is_refused(line: &str, said: &str) -> bool {
    REFUSED
        .iter()
        .any(|(part, words)| line.contains(part) && said.contains(words))
}

/// Puts the objects of this test in the places of the words in capitals.
fn filled(line: &str, variables: &[(&str, String)]) -> String {
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    line.replace("token revoke ID", &format!("token revoke {}", value("ID")))
        .replace("alert mute ID", &format!("alert mute {}", value("ALERT")))
        .replace("history DEVICE", "history device-2")
        .replace(" NUMBER", " 1")
        .replace("firmware.toml FILE", "firmware.toml MANIFEST")
        .replace(
            r#""manifest":"…""#,
            r#""manifest":"name = \"demo\"\nlang = \"js\"\n""#,
        )
}

/// Gives the project one object of each kind; returns the pages, and the values of the variables in the lines.
fn furnish(world: &World) -> (Vec<String>, Vec<(&'static str, String)>) {
    let write = |name: &str, content: &str| {
        std::fs::write(world.folder.path().join(name), content).expect("written");
    };
    write("FILE", "function loop() { return 1000; }");
    write("settings.json", "{}");
    write("MANIFEST", "name = \"demo\"\nlang = \"js\"\n");
    write(
        "definition.json",
        r#"{"blink":{"times":{"type":"FreeValue"}},"metadata":{"direction":"command"}}"#,
    );
    let devices = world.get("/devices/props");
    let device = text(&devices["devices"][0], "ID").to_owned();
    let groups = world.get("/deploymentgroups");
    let groups = groups["deployment_groups"].as_array().expect("groups");
    let group = groups
        .iter()
        .find(|group| group["name"] == "demo")
        .expect("the demo's");
    let group = text(group, "id").to_owned();
    let code = json!({"snippets": [{"name": "loop", "code": "function loop() { send_msg({ temperature: 21 }); return 500; }"}]});
    let path = format!("/project/{}/branches/main/snippets", world.api.project);
    assert_eq!(world.api.put(&path, &code).0, 200);
    // Lines restore the first revision, so it has the file.
    world.post("/branches/main/files", &json!({"name": "notes.js"}));
    world.post("/branches/main/revisions", &json!({"message": "first"}));
    world.post(&format!("/deploymentgroups/{group}/flashfw"), &json!({}));
    let rollout = wait_for("the rollout", || {
        let rollouts = world.get("/rollouts");
        let rollout = &rollouts["rollouts"][0];
        (rollout["status"] == "deployed").then(|| text(rollout, "id").to_owned())
    });
    let hook = world.post(
        "/webhooks",
        &json!({"url": format!("http://127.0.0.1:{}/hook", receiver())}),
    );
    let hook = text(&hook, "id").to_owned();
    world.post(
        "/alerts/rules",
        &json!({"name": "warm", "condition": "value", "filter": "temperature>0"}),
    );
    let alert = wait_for("an alert", || {
        let alerts = world.get("/alerts");
        alerts["alerts"][0]["id"].as_str().map(str::to_owned)
    });
    let rules = world.get("/alerts/rules");
    let rule = text(&rules["rules"][0], "id").to_owned();
    for file in ["loop", "firmware.toml", "notes.js"] {
        let path = format!("/project/{}/branches/main/drafts/{file}", world.api.project);
        let (status, answer) = world.api.put(&path, &json!({"text": "// a draft"}));
        assert_eq!(status, 200, "{answer}");
    }
    let token = world.post("/tokens", &json!({"name": "spare", "scopes": ["read"]}));
    let job = world.post(
        "/jobs",
        &json!({"kind": "tag", "filter": "name:device-3", "add": ["field"]}),
    );
    let job = text(&job["job"], "id").to_owned();
    let mut pages: Vec<String> = [
        "/devices",
        "/devices?filter=group:demo",
        "/devices/add",
        "/devices/waiting",
        "/groups",
        "/code/main/loop",
        "/code/main/firmware.toml",
        "/code/main/notes.js",
        "/releases",
        "/releases/keys",
        "/definitions",
        "/definitions/new",
        "/definitions/echo",
        "/stream",
        "/plots?path=temperature&by=group",
        "/logs",
        "/crashes",
        "/alerts",
        "/webhooks",
        "/tokens",
        "/audit",
        "/jobs",
    ]
    .map(str::to_owned)
    .to_vec();
    for tab in [
        "",
        "/plots?path=temperature",
        "/commands",
        "/timeline",
        "/logs",
        "/history",
        "/board",
        "/settings",
    ] {
        pages.push(format!("/devices/{device}{tab}"));
    }
    for part in ["", "/flash", "/rollback", "/cancel", "/delete"] {
        pages.push(format!("/groups/{group}{part}"));
    }
    pages.push(format!("/groups/{group}/rollouts/{rollout}"));
    pages.push(format!("/webhooks/{hook}"));
    pages.push(format!("/jobs/{job}"));
    let variables = vec![
        ("DEVICE", device),
        ("ALERT", alert),
        ("RULE", rule),
        ("ID", text(&token, "id").to_owned()),
        ("CODE", "7K3M-9PQX".to_owned()),
    ];
    (pages, variables)
}
