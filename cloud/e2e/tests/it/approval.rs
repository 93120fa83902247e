//! Enrolment from the board's own screen, and with keys that wait, with the programs as people use them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use iottly_e2e::{agent_program, beside_others, wait_for};
use serde_json::{Value, json};

use crate::enrolment::{Site, site};
use crate::webdriver::{Browser, is_installed};

/// Board that shows its code and waits.
struct Screen {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    code: String,
    address: String,
}

impl Screen {
    fn start(args: &[&str], data: &Path) -> Self {
        let mut child = Command::new(agent_program())
            .arg("enroll")
            .args(args)
            .arg("--data")
            .arg(data)
            .env("IOTTLY_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("iottly-agent starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut text = String::new();
        while !text.contains("Waiting for the approval") {
            let read = output.read_line(&mut text).expect("reads");
            assert!(read > 0, "the board shows a code: {text}");
        }
        let after = |word: &str| {
            let rest = text.split_once(word).expect(word).1;
            rest.split_whitespace().next().expect("a word").to_owned()
        };
        Self {
            code: after("with the code"),
            address: after("board at"),
            child,
            output,
        }
    }

    /// Waits for the end; returns the exit code and the rest of the output.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("ends");
        let mut rest = String::new();
        while self.output.read_line(&mut rest).expect("reads") > 0 {}
        (status.code(), rest)
    }
}

/// Returns the address and the fingerprint of a site.
fn place(site: &Site) -> (String, String) {
    let made = site.operator(&["device", "enroll"]);
    let url = made["url"].as_str().expect("a url");
    let (rest, print) = url.split_once('#').expect("a fingerprint");
    let host = rest
        .trim_start_matches("iottly://")
        .split_once('/')
        .expect("a path")
        .0;
    (format!("https://{host}"), print.to_owned())
}

#[test]
fn a_board_is_approved_from_its_own_short_code() {
    let _turn = beside_others();
    let site = site();
    let (address, print) = place(&site);
    let path = site.board("hall");
    let board = Screen::start(
        &["--url", &address, "--ca-fingerprint", &print, "--name", "hall 7"],
        &path,
    );
    assert_eq!(board.address, format!("{address}/enroll"));
    let listed = site.operator(&["device", "waiting"]);
    assert_eq!(listed["boards"], json!([]), "it belongs to no project yet");
    let shown = site.operator(&["device", "waiting", &board.code]);
    assert_eq!(shown["board"]["name"], "hall 7");
    let made = site.operator(&["device", "approve", &board.code]);
    let (code, rest) = board.end();
    assert_eq!(code, Some(0), "{rest}");
    let id = made["ID"].as_str().expect("an id");
    assert!(rest.contains("hall 7") && rest.contains(id), "{rest}");
    let agent = Command::new(agent_program())
        .arg("run")
        .arg("--data")
        .arg(&path)
        .stderr(Stdio::null())
        .spawn();
    let mut agent = agent.expect("iottly-agent starts");
    wait_for("the approved board to connect", || {
        let listed = site.operator(&["device", "list"]);
        let devices = listed["devices"].as_array().expect("devices");
        let online = |shown: &&Value| shown["ID"] == id && shown["operatingstatus"] == "connected";
        devices.iter().find(online).map(|_| ())
    });
    agent.kill().expect("ends");
    agent.wait().expect("ended");

    let rejected = Screen::start(
        &["--url", &address, "--trust-on-first-use"],
        &site.board("cellar"),
    );
    site.operator(&["device", "reject", &rejected.code.to_lowercase()]);
    assert_eq!(rejected.end().0, Some(1));
    site.cloud.terminate();
}

#[test]
fn a_person_compares_the_code_and_approves_the_board_in_the_browser() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let site = site();
    let (address, print) = place(&site);
    let board = Screen::start(
        &["--url", &address, "--ca-fingerprint", &print, "--name", "hall 7"],
        &site.board("hall"),
    );
    let browser = Browser::start(true);
    browser.open(&site.api.url);
    browser.click(&browser.find("summary"));
    browser.write(&browser.find("input#token"), &site.api.token);
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
    browser.open(&format!("{}/p/{}/devices/add", site.api.url, site.api.project));
    browser.write(&browser.find("input#code"), &board.code.to_lowercase());
    browser.click(&browser.find("form[action$='/enroll'] button"));
    browser.shows("Approve this board?");
    browser.shows(&board.code);
    browser.picture("approve");
    browser.click(&browser.find("form[method='post'] button[value='approve']"));
    browser.shows("Add hall 7");
    let (code, rest) = board.end();
    assert_eq!(code, Some(0), "{rest}");
    browser.open(&format!("{}/p/{}/devices", site.api.url, site.api.project));
    browser.shows("hall 7");
    drop(browser);
    site.cloud.terminate();
}

#[test]
fn boards_of_a_waiting_key_are_approved_one_by_one() {
    let _turn = beside_others();
    let site = site();
    let key = site.operator(&[
        "enrolment-key",
        "create",
        "--name",
        "line 3",
        "--max-uses",
        "5",
        "--waiting",
    ]);
    let url = key["url"].as_str().expect("a url");
    let (one, two) = (
        Screen::start(&[url], &site.board("one")),
        Screen::start(&[url], &site.board("two")),
    );
    let listed = site.operator(&["device", "waiting"]);
    let codes: Vec<_> = listed["boards"]
        .as_array()
        .expect("boards")
        .iter()
        .map(|board| board["code"].as_str().expect("a code").to_owned())
        .collect();
    assert!(
        codes.len() == 2 && codes.contains(&one.code) && codes.contains(&two.code),
        "{listed}"
    );
    site.operator(&["device", "approve", &one.code, "--name", "porch"]);
    let (code, rest) = one.end();
    assert!(code == Some(0) && rest.contains("porch"), "{rest}");
    let listed = site.operator(&["device", "waiting"]);
    assert_eq!(listed["boards"].as_array().map(Vec::len), Some(1), "{listed}");
    site.operator(&["device", "reject", &two.code]);
    assert_eq!(two.end().0, Some(1));
    site.cloud.terminate();
}

#[test]
fn a_short_code_of_the_cloud_is_typed_on_the_board() {
    let _turn = beside_others();
    let site = site();
    let (address, print) = place(&site);
    let made = site.operator(&["device", "enroll", "--name", "attic"]);
    let code = made["short_code"].as_str().expect("a short code").to_lowercase();
    let listed = site.operator(&["device", "list"]);
    let waits = |device: &&Value| device["ID"] == made["device_id"];
    let device = listed["devices"].as_array().expect("devices").iter().find(waits);
    let device = device.expect("the new device");
    assert_eq!(
        device.get("legacy"),
        None,
        "a device without a board is not one of 0.1"
    );
    let enroll = |code: &str, name: &str| {
        let output = Command::new(agent_program())
            .args([
                "enroll",
                "--url",
                &address,
                "--pair-code",
                code,
                "--ca-fingerprint",
                &print,
                "--data",
            ])
            .arg(site.board(name))
            .env("IOTTLY_LOG", "warn")
            .output()
            .expect("iottly-agent starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let (ended, text) = enroll(&code, "attic");
    assert!(ended == Some(0) && text.contains("attic"), "{text}");
    let (ended, text) = enroll(&code, "another");
    assert!(
        ended == Some(1) && text.contains("403"),
        "the pair code works once: {text}"
    );
    for guess in ["0000-0000", "0000-0001", "0000-0002", "0000-0003", "0000-0004"] {
        let (ended, text) = enroll(guess, "guesser");
        assert!(ended == Some(1) && text.contains("403"), "{text}");
    }
    let (ended, text) = enroll(&code, "guesser");
    assert!(ended == Some(1) && text.contains("429"), "five tries: {text}");
    site.cloud.terminate();
}
