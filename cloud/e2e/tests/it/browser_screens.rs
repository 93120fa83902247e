//! Each screen of a project in a real Chromium: what it says with nothing to show, with a filter that nothing matches, when
//! the store does not answer for it, and to a person without the right; and its main act.
//!
//! Main acts that need running devices are in `journey.rs`, `browser.rs` and `browser_build.rs`.

use std::cell::RefCell;

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, beside_others, wait_for};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

mod pages;
mod table;

use crate::webdriver::{Browser, is_installed};
use table::SCREENS;

struct World {
    home: CloudHome,
    device: DeviceHome,
    browser: Browser,
    cloud: Process,
    /// Words in the addresses, such as `<group>`, and the ids in their places.
    ids: RefCell<Vec<(&'static str, String)>>,
}

impl World {
    fn begin() -> Option<Self> {
        if !is_installed() {
            eprintln!("not tried: chromium and chromedriver are not installed");
            return None;
        }
        let home = CloudHome::new();
        let device = home.device("screens", "porch", "function loop() { return 1000; }");
        let (cloud, ready) = home.start_ready(&[], |_| {});
        let browser = Browser::start(true);
        // The first person owns the project. Without the table of tokens, a login with a token is none.
        browser.open(ready["login"].as_str().expect("a link for the first person"));
        browser.write(&browser.find("#name"), "ada");
        for field in ["#password", "#again"] {
            browser.write(&browser.find(field), "correct horse battery");
        }
        browser.click(&browser.find("form[action='/join'] button"));
        browser.find("nav.side");
        Some(Self {
            home,
            device,
            browser,
            cloud,
            ids: RefCell::default(),
        })
    }

    fn api(&self) -> &Api {
        &self.device.api
    }

    fn open(&self, path: &str) {
        let path = path.replace("<device>", &self.device.id);
        let path = self
            .ids
            .borrow()
            .iter()
            .fold(path, |path, (word, id)| path.replace(word, id));
        let (url, project) = (&self.api().url, &self.api().project);
        self.browser.open(&format!("{url}/p/{project}{path}"));
    }

    fn log_in(&self, token: &str) {
        let browser = &self.browser;
        browser.open(&format!("{}/login", self.api().url));
        browser.click(&browser.find("summary"));
        browser.write(&browser.find("input#token"), token);
        browser.click(&browser.find("form.by-token button"));
        browser.find("nav.side");
    }

    fn log_out(&self) {
        self.browser
            .click(&self.browser.find("form[action='/logout'] button"));
        self.browser.find("form[action='/login']");
    }

    fn click(&self, selector: &str) {
        self.browser.click(&self.browser.find(selector));
    }

    fn write(&self, selector: &str, text: &str) {
        self.browser.write(&self.browser.find(selector), text);
    }

    /// Renames a table of the cloud's database: what the cloud asks of it fails from then on.
    fn rename(&self, from: &str, to: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(self.home.database());
            let mut connection = SqliteConnection::connect_with(&options)
                .await
                .expect("the cloud's database");
            sqlx::query(sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}")))
                .execute(&mut connection)
                .await
                .expect("renamed");
            connection.close().await.expect("closed");
        });
    }
}

#[test]
fn every_screen_has_its_states() {
    let _turn = beside_others();
    let Some(world) = World::begin() else { return };
    for word in ["echo", "examplecommand"] {
        world.open(&format!("/definitions/{word}"));
        world.click("button[value='delete']");
        world.browser.shows("Define a message");
    }
    let project = format!("/project/{}", world.api().project);
    let groups = world.api().get(&format!("{project}/deploymentgroups")).1;
    let group = groups["deployment_groups"][0]["id"].as_str().expect("an id");
    world.ids.borrow_mut().push(("<group>", group.to_owned()));
    for screen in &SCREENS {
        if screen.path.contains("<hook>") && world.ids.borrow().len() == 1 {
            furnish(&world);
        }
        world.open(screen.path);
        world.browser.shows(screen.empty);
        if !screen.act.is_empty() {
            world.browser.shows(screen.act);
        }
        let of_page = || SCREENS.iter().filter(|other| other.path == screen.path);
        if of_page().all(|row| row.act.is_empty()) {
            assert_eq!(acts(&world.browser), 0, "{} has an act", screen.path);
        }
        if of_page().all(|row| row.nothing.0.is_empty()) {
            let filter = world.browser.try_find("form.filter");
            assert!(filter.is_none(), "{} has a filter", screen.path);
        }
        let (query, words) = screen.nothing;
        if !query.is_empty() {
            world.open(&format!("{}?{query}", screen.path));
            world.browser.shows(words);
        }
    }
    parts_fail_alone(&world);
    a_portal_has_its_states(&world);
    a_reader_sees_no_act(&world);
    take_away(&world);
    main_acts(&world);
    world.cloud.terminate();
}

/// Returns the number of buttons of the page that change the project.
fn acts(browser: &Browser) -> u64 {
    let found = browser.run(
        "const buttons = [...document.querySelectorAll(\"main form[method='post'] button:not([disabled]):not([type='button'])\")];
         return buttons.filter((button) => !['/shortcuts', '/devices/add'].some((own) => (button.getAttribute('formaction') ?? button.form.getAttribute('action')).endsWith(own))).length",
    );
    found.as_u64().expect("a number")
}

/// Makes a webhook, a job and a rollout.
fn furnish(world: &World) {
    let sent = |method: &str, path: &str, body| {
        let path = format!("/project/{}{path}", world.api().project);
        let (status, made) = match method {
            "PUT" => world.api().put(&path, &body),
            _ => world.api().post(&path, &body),
        };
        assert!((200..300).contains(&status), "{path}: {made}");
        made
    };
    let made = |path: &str, body| sent("POST", path, body);
    let id = |of: &Value| {
        of["id"]
            .as_str()
            .unwrap_or_else(|| panic!("an id: {of}"))
            .to_owned()
    };
    let hook = made(
        "/webhooks",
        json!({"url": "https://example.com/hook", "filter": "nothing:here"}),
    );
    let job = made("/jobs", json!({"kind": "tag", "filter": "", "add": ["field"]}));
    let code = json!({"snippets": [{"name": "loop", "code": "function loop() { return 1000; }"}]});
    sent("PUT", "/branches/main/snippets", code);
    made("/branches/main/revisions", json!({"message": "first"}));
    let shed = made("/deploymentgroups", json!({"name": "shed", "branch": "main"}));
    let shed = id(&shed["deployment_group"]);
    made(&format!("/deploymentgroups/{shed}/flashfw"), json!({}));
    let rollout = wait_for("the rollout", || {
        let path = format!("/project/{}/rollouts", world.api().project);
        let rollouts = world.api().get(&path).1;
        (rollouts["rollouts"][0]["status"] == "deployed").then(|| id(&rollouts["rollouts"][0]))
    });
    world.ids.borrow_mut().extend([
        ("<hook>", id(&hook)),
        ("<job>", id(&job["job"])),
        ("<shed>", shed),
        ("<rollout>", rollout),
    ]);
}

/// Deletes the webhook again, for the main acts.
fn take_away(world: &World) {
    world.log_in(&world.api().token);
    world.open("/webhooks/<hook>");
    world.click("button[value='delete']");
    world.click("form.dialog button[data-kind='final']");
    world.browser.shows("No webhooks yet");
}

/// Opens a link for people outside, which shows nothing yet, and says so when the deliveries cannot be read.
fn a_portal_has_its_states(world: &World) {
    world.open("/webhooks/<hook>");
    world.click("button[value='portal']");
    world.browser.shows("/portal/open?key=");
    let link = world
        .browser
        .run("return document.querySelector('copy-text pre').textContent");
    let outside = Browser::start(true);
    outside.open(link.as_str().expect("a link"));
    outside.click(&outside.find("form button"));
    outside.shows("No attempts");
    world.rename("webhook_attempts", "away");
    outside.reload();
    let told = outside.text();
    world.rename("away", "webhook_attempts");
    assert!(told.contains("The rest of the page is not affected."), "{told}");
    assert!(told.contains("open until"), "{told}");
    world.open("/webhooks/<hook>");
    world.click("button[value='close_portal']");
    world.browser.shows("The link is closed.");
    outside.reload();
    outside.shows("This link is not open");
}

/// Takes a table away from each screen: the frame stands and leads to the others, and so do the other parts of the screen.
fn parts_fail_alone(world: &World) {
    for screen in SCREENS.iter().filter(|screen| !screen.table.is_empty()) {
        world.rename(screen.table, "away");
        world.open(screen.path);
        world.browser.find("nav.side a[href$='/tokens']");
        let told = world.browser.text();
        world.rename("away", screen.table);
        for words in ["The rest of the page is not affected.", screen.sibling] {
            assert!(
                told.contains(words),
                "{} without {} has no {words:?}: {told}",
                screen.path,
                screen.table
            );
        }
        world.open(screen.path);
        let told = world.browser.text();
        assert!(!told.contains("is not affected"), "{}: {told}", screen.path);
    }
}

fn a_reader_sees_no_act(world: &World) {
    let (status, made) = world.api().post(
        &format!("/project/{}/tokens", world.api().project),
        &json!({"name": "reader", "scopes": ["read"]}),
    );
    assert_eq!(status, 200, "{made}");
    world.log_out();
    world.log_in(made["token"].as_str().expect("a token"));
    world.open("/devices/add");
    world.browser.shows("This login may not add devices.");
    world
        .browser
        .find("form[action$='/devices/add'] button[disabled]");
    for screen in SCREENS.iter().filter(|screen| !screen.act.is_empty()) {
        world.open(screen.path);
        world.browser.find("nav.side");
        let told = world.browser.text();
        assert!(!told.contains(screen.act), "{}: {told}", screen.path);
    }
    world.open("/tokens");
    world.browser.shows("This login may not see the tokens");
    world.open("/audit");
    world.browser.shows("lacks the scope");
    world.browser.find("nav.side");
    // The form of another's page, sent by a login without the right: the answer is a page of the project.
    let script = format!(
        "const form = document.createElement('form');
         form.method = 'post'; form.action = '/p/{}/definitions';
         document.body.append(form); form.submit();",
        world.api().project
    );
    world.browser.run(&script);
    world.browser.shows("this login lacks the scope");
    world.browser.find("nav.side");
    world.log_out();
}

fn main_acts(world: &World) {
    let browser = &world.browser;
    world.open("/definitions");
    world.click("main a.button[data-kind='main']");
    world.write("#type", "echo");
    world.write("input[name='key0']", "content");
    world.click("main form button[data-kind='main']");
    browser.shows("echo");
    world.open("/devices/<device>/commands");
    world.write("input[name='echo.content']", "good morning");
    world.click("details[open] form button");
    browser.shows("Accepted as command");

    world.open("/groups");
    world.write("#name", "greenhouse");
    world.click("main form button");
    browser.shows("greenhouse");

    world.open("/tokens");
    world.write("#name", "deploys");
    world.click("main form button[data-kind='main']");
    browser.shows("iot_");
    world.open("/tokens");
    browser.shows("deploys");

    world.open("/releases/keys");
    world.click("form[action$='/rotate'] button[data-kind='main']");
    world.click("form.dialog button[data-kind]");
    browser.shows("Root 2");

    world.open("/webhooks");
    world.write("main input[name='url']", "https://example.com/hook");
    world.click("main form button[data-kind='main']");
    browser.shows("https://example.com/hook");

    // A filter completes its last word by keyboard: down, enter.
    world.open("/stream");
    world.write("#f", "gro");
    browser.shows("group:demo");
    world.write("#f", "\u{e015}\u{e007}");
    browser.shows("greenhouse");
    world.write("#f", "gre\u{e015}\u{e007}");
    let typed = browser.run("return document.querySelector('#f').value");
    assert_eq!(typed, "group:greenhouse ");

    world.open("/alerts");
    world.write("#filter", "temp>30");
    browser.shows("{\"temp\":{\"$gt\":30}}");
    world.open("/alerts");
    world.write("#name", "away for long");
    world.write("#after", "5");
    world.click("main form button[data-kind='main']");
    browser.shows("away for long");

    world.open("/devices/add");
    world.write("#name", "barn");
    world.click("main form button[data-kind='main']");
    browser.shows("iottly-agent enroll");

    world.open("/audit");
    for change in ["greenhouse", "deploys", "barn"] {
        browser.shows(change);
    }

    // The last device goes, and the list says what to do next.
    world.open("/devices?filter=name%3Aporch");
    browser.shows("1 of 2 devices");
    for _ in 0..2 {
        world.open("/devices");
        world.click("a.row-link");
        world.click("nav.tabs a[href$='/settings']");
        remove(browser);
    }
    browser.shows("No devices yet");
}

/// Removes the device of the page, after the question.
fn remove(browser: &Browser) {
    browser.click(&browser.find("button[value='remove']"));
    browser.click(&browser.find("form.dialog button[data-kind='final']"));
    browser.shows("Devices");
}
