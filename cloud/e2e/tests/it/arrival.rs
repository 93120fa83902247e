//! A new device while people look: its arrival, the numbers of the overview, its presence, and why it cannot get in.

use iottly_e2e::{CloudHome, DeviceHome, Process, beside_others};

use crate::webdriver::{Browser, is_installed};

const FIRMWARE: &str = "let n = 0; function loop() { send_msg({ n: n++ }); return 500; }";

struct World {
    _home: CloudHome,
    device: DeviceHome,
    browser: Browser,
    cloud: Process,
}

impl World {
    fn begin() -> Option<Self> {
        if !is_installed() {
            eprintln!("not tried: chromium and chromedriver are not installed");
            return None;
        }
        let home = CloudHome::new();
        let device = home.device("arrival", "porch", FIRMWARE);
        let cloud = home.start();
        let browser = Browser::start(true);
        browser.open(&format!("{}/login", device.api.url));
        browser.click(&browser.find("summary"));
        browser.write(&browser.find("input#token"), &device.api.token);
        browser.click(&browser.find("form.by-token button"));
        browser.find("nav.side");
        Some(Self {
            _home: home,
            device,
            browser,
            cloud,
        })
    }

    fn open(&self, path: &str) {
        let (url, project) = (&self.device.api.url, &self.device.api.project);
        let path = path.replace("<device>", &self.device.id);
        self.browser.open(&format!("{url}/p/{project}{path}"));
        self.browser.find(".link[data-state='live']");
        self.browser.run("window.stays = true");
    }

    /// Asserts that the page was not loaded again since it was opened.
    fn stays(&self) {
        assert_eq!(self.browser.run("return window.stays"), true, "not loaded again");
    }
}

#[test]
fn an_arrival_is_seen_as_it_happens_and_a_lost_device_too() {
    let _turn = beside_others();
    let Some(world) = World::begin() else { return };
    let browser = &world.browser;
    world.open("/");
    let overview = browser.tab();
    browser.another_tab();
    world.open("/devices/<device>/arrival");
    browser.shows("Waiting for its board");
    let agent = world.device.start();
    browser.find("[data-step='online'][data-state='done']");
    browser.find("[data-step='message'][data-state='done']");
    let seconds = browser.run("return document.querySelector('[data-seconds]').textContent");
    let seconds = seconds.as_str().and_then(|text| text.strip_suffix(" s"));
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).expect("seconds");
    assert!(seconds < 60, "{seconds}");
    world.stays();
    browser.picture("arrival");

    browser.look_at_tab(&overview);
    browser.shows("1 of 1");
    world.stays();

    // The board loses its power: nothing closes the connection.
    world.open("/devices/<device>");
    browser.find(".presence[data-state='online'] .since time");
    browser.find("[data-proof] time");
    let stop = |signal: &str| {
        let id = agent.id().to_string();
        let done = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(done.expect("kill runs").success());
    };
    stop("-STOP");
    browser.find(".presence[data-state='offline'] .since time");
    assert!(browser.text().contains("last proof"));
    world.stays();
    browser.picture("lost");
    stop("-CONT");
    browser.find(".presence[data-state='online'] .since time");
    agent.terminate();
    world.cloud.terminate();
}

#[test]
fn the_reason_of_a_wrong_secret_appears_by_itself() {
    let _turn = beside_others();
    let Some(world) = World::begin() else { return };
    let file = world.device.path.join("agent.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let secret = text
        .lines()
        .find(|line| line.starts_with("secret = "))
        .expect("a secret");
    let wrong = format!("secret = \"{}\"", "0".repeat(64));
    std::fs::write(&file, text.replace(secret, &wrong)).expect("written");
    world.open("/devices/<device>/arrival");
    let agent = world.device.start();
    world.browser.shows("was refused at its login");
    world.browser.shows("secret is wrong");
    world.stays();
    world.browser.picture("refused");
    world.open("/devices/<device>");
    world.browser.shows("secret is wrong");
    agent.terminate();
    world.cloud.terminate();
}
