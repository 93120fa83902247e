//! Each screen of a project in a real Chromium: what it says with nothing to show, with a filter that nothing matches, when
//! the store does not answer for it, and to a person without the right; and its main act.
//!
//! Main acts that need running devices are in `journey.rs`, `browser.rs` and `browser_build.rs`.

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, beside_others};
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::webdriver::{Browser, is_installed};

/// A screen of a project that has one device and nothing else.
struct Screen {
    /// Path below the project's.
    path: &'static str,
    empty: &'static str,
    /// Query of a filter that nothing matches, and the words of the screen then; empty for a screen without a filter.
    nothing: (&'static str, &'static str),
    /// Table of the database without which the screen cannot show its content; empty for a screen that reads none.
    table: &'static str,
    /// Button or link of the main act, which a login that may only read does not see; empty for a screen that changes nothing.
    act: &'static str,
}

const SCREENS: [Screen; 15] = [
    Screen {
        path: "/",
        empty: "Nothing needs you.",
        nothing: ("", ""),
        table: "devices",
        act: "",
    },
    Screen {
        path: "/devices",
        empty: "1 of 1 devices",
        nothing: ("filter=name%3Anone", "No device matches"),
        table: "devices",
        act: "Move…",
    },
    Screen {
        path: "/groups",
        empty: "No group yet",
        nothing: ("", ""),
        table: "groups",
        act: "Create the group",
    },
    Screen {
        path: "/code",
        empty: "main",
        nothing: ("", ""),
        table: "branches",
        act: "",
    },
    Screen {
        path: "/releases",
        empty: "No release yet",
        nothing: ("", ""),
        table: "releases",
        act: "",
    },
    Screen {
        path: "/definitions",
        empty: "No definitions yet",
        nothing: ("", ""),
        table: "definitions",
        act: "Define a message",
    },
    Screen {
        path: "/stream",
        empty: "Stream",
        nothing: ("filter=group%3Anone", "Nothing has matched yet"),
        table: "",
        act: "",
    },
    Screen {
        path: "/plots",
        empty: "No numbers yet",
        nothing: ("", ""),
        table: "series",
        act: "",
    },
    Screen {
        path: "/logs",
        empty: "No log lines yet",
        nothing: ("search=nowhere", "No line matches"),
        table: "device_logs",
        act: "",
    },
    Screen {
        path: "/alerts",
        empty: "No rules",
        nothing: ("", ""),
        table: "alert_rules",
        act: "Add the rule",
    },
    Screen {
        path: "/crashes",
        empty: "No failures",
        nothing: ("", ""),
        table: "messages",
        act: "",
    },
    Screen {
        path: "/webhooks",
        empty: "No webhooks yet",
        nothing: ("", ""),
        table: "webhooks",
        act: "Add the webhook",
    },
    Screen {
        path: "/devices/<device>/commands",
        empty: "The project defines no commands",
        nothing: ("", ""),
        table: "commands",
        act: "",
    },
    Screen {
        path: "/devices/<device>/history",
        empty: "No messages",
        nothing: ("filter=temp%3E30", "No message matches"),
        table: "messages",
        act: "",
    },
    Screen {
        path: "/devices/<device>/settings",
        empty: "porch",
        nothing: ("", ""),
        table: "devices",
        act: "Remove…",
    },
];

struct World {
    home: CloudHome,
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
        let device = home.device("screens", "porch", "function loop() { return 1000; }");
        let cloud = home.start();
        let browser = Browser::start(true);
        Some(Self {
            home,
            device,
            browser,
            cloud,
        })
    }

    fn api(&self) -> &Api {
        &self.device.api
    }

    fn open(&self, path: &str) {
        let path = path.replace("<device>", &self.device.id);
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
    world.log_in(&world.api().token);
    for word in ["echo", "examplecommand"] {
        world.open(&format!("/definitions/{word}"));
        world.click("button[value='delete']");
        world.browser.shows("Define a message");
    }
    for screen in &SCREENS {
        world.open(screen.path);
        world.browser.shows(screen.empty);
        if !screen.act.is_empty() {
            world.browser.shows(screen.act);
        }
        let (query, words) = screen.nothing;
        if !query.is_empty() {
            world.open(&format!("{}?{query}", screen.path));
            world.browser.shows(words);
        }
    }
    parts_fail_alone(&world);
    a_reader_sees_no_act(&world);
    world.log_in(&world.api().token);
    main_acts(&world);
    world.cloud.terminate();
}

/// Takes a table away from each screen: the frame stands and leads to the others.
fn parts_fail_alone(world: &World) {
    for screen in SCREENS.iter().filter(|screen| !screen.table.is_empty()) {
        world.rename(screen.table, "away");
        world.open(screen.path);
        world.browser.find("nav.side a[href$='/tokens']");
        let told = world.browser.text();
        world.rename("away", screen.table);
        assert!(
            told.contains("The rest of the page is not affected."),
            "{} without {}: {told}",
            screen.path,
            screen.table
        );
        world.open(screen.path);
        world.browser.shows(screen.empty);
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
    for screen in SCREENS.iter().filter(|screen| !screen.act.is_empty()) {
        world.open(screen.path);
        world.browser.find("nav.side");
        let told = world.browser.text();
        assert!(!told.contains(screen.act), "{}: {told}", screen.path);
    }
    world.open("/tokens");
    world.browser.shows("This login may not see the tokens");
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
    browser.shows("stands for {\"temp\":{\"$gt\":30}}");
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
