//! Live pages over a restart of the cloud, a paused stream, switched-off shortcuts, and the pages of another tenant, in a real Chromium.

use std::time::Duration;

use iottly_e2e::{CloudHome, beside_others, wait_for};
use serde_json::Value;

use crate::webdriver::{Browser, is_installed};

const FIRMWARE: &str = "let n = 0; function loop() { send_msg({ tick: n++ }); return 200; }";
/// Time in which a paused stream must not change.
const STILL: Duration = Duration::from_secs(3);

fn log_in(browser: &Browser, url: &str, token: &str) {
    browser.open(&format!("{url}/login"));
    browser.click(&browser.find("summary"));
    browser.write(&browser.find("input#token"), token);
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
}

/// Returns the HTTP status of the page.
fn status(browser: &Browser) -> Value {
    browser.run("return performance.getEntriesByType('navigation')[0].responseStatus")
}

#[test]
fn pages_resume_after_a_restart_and_belong_to_their_tenant() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let home = CloudHome::new();
    let device = home.device("home", "porch", FIRMWARE);
    let other = home.device("other", "cellar", FIRMWARE);
    let cloud = home.start();
    let board = device.start();
    let (api, browser) = (&device.api, Browser::start(true));
    log_in(&browser, &api.url, &api.token);
    let base = format!("{}/p/{}", api.url, api.project);
    let own = format!("{base}/devices/{}", device.id);

    browser.open(&own);
    browser.find(".link[data-state='live']");
    browser.find("live-feed li[data-new]");
    browser.run("window.stays = true");
    cloud.terminate();
    browser.shows("reconnecting, as of");
    let cloud = home.start();
    // The login has outlived the cloud's process, so the page resumes by itself.
    browser.find(".link[data-state='live']");
    let newest = || {
        browser.run("return Number(/\"tick\":\\s*(\\d+)/.exec(document.querySelector('live-feed li code').textContent)[1])")
    };
    let before = newest().as_u64().expect("a number");
    wait_for("newer messages", || {
        (newest().as_u64()? > before + 5).then_some(())
    });
    assert_eq!(
        browser.run("return window.stays"),
        true,
        "the page was not loaded again"
    );

    a_paused_stream_stands(&browser);
    shortcuts_can_be_switched_off(&browser, &base);

    for path in [
        "/",
        "/devices",
        &format!("/devices/{}", other.id),
        "/webhooks",
        "/keys",
    ] {
        browser.open(&format!("{}/p/{}{path}", api.url, other.api.project));
        browser.shows("this login is for another project");
        assert_eq!(status(&browser), 403, "{path}");
        assert!(!browser.text().contains("cellar"), "{path}: {}", browser.text());
    }
    browser.open(&format!("{base}/devices/{}", other.id));
    browser.shows("device");
    assert_eq!(status(&browser), 403);
    assert!(!browser.text().contains("cellar"), "{}", browser.text());
    browser.console();
    drop(browser);
    board.terminate();
    cloud.terminate();
}

/// Pauses the stream with its button and continues it with the key.
fn a_paused_stream_stands(browser: &Browser) {
    let newest = || browser.run("return document.querySelector('live-feed li code').textContent");
    browser.click(&browser.find("[data-pause]"));
    browser.find("[data-pause][aria-pressed='true']");
    browser.shows("paused;");
    let before = newest();
    std::thread::sleep(STILL);
    assert_eq!(newest(), before, "nothing is drawn while the stream is paused");
    let said = browser.run(
        "return Number(/paused; (\\d+) wait/.exec(document.querySelector('[data-counts]').textContent)[1])",
    );
    assert!(said.as_u64().is_some_and(|waiting| waiting > 3), "{said}");
    browser.run("document.activeElement.blur()");
    browser.write(&browser.focused(), "p");
    browser.find("[data-pause][aria-pressed='false']");
    wait_for("what has waited", || (newest() != before).then_some(()));
}

/// Switches the shortcuts off and on again.
fn shortcuts_can_be_switched_off(browser: &Browser, base: &str) {
    let goes_to_groups = || {
        browser.open(&format!("{base}/devices"));
        browser.find("a.row-link");
        browser.write(&browser.focused(), "gg");
        std::thread::sleep(Duration::from_millis(500));
        browser.url().ends_with("/groups")
    };
    assert!(goes_to_groups());
    browser.open(&format!("{base}/keys"));
    browser.click(&browser.find("button[name='shortcuts'][value='off']"));
    browser.shows("Shortcuts of single keys are off.");
    browser.picture("keys-off");
    assert!(!goes_to_groups(), "keys do nothing");
    browser.open(&format!("{base}/keys"));
    browser.click(&browser.find("button[name='shortcuts'][value='on']"));
    browser.shows("Shortcuts of single keys are on.");
    assert!(goes_to_groups());
}
