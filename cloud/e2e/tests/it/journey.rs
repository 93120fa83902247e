//! The tour of the README, word by word: in a real browser and from the command line, against a real demo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use iottly_e2e::{Api, Process, beside_others, free_port, program, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::Demo;
use crate::readme::{self, Act, Step, text};
use crate::webdriver::{Browser, is_installed};

/// Address of the README's receiver of webhooks.
const RECEIVER: &str = "127.0.0.1:9000";

struct Tour {
    demo: Demo,
    browser: Browser,
    api: Api,
    /// Folder in which the commands run.
    folder: TempDir,
    /// Address of the receiver, in place of the README's.
    receiver: String,
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
            folder: tempfile::tempdir().expect("a folder"),
            receiver: format!("127.0.0.1:{}", free_port()),
        })
    }

    /// Starts the receiver of the README at an address of this test.
    fn start_receiver(&self) -> Process {
        let (_, port) = self.receiver.split_once(':').expect("a port");
        let script = readme::block("receiver").replace("9000", port);
        assert_ne!(
            script,
            readme::block("receiver"),
            "the receiver has the port 9000"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {script}")]);
        let receiver = Process::start_with_log("the receiver", &mut command, &self.receiver_log());
        wait_for("the receiver", || {
            std::net::TcpStream::connect(&self.receiver).is_ok().then_some(())
        });
        receiver
    }

    /// Returns the file with what the receiver prints.
    fn receiver_log(&self) -> PathBuf {
        self.folder.path().join("receiver")
    }

    /// Does a step in the browser.
    fn click_through(&self, step: &Step, picture: &str) {
        for act in &step.acts {
            let act = match act {
                Act::Fill(label, value) => Act::Fill(label.clone(), value.replace(RECEIVER, &self.receiver)),
                other => other.clone(),
            };
            readme::act(&self.browser, &act);
        }
        self.browser.picture(picture);
    }

    /// Runs a command as it stands in the README, with words in place of its examples; returns what it prints.
    fn command(&self, line: &str, places: &[(&str, &str)]) -> String {
        let (ended, out, errors) = self.try_command(line, places);
        assert!(ended, "{line}: {out}{errors}");
        out
    }

    fn try_command(&self, line: &str, places: &[(&str, &str)]) -> (bool, String, String) {
        let mut line = line.replace(RECEIVER, &self.receiver);
        for (place, value) in places {
            assert!(line.contains(place), "{line} has no {place}");
            line = line.replace(place, value);
        }
        let bin = PathBuf::from(program());
        let path = format!(
            "{}:{}",
            bin.parent().expect("a folder").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("PATH", path)
            .env("IOTTLY_URL", &self.api.url)
            .env("IOTTLY_TOKEN", &self.api.token)
            .env("IOTTLY_PROJECT", &self.api.project)
            .stdin(Stdio::null())
            .current_dir(self.folder.path())
            .output()
            .expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

#[test]
fn the_tour_of_the_readme_works_in_the_browser_and_from_the_command_line() {
    let _turn = beside_others();
    let Some(tour) = Tour::begin() else { return };
    let steps: [Step; 6] = readme::tour().try_into().expect("six steps");
    let [live, command, code, webhook, alert, plot] = &steps;
    let receiver = tour.start_receiver();
    devices_are_live(&tour, live);
    a_command_is_answered(&tour, command);
    code_is_rolled_out(&tour, code);
    a_webhook_is_delivered_and_replayed(&tour, webhook);
    an_alert_is_raised(&tour, alert);
    a_plot_has_a_line_for_each_group(&tour, plot);
    receiver.kill();
    tour.demo.end();
}

/// Returns the commands of a step; the README must have this many.
fn commands<const N: usize>(step: &Step) -> [&str; N] {
    let commands: Vec<&str> = step.commands.iter().map(String::as_str).collect();
    commands
        .try_into()
        .unwrap_or_else(|commands: Vec<_>| panic!("{}: {N} commands, not {commands:?}", step.title))
}

fn devices_are_live(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-live");
    tour.browser.find("live-feed li[data-new]");
    let [list, tail] = commands(step);
    let listed = tour.command(list, &[]);
    assert_eq!(listed.matches("online").count(), 3, "{listed}");
    let (_, shown, errors) = tour.try_command(&format!("timeout -s INT 4 {tail}"), &[]);
    assert!(shown.contains("temperature"), "{shown}{errors}");
}

fn a_command_is_answered(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-command");
    let [send] = commands(step);
    let answered = tour.command(send, &[]);
    assert!(answered.contains("answered"), "{answered}");
}

fn code_is_rolled_out(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-rollout");
    let [init, push, flash] = commands(step);
    tour.command(init, &[]);
    tour.command(push, &[]);
    let watched = tour.command(flash, &[]);
    assert!(watched.contains("deployed"), "{watched}");
}

fn a_webhook_is_delivered_and_replayed(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-webhook");
    let browsers = tour.browser.url();
    let id = browsers.split(['/', '?']).nth(6).expect("an id").to_owned();
    is_replayed(tour, &id);
    let [add, log, replay] = commands(step);
    let made = tour.command(add, &[]);
    let id = made.split_whitespace().nth(1).expect("an id").to_owned();
    let message = wait_for("a delivery", || {
        let out = tour.command(log, &[("ID", &id)]);
        let line = out.lines().find(|line| line.starts_with("http_200"))?;
        let (_, rest) = line.split_once("message ")?;
        rest.split_whitespace().next().map(str::to_owned)
    });
    tour.command(
        replay,
        &[("replay ID", &format!("replay {id}")), ("MESSAGE", &message)],
    );
    is_replayed(tour, &id);
    let received = std::fs::read_to_string(tour.receiver_log()).expect("a log");
    assert!(received.contains("POST /hook HTTP/1.1\" 200"), "{received}");
}

/// Waits until one message was delivered twice.
fn is_replayed(tour: &Tour, id: &str) {
    let path = format!("/project/{}/webhooks/{id}/log?numEntries=500", tour.api.project);
    wait_for("a replay", || {
        let log = tour.api.get(&path).1;
        let attempts = log["attempts"].as_array().expect("attempts");
        let mut taken: Vec<&str> = attempts
            .iter()
            .filter(|attempt| attempt["result"] == "http_200")
            .map(|attempt| text(attempt, "message"))
            .collect();
        let all = taken.len();
        taken.sort_unstable();
        taken.dedup();
        (taken.len() < all).then_some(())
    });
}

fn an_alert_is_raised(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-alert");
    let [add, list] = commands(step);
    tour.command(add, &[]);
    wait_for("both alerts", || {
        let listed = tour.command(list, &[]);
        (listed.contains("warm") && listed.contains("hot")).then_some(())
    });
}

fn a_plot_has_a_line_for_each_group(tour: &Tour, step: &Step) {
    tour.click_through(step, "tour-plot-first");
    wait_for("both lines", || {
        tour.browser.reload();
        let lines = tour.browser.run(
            "return document.querySelector('svg .line-2') ? [...document.querySelectorAll('tr[data-line] b')].map((name) => name.textContent) : []",
        );
        let lines: Vec<&str> = lines
            .as_array()
            .expect("names")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        (lines == ["attic", "demo"] || lines == ["demo", "attic"]).then_some(())
    });
    tour.browser.picture("tour-plot");
    let [create, move_, points, save] = commands(step);
    tour.command(create, &[]);
    tour.command(move_, &[]);
    wait_for("points of both groups", || {
        let out = tour.command(points, &[]);
        (out.contains("demo") && out.contains("cellar")).then_some(())
    });
    tour.command(save, &[]);
    let saved = tour.command("iottly series saved", &[]);
    assert!(saved.contains("warm"), "{saved}");
}
