//! A real Chromium, driven over the WebDriver protocol.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iottly_e2e::{PATIENCE, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHROMIUM: &str = "chromium";
const DRIVER: &str = "chromedriver";
/// Key of elements and frames in the protocol's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with an empty profile; ends on drop.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    /// Address of the session.
    session: String,
    _profile: TempDir,
}

/// An element of the current page.
#[derive(Clone)]
pub(crate) struct Element(String);

impl Element {
    /// Returns the element as an argument of a script.
    pub(crate) fn as_argument(&self) -> Value {
        json!({ELEMENT: self.0})
    }
}

/// Returns whether Chromium and its driver are installed. Under CI they must be.
pub(crate) fn is_installed() -> bool {
    let found = |program: &str| {
        Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let installed = found(CHROMIUM) && found(DRIVER);
    assert!(
        installed || std::env::var("CI").as_deref() != Ok("true"),
        "chromium or chromedriver is missing"
    );
    installed
}

impl Browser {
    /// Starts a browser, with or without scripts.
    pub(crate) fn start(javascript: bool) -> Self {
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = port(driver.stdout.take().expect("piped"));
        // Requests to the driver must not go through a proxy of the environment.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build();
        let (agent, profile) = (ureq::Agent::from(config), tempfile::tempdir().expect("a folder"));
        let profile_arg = format!("--user-data-dir={}", profile.path().display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
            &profile_arg,
        ];
        let scripts = if javascript { 1 } else { 2 };
        let options =
            json!({"args": args, "prefs": {"profile.managed_default_content_settings.javascript": scripts}});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let mut browser = Self {
            driver,
            agent,
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let made = browser
            .ask("", &wanted)
            .unwrap_or_else(|error| panic!("no browser: {error}"));
        browser.session = format!(
            "{}/{}",
            browser.session,
            made["sessionId"].as_str().expect("a session")
        );
        // Scripts that wait for something end by themselves.
        let _ = browser.post("/timeouts", &json!({"script": PATIENCE.as_millis()}));
        browser
    }

    /// Opens an address and waits until the page is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    pub(crate) fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// Returns the address of the current page.
    pub(crate) fn url(&self) -> String {
        self.get("/url").as_str().expect("text").to_owned()
    }

    /// Waits for an element that a CSS selector finds; returns the first.
    pub(crate) fn find(&self, selector: &str) -> Element {
        self.wait(&format!("an element {selector:?}"), || self.try_find(selector))
    }

    pub(crate) fn try_find(&self, selector: &str) -> Option<Element> {
        let found = self
            .ask("/element", &json!({"using": "css selector", "value": selector}))
            .ok()?;
        found[ELEMENT].as_str().map(|id| Element(id.to_owned()))
    }

    /// Waits for the element that a script returns.
    pub(crate) fn find_by(&self, what: &str, script: &str, arguments: &Value) -> Element {
        self.wait(what, || {
            let script = format!("if (document.readyState !== 'complete') return null; {script}");
            let body = json!({"script": script, "args": arguments});
            let found = self.ask("/execute/sync", &body).ok()?;
            found[ELEMENT].as_str().map(|id| Element(id.to_owned()))
        })
    }

    /// Clicks the element that a script returns; looks for it again if its page has gone meanwhile.
    pub(crate) fn click_by(&self, what: &str, script: &str, arguments: &Value) {
        self.wait(what, || {
            let element = self.find_by(what, script, arguments);
            match self.ask(&format!("/element/{}/click", element.0), &json!({})) {
                Ok(_) => Some(()),
                Err(reason) if reason.contains("stale element") => None,
                Err(reason) => panic!("{what}: {reason}"),
            }
        });
    }

    /// Returns the element that has the focus.
    pub(crate) fn focused(&self) -> Element {
        let found = self.get("/element/active");
        Element(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    pub(crate) fn click(&self, element: &Element) {
        self.post(&format!("/element/{}/click", element.0), &json!({}));
    }

    pub(crate) fn write(&self, element: &Element, text: &str) {
        self.post(&format!("/element/{}/value", element.0), &json!({"text": text}));
    }

    /// Returns the visible text of the page; empty while there is none.
    pub(crate) fn text(&self) -> String {
        let Some(body) = self.try_find("body") else {
            return String::new();
        };
        // The page may have been replaced in between.
        self.try_get(&format!("/element/{}/text", body.0))
            .ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Waits until the page shows a text.
    pub(crate) fn shows(&self, text: &str) {
        self.wait(&format!("the text {text:?}"), || {
            self.text().contains(text).then_some(())
        });
    }

    /// Runs a script in the page and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, &json!([]))
    }

    /// Runs a script with arguments in the page and returns its result.
    pub(crate) fn run_with(&self, script: &str, arguments: &Value) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Runs a script in the page and returns what its promise resolves to.
    pub(crate) fn run_async(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {body} }})().then(done, (error) => done(`failed: ${{error}}`));"
        );
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Calls a command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// Returns what the pages have written to the console since the last call: violations of the content security policy,
    /// errors of scripts, and requests that failed.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().expect("a list").iter();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.map(text).collect()
    }

    /// Gives the page a width, and light or dark colours.
    pub(crate) fn look(&self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        // Colours must not be on their way from one scheme to the other when they are looked at.
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Opens another tab and switches to it; returns the previous one.
    pub(crate) fn another_tab(&self) -> String {
        let before = self.get("/window").as_str().expect("a handle").to_owned();
        let made = self.post("/window/new", &json!({"type": "tab"}));
        self.look_at_tab(made["handle"].as_str().expect("a handle"));
        before
    }

    /// Returns the current tab.
    pub(crate) fn tab(&self) -> String {
        self.get("/window").as_str().expect("a handle").to_owned()
    }

    pub(crate) fn look_at_tab(&self, handle: &str) {
        self.post("/window", &json!({"handle": handle}));
    }

    /// Switches to the page inside a frame.
    pub(crate) fn look_into(&self, frame: &Element) {
        self.post("/frame", &json!({"id": {ELEMENT: frame.0}}));
    }

    /// Saves a picture of the page to the folder of `IOTTLY_SCREENSHOTS`, if that is set.
    pub(crate) fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("IOTTLY_SCREENSHOTS") {
            let picture = STANDARD
                .decode(self.get("/screenshot").as_str().expect("text"))
                .expect("base64");
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture)
                .expect("written");
        }
    }

    fn wait<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        let _tell = Tell { browser: self, what };
        wait_for(what, check)
    }

    fn get(&self, path: &str) -> Value {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    fn try_get(&self, path: &str) -> Result<Value, String> {
        answer(self.agent.get(format!("{}{path}", self.session)).call())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(path, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    fn ask(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self
            .agent
            .post(format!("{}{path}", self.session))
            .header("Content-Type", "application/json");
        answer(request.send(body.to_string()))
    }
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, String> {
    let mut response = response.map_err(|error| error.to_string())?;
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let value = answer["value"].take();
    if response.status() == 200 {
        Ok(value)
    } else {
        Err(value["message"].as_str().unwrap_or(&text).to_owned())
    }
}

/// Reads the driver's port from its output, and keeps reading the output.
fn port(stdout: impl std::io::Read + Send + 'static) -> u16 {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("successfully on port ") {
                let _ = send.send(port.trim_end_matches('.').parse().expect("a port"));
            }
        }
    });
    receive
        .recv_timeout(Duration::from_secs(60))
        .expect("chromedriver names its port")
}

/// Prints the page when a test fails while it waits.
struct Tell<'a> {
    browser: &'a Browser,
    what: &'a str,
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "waiting for {}; the page is {}:\n{}",
                self.what,
                self.browser.url(),
                self.browser.text()
            );
        }
    }
}

/// Returns true if a line of the console says that a page did what its content security policy forbids.
pub(crate) fn is_violation(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains("content security policy")
        || line.contains("trustedscript")
        || line.contains("trusted type")
}

impl Drop for Browser {
    /// Ends the browser. No page that a test has opened may have violated its content security policy.
    fn drop(&mut self) {
        let log = self
            .ask("/se/log", &json!({"type": "browser"}))
            .unwrap_or_default();
        let lines = log.as_array().into_iter().flatten();
        let violations: Vec<_> = lines
            .filter_map(|line| line["message"].as_str())
            .filter(|line| is_violation(line))
            .map(str::to_owned)
            .collect();
        // Ends the browser as well; killing the driver would leave it running.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        assert!(
            std::thread::panicking() || violations.is_empty(),
            "{violations:#?}"
        );
    }
}
