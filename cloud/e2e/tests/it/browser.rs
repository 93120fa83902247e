//! The dashboard of a real demo in a real Chromium, with and without scripts.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use iottly_e2e::{Process, beside_others, program, wait_for};
use tempfile::TempDir;

use crate::webdriver::{Browser, is_installed, is_violation};

/// A demo, and the text that it prints.
pub(crate) struct Demo {
    process: Process,
    printed: String,
    _folder: TempDir,
}

impl Demo {
    pub(crate) fn start(devices: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("printed");
        let mut command = Command::new(program());
        command.args([
            "demo",
            "--devices",
            &devices.to_string(),
            "--http",
            "127.0.0.1:0",
            "--mqtt",
            "127.0.0.1:0",
            "--data",
        ]);
        command
            .arg(folder.path().join("data"))
            .stdout(File::create(&out).expect("a file"));
        let process = Process::start("the demo", &mut command);
        let printed = wait_for("the demo", || {
            let printed = std::fs::read_to_string(&out).expect("readable");
            printed.contains("Ctrl-C stops everything.").then_some(printed)
        });
        Self {
            process,
            printed,
            _folder: folder,
        }
    }

    /// Returns the rest of the line that begins with a word.
    pub(crate) fn says(&self, word: &str) -> &str {
        let line = self
            .printed
            .lines()
            .find_map(|line| line.trim().strip_prefix(word));
        line.unwrap_or_else(|| panic!("no {word} in {}", self.printed))
            .trim()
    }

    /// Ends the demo.
    pub(crate) fn end(self) {
        self.process.terminate();
    }

    /// Returns the one-time link.
    pub(crate) fn link(&self) -> &str {
        self.says("Dashboard")
    }

    pub(crate) fn url(&self) -> &str {
        self.says("REST API").trim_end_matches("/v1.0")
    }
}

#[test]
fn a_person_logs_in_sends_a_command_and_sees_the_answer() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let demo = Demo::start(1);
    for javascript in [false, true] {
        let browser = Browser::start(javascript);
        let name = if javascript { "with" } else { "without" };
        log_in(&browser, &demo, name);
        send_a_command(&browser, javascript, name);
        forms_of_other_sites_do_nothing(&browser, &demo);
        browser.open(demo.url());
        browser.click(&browser.find("form[action='/logout'] button"));
        browser.find("input#token");
        browser.open(demo.url());
        browser.find("input#token");
    }
    one_click_away(&demo);
    demo.process.terminate();
}

/// Logs in with the demo's token, after a wrong one.
fn log_in(browser: &Browser, demo: &Demo, name: &str) {
    browser.open(demo.url());
    browser.write(&browser.find("input#name"), "ada");
    browser.write(&browser.find("input#password"), "wrong horse");
    browser.click(&browser.find("form.by-name button"));
    browser.shows("Name or password is wrong.");
    browser.click(&browser.find("summary"));
    browser.write(&browser.find("input#token"), "iot_wrong");
    browser.click(&browser.find("form.by-token button"));
    browser.shows("This token is not known.");
    browser.picture(&format!("{name}-scripts-login"));
    browser.write(&browser.find("input#token"), demo.says("Token"));
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
    assert!(
        browser.url().starts_with(&format!("{}/p/", demo.url())),
        "{}",
        browser.url()
    );
    browser.picture(&format!("{name}-scripts-overview"));
    browser.open(&format!("{}devices", browser.url()));
    browser.shows("device-1");
    browser.picture(&format!("{name}-scripts-devices"));
}

/// Sends the command `echo` with the form of the device's commands. With scripts another tab, which shows the device's
/// messages already, shows the answer at once; without, the page shows it when it is loaded again.
fn send_a_command(browser: &Browser, javascript: bool, name: &str) {
    browser.click(&browser.find("a.row-link"));
    browser.find("nav.tabs");
    let device = browser.url();
    let (watching, text) = (browser.tab(), format!("hello {name} scripts"));
    if javascript {
        browser.find(".link[data-state='live']");
        browser.run("window.stays = true");
        browser.another_tab();
    }
    browser.open(&format!("{device}/commands"));
    browser.write(&browser.find("input[name='echo.content']"), &text);
    browser.click(&browser.find("details[open] form button"));
    browser.shows("Accepted as command");
    assert!(
        browser.url().starts_with(&format!("{device}/commands?sent=")),
        "{}",
        browser.url()
    );
    browser.picture(&format!("{name}-scripts-sent"));
    if javascript {
        browser.look_at_tab(&watching);
        browser.shows(&text);
        browser.find("live-feed li[data-new]");
        assert_eq!(
            browser.run("return window.stays"),
            true,
            "the page was not loaded again"
        );
    } else {
        browser.open(&device);
        browser.find(".link[data-state='wait']");
        wait_for("the answer", || {
            browser.reload();
            browser.text().contains(&text).then_some(())
        });
        assert!(browser.try_find("li[data-new]").is_none(), "no script has run");
    }
    browser.picture(&format!("{name}-scripts-answer"));
}

/// Presses the buttons of another site's forms: on a page of that site, and in a frame that hides its origin.
fn forms_of_other_sites_do_nothing(browser: &Browser, demo: &Demo) {
    let form = format!(
        "<form method=post action={}/logout><button>Win a prize</button></form>",
        demo.url()
    );
    let framed = format!("<iframe sandbox=allow-forms srcdoc='{form}'></iframe>");
    for host in ["127.0.0.1", "localhost"] {
        for page in [&form, &framed] {
            let site = site(page.clone());
            browser.open(&format!("http://{host}:{}/", site.port()));
            if page.contains("iframe") {
                browser.look_into(&browser.find("iframe"));
            }
            browser.click(&browser.find("button"));
            if !page.contains("iframe") {
                browser.shows("the request comes from another site");
            }
            browser.open(demo.url());
            browser.find("nav.side");
        }
    }
    // The dashboard refuses to be shown in the frame of another site.
    let refused = browser.console();
    let refused: Vec<_> = refused.iter().filter(|line| is_violation(line)).collect();
    assert!(!refused.is_empty(), "frames of other sites are refused");
    assert!(
        refused.iter().all(|line| line.contains("frame-ancestors")),
        "{refused:#?}"
    );
}

/// Serves one page until the test's process ends.
fn site(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<!doctype html>";
            let _ = stream.write_all(format!("{head}{page}").as_bytes());
        }
    });
    address
}

/// Follows the link that the demo prints, which one click uses up.
fn one_click_away(demo: &Demo) {
    let browser = Browser::start(true);
    for _ in 0..2 {
        browser.open(demo.link());
        browser.shows("Open the dashboard");
    }
    browser.picture("link");
    browser.click(&browser.find("form[action='/login'] button"));
    browser.find("nav.side");
    let stranger = Browser::start(true);
    stranger.open(demo.link());
    stranger.shows("used already");
}
