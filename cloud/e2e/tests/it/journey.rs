//! The tour of the dashboard's documentation, in a real browser and from the command line, against a real demo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iottly_e2e::{Api, beside_others, wait_for};
use serde_json::Value;

use crate::browser::Demo;
use crate::webdriver::{Browser, is_installed};

/// The document that the test follows.
const TOUR: &str = include_str!("../../../../docs/DASHBOARD.md");
/// Keys of the WebDriver protocol.
const CONTROL: char = '\u{E009}';
const RELEASE: char = '\u{E000}';

struct Tour {
    demo: Demo,
    browser: Browser,
    api: Api,
    base: String,
}

impl Tour {
    fn begin() -> Option<Self> {
        if !is_installed() {
            eprintln!("not tried: chromium and chromedriver are not installed");
            return None;
        }
        let demo = Demo::start(3);
        let browser = Browser::start(true);
        browser.open(demo.link());
        browser.click(&browser.find("form[action='/login'] button"));
        browser.find("nav.side");
        let base = browser.url().trim_end_matches('/').to_owned();
        let project = base.rsplit('/').next().expect("a project").to_owned();
        let api = Api::new(demo.url(), demo.says("Token"), &project);
        Some(Self {
            demo,
            browser,
            api,
            base,
        })
    }

    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.base));
    }

    fn click(&self, selector: &str) {
        self.browser.click(&self.browser.find(selector));
    }

    fn write(&self, selector: &str, text: &str) {
        self.browser.write(&self.browser.find(selector), text);
    }

    fn choose(&self, selector: &str, text: &str) {
        let script = format!(
            "const list = document.querySelector({selector:?});
             list.value = [...list.options].find((option) => option.text.includes({text:?})).value;"
        );
        self.browser.run(&script);
    }

    /// Runs a command that the document names, with words in place of its examples.
    fn command(&self, written: &str, arguments: &[&str]) -> String {
        assert!(TOUR.contains(written), "the document does not have {written:?}");
        let (code, out, errors) = self.api.iottly(std::path::Path::new("/"), arguments);
        assert_eq!(code, Some(0), "{written}: {errors}");
        out
    }
}

/// Starts a receiver that takes every request, and returns its port and the number of requests.
fn receiver() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.split_once(": ")
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, count)
}

#[test]
fn the_tour_of_the_documentation_works_in_the_browser_and_from_the_command_line() {
    let _turn = beside_others();
    let Some(tour) = Tour::begin() else { return };
    devices_are_live(&tour);
    a_command_is_answered(&tour);
    code_is_rolled_out(&tour);
    a_webhook_is_delivered_and_replayed(&tour);
    an_alert_is_raised(&tour);
    a_plot_has_a_line_for_each_group(&tour);
    every_line_for_a_script_is_a_command(&tour);
    tour.demo.end();
}

fn devices_are_live(tour: &Tour) {
    tour.open("/devices?filter=presence:online");
    tour.browser.shows("3 of 3 devices");
    tour.browser.find(".link[data-state='live']");
    tour.browser.picture("tour-devices");
    tour.click("a.row-link");
    tour.browser.find("live-feed li[data-new]");
    tour.browser.picture("tour-live");
    let listed = tour.command("iottly device list", &["device", "list", "--output", "jsonl"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

fn a_command_is_answered(tour: &Tour) {
    let device = tour.browser.url();
    tour.browser.open(&format!("{device}/commands"));
    tour.write("input[name='echo.content']", "hello from the browser");
    tour.click("details[open] form button");
    tour.browser.shows("Accepted as command");
    tour.browser.open(&device);
    tour.browser
        .shows(r#"{"ECHO":{"echo":{"content":"hello from the browser"}}}"#);
    let answered = tour.command(
        r#"iottly cmd device-1 echo content="hi there!" --wait 5s"#,
        &["cmd", "device-1", "echo", "content=hi there!", "--wait", "5s"],
    );
    assert!(answered.contains("answered"), "{answered}");
}

fn code_is_rolled_out(tour: &Tour) {
    tour.open("/code/main/loop");
    tour.write(
        "code-editor textarea",
        &format!("{CONTROL}a{RELEASE}function loop() {{ send_msg({{ tour: 'is here', temperature: 21 }}); return 500; }}"),
    );
    tour.browser.shows("draft kept");
    tour.click("button[formaction$='/revision']");
    tour.browser.shows("Saved as a revision.");
    tour.click("a[href*='/flash?revision=']");
    tour.browser.shows("This affects 3 devices");
    tour.click("form.dialog button[data-kind='main']");
    tour.browser.shows("3 committed, of 3 devices");
    tour.browser.picture("tour-rollout");
    let watched = tour.command(
        "iottly group flash demo --watch",
        &["group", "watch", "demo", "--output", "json"],
    );
    assert!(watched.contains("deployed"), "{watched}");
}

fn a_webhook_is_delivered_and_replayed(tour: &Tour) {
    let (port, count) = receiver();
    tour.open("/webhooks");
    tour.write("input#url", &format!("http://127.0.0.1:{port}/hook"));
    tour.write("input#description", "tour");
    tour.write("input#filter", "tour:*here");
    tour.click("form[action$='/webhooks'] button[data-kind='main']");
    tour.browser.shows("Requests are signed with this secret.");
    wait_for("a delivery", || (count.load(Ordering::SeqCst) > 0).then_some(()));
    tour.click("a.row-link");
    tour.browser.shows("http_200");
    // Without further messages, each request from here on is a replay.
    let own = tour.browser.url();
    tour.click("details.card > summary");
    tour.click("input[name='enabled']");
    tour.click("button[value='save']");
    tour.browser.shows("Saved, for messages from now on.");
    tour.click("details.card > summary");
    tour.click("input[name='enabled']");
    tour.write("input#filter", &format!("{CONTROL}a{RELEASE}tour:nowhere"));
    tour.click("button[value='save']");
    tour.browser.shows("Saved, for messages from now on.");
    tour.browser.open(&own);
    let before = count.load(Ordering::SeqCst);
    tour.click("button[value='replay']");
    tour.browser.shows("deliveries are sent again");
    tour.browser.picture("tour-webhook");
    wait_for("a replay", || {
        (count.load(Ordering::SeqCst) > before).then_some(())
    });
    let id = own.rsplit('/').next().expect("an id").to_owned();
    let log = tour.command(
        "iottly webhook log ID",
        &["webhook", "log", &id, "--output", "json"],
    );
    let log: Value = serde_json::from_str(&log).expect("json");
    assert_eq!(log["attempts"][0]["result"], "http_200", "{log}");
}

fn an_alert_is_raised(tour: &Tour) {
    tour.open("/alerts");
    tour.browser.picture("tour-alerts-before");
    tour.write("input#name", "tour");
    tour.choose("select#condition", "a message matches");
    tour.write("input#filter", r#"{"payload.temperature":{"$gt":20}}"#);
    tour.click(
        "form[action$='/rules'] button[data-kind='main'], form[action$='/alerts'] button[data-kind='main']",
    );
    let listed = wait_for("an alert", || {
        let (code, out, _) = tour
            .api
            .iottly(std::path::Path::new("/"), &["alert", "list", "--output", "jsonl"]);
        (code == Some(0) && out.contains("tour")).then_some(out)
    });
    assert!(listed.contains("raised"), "{listed}");
    tour.open("/alerts");
    tour.browser.shows("tour");
    tour.browser.picture("tour-alerts");
}

fn a_plot_has_a_line_for_each_group(tour: &Tour) {
    tour.open("/groups");
    tour.browser
        .run("for (const details of document.querySelectorAll('main details')) details.open = true");
    tour.write("form[action$='/groups'] input#name", "attic");
    tour.click("form[action$='/groups'] button");
    tour.browser.shows("attic");
    tour.open("/devices?filter=name:device-3");
    tour.choose("select#to", "attic");
    tour.click("td.check input");
    tour.click("div.bulk button");
    tour.browser.shows("Move 1 device to attic?");
    tour.click("form.dialog button[data-kind='final']");
    tour.browser.shows("1 of 1 devices done");
    tour.open("/plots?path=temperature&agg=avg&by=group&since=15m");
    wait_for("both lines", || {
        tour.browser.reload();
        let text = tour.browser.text();
        (text.contains("attic") && text.contains("demo") && tour.browser.try_find("svg .line-2").is_some())
            .then_some(())
    });
    tour.browser.picture("tour-plot");
    let listed = tour.command("iottly series list", &["series", "list"]);
    assert!(listed.contains("temperature"), "{listed}");
}

/// Runs what each page offers for scripts against a cloud that is not there: a wrong usage would end with code 2.
fn every_line_for_a_script_is_a_command(tour: &Tour) {
    let asked = |path: &str| tour.api.get(&format!("/project/{}{path}", tour.api.project)).1;
    let device = asked("/devices/props")["devices"][0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let groups = asked("/deploymentgroups");
    let group = groups["deployment_groups"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let own = |tab: &str| format!("/devices/{device}{tab}");
    let mut pages: Vec<String> = [
        "/devices",
        "/devices/add",
        "/devices/waiting",
        "/groups",
        "/code/main/loop",
        "/releases",
        "/definitions",
        "/definitions/new",
        "/stream",
        "/plots",
        "/logs",
        "/crashes",
        "/alerts",
        "/webhooks",
        "/tokens",
        "/audit",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.extend(["", "/commands", "/logs", "/history", "/settings"].map(own));
    pages.push(format!("/groups/{group}"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages {
        tour.open(&page);
        let lines = tour.browser.run(
            "return [...document.querySelectorAll('details.script pre')].map((line) => line.textContent).filter((line) => line.startsWith('iottly '))",
        );
        for line in lines.as_array().expect("a list").iter().filter_map(Value::as_str) {
            let program = format!("iottly() {{ {:?} \"$@\"; }}; {line}", iottly_e2e::program());
            let ended = std::process::Command::new("sh")
                .args(["-c", &program])
                .envs([("IOTTLY_URL", "http://127.0.0.1:1"), ("IOTTLY_TOKEN", "iot_x")])
                .env("IOTTLY_PROJECT", &tour.api.project)
                .current_dir("/")
                .output()
                .expect("a shell");
            let errors = String::from_utf8_lossy(&ended.stderr);
            if errors.contains("Usage:") {
                wrong.push(format!("{page}: {line}: {errors}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen >= 20, "{seen} lines");
}
