//! Health of a device with a real agent, from its queue and its sandbox to the page of its device.

use std::time::Duration;

use iottly_e2e::{CloudHome, DeviceHome, beside_others, wait_for};
use serde_json::{Value, json};

use crate::cli::done;
use crate::webdriver::{Browser, is_installed};

/// Sends one message, and fifty more ten seconds after a command.
const BURST: &str = "let left = 0;
function init() { send_msg({ first: true }); }
function echo(command) { left = 20; send_msg({ armed: true }); }
function loop() {
  if (left > 0) { left -= 1; if (left === 0) for (let i = 0; i < 50; i++) send_msg({ i }); }
  return 500;
}";
/// Works for a while, then never ends a call.
const SPINS: &str = "let n = 0;
function loop() {
  n += 1;
  if (n > 5) while (true) {}
  return 200;
}";

fn health(device: &DeviceHome) -> Value {
    let path = format!("/project/{}/device/{}/props", device.api.project, device.id);
    let answer = device.api.try_get(&path);
    answer.map_or(Value::Null, |(_, props)| props["health"].clone())
}

/// Waits for a report that passes.
fn reported(device: &DeviceHome, what: &str, passes: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || Some(health(device)).filter(|health| passes(health)))
}

/// Opens the page of the device; none without a browser.
fn page(device: &DeviceHome) -> Option<Browser> {
    if !is_installed() {
        eprintln!("not seen on the page: chromium and chromedriver are not installed");
        return None;
    }
    let browser = Browser::start(true);
    browser.open(&device.api.url);
    browser.click(&browser.find("summary"));
    browser.write(&browser.find("input#token"), &device.api.token);
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
    browser.open(&format!(
        "{}/p/{}/devices/{}",
        device.api.url, device.api.project, device.id
    ));
    browser.find("#device-health");
    Some(browser)
}

#[test]
fn messages_that_waited_while_the_link_was_cut_are_counted_and_then_gone() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "burst", BURST);
    let agent = device.start();
    device
        .api
        .wait_for_message(&device.id, "the first message", |message| {
            message["payload"]["first"] == json!(true)
        });
    reported(&device, "the first report", |health| {
        health["firmware"]["memory_bytes"].as_u64() > Some(0)
    });
    done(&device.api, &["cmd", &device.id, "echo", "content=burst"]);
    device.api.wait_for_message(&device.id, "the answer", |message| {
        message["payload"]["armed"] == json!(true)
    });
    cloud.kill();
    std::thread::sleep(Duration::from_secs(14));
    let cloud = home.start();
    let waits = reported(&device, "a report of what waits", |health| {
        health["history"]["waiting"].as_u64() >= Some(50)
    });
    assert!(waits["oldest_ms"].as_u64() < Some(60_000), "{waits}");
    assert_eq!(
        (&waits["lost"], &waits["queue_nearly_full"]),
        (&json!(0), &json!(false))
    );
    let shown = done(&device.api, &["device", "show", &device.id]);
    assert!(shown.contains(" wait, oldest "), "{shown}");
    // The page is open while the next report comes.
    let browser = page(&device);
    if let Some(browser) = &browser {
        browser.shows("oldest ");
        browser.picture("health-waiting");
    }
    let empty = reported(&device, "a report of the empty queue", |health| {
        health["waiting"] == 0
    });
    assert_eq!(empty.get("oldest_ms"), None, "{empty}");
    if let Some(browser) = &browser {
        browser.shows("all are stored here");
        browser.picture("health-empty");
        assert_eq!(browser.console(), Vec::<String>::new());
    }
    let shown = done(&device.api, &["device", "show", &device.id]);
    assert!(shown.contains("nothing waits; queue "), "{shown}");
    agent.terminate();
    cloud.terminate();
}

#[test]
fn a_firmware_that_traps_is_counted_and_warned_of() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("tenant", "spins", SPINS);
    let agent = device.start();
    let trapped = reported(&device, "a report of traps and restarts", |health| {
        health["firmware"]["traps"].as_u64() >= Some(2) && health["firmware"]["restarts"].as_u64() >= Some(1)
    });
    let firmware = &trapped["firmware"];
    assert!(firmware["trapped"]["$date"].as_u64() > Some(0), "{firmware}");
    assert!(firmware["budget_permille"].as_u64() >= Some(500), "{firmware}");
    assert_eq!(firmware["digest"].as_str().map(str::len), Some(64), "{firmware}");
    if let Some(browser) = page(&device) {
        browser.shows("The sandbox stopped the firmware");
        browser.shows("since the start");
        for (name, width, dark) in [
            ("light", 1280, false),
            ("dark", 1280, true),
            ("phone", 390, false),
        ] {
            browser.look(width, dark);
            browser.picture(&format!("health-trapped-{name}"));
        }
        assert_eq!(browser.console(), Vec::<String>::new());
    }
    let shown = done(&device.api, &["device", "show", &device.id]);
    assert!(shown.contains(" traps, "), "{shown}");
    // Known to a cloud that starts on the database, while the device is offline.
    agent.terminate();
    cloud.terminate();
    let cloud = home.start();
    assert!(health(&device)["firmware"]["traps"].as_u64() >= Some(2));
    cloud.terminate();
}
