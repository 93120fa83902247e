//! The page of a group with more devices than it has cells for: it follows a rollout in a real Chromium without loading again.

use iottly_e2e::{CloudHome, beside_others, wait_for};
use serde_json::{Value, json};

use crate::jobs::many;
use crate::pages::log_in;
use crate::webdriver::{Browser, is_installed};

/// Number of devices that exist in the database only and never connect; beyond 400 a cell is several devices.
const AWAY: u32 = 450;
const FACTORY: &str = "function loop() { return 1000; }";
const NEXT: &str = "function loop() { send_msg({ next: 'runs' }); return 500; }";

#[test]
fn a_group_of_many_devices_follows_its_rollout_without_loading_again() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let home = CloudHome::new();
    let devices = ["first", "second"].map(|name| home.updating_device("acme", name, FACTORY));
    many(&home, AWAY);
    let cloud = home.start();
    let agents = [0, 1].map(|n: usize| devices[n].start());
    let api = &devices[0].api;
    let path = |rest: &str| format!("/project/{}{rest}", api.project);
    let made = |(status, answer): (u16, Value)| {
        assert!((200..300).contains(&status), "{answer}");
        answer
    };
    let field = made(api.post(
        &path("/deploymentgroups"),
        &json!({"name": "field", "branch": "main"}),
    ));
    let group = field["deployment_group"]["id"].as_str().expect("an id");
    let all = json!({"kind": "move", "filter": "", "deployment_group": group});
    let job = made(api.post(&path("/jobs"), &all));
    let job = path(&format!("/jobs/{}", job["job"]["id"].as_str().expect("an id")));
    wait_for("the devices to be in the group", || {
        (api.get(&job).1["job"]["state"] == "finished").then_some(())
    });
    let code = json!({"snippets": [{"name": "loop", "code": NEXT}]});
    made(api.put(&path("/branches/main/snippets"), &code));
    made(api.post(&path("/branches/main/revisions"), &json!({"message": "next"})));
    wait_for("both devices", || {
        let shown = api.get(&path("/devices/props?filter=presence:online")).1;
        (shown["count"] == 2).then_some(())
    });

    let browser = Browser::start(true);
    let project = log_in(&browser, &api.url, &api.token);
    let page = format!("{}/p/{project}/groups/{group}", api.url);
    browser.open(&page);
    browser.shows("452 devices");
    browser.shows("Nothing was deployed yet");
    let policy =
        json!({"canary": 0, "concurrency": 10, "failure_percent": 100, "sample": 452, "grace_ms": 1000});
    made(api.post(
        &path(&format!("/deploymentgroups/{group}/flashfw")),
        &json!({"policy": policy}),
    ));
    browser.open(&page);
    browser.find("rollout-progress[data-cells='many']");
    browser.run("window.stays = true");
    browser.shows("2 committed");
    let cells = browser.run("return document.querySelectorAll('.fleet a.cell, .fleet li').length");
    let cells = cells.as_u64().expect("a number");
    assert!((1..=200).contains(&cells), "{cells} cells");
    browser.shows("All 452 devices");
    browser.shows("2 of 452 healthy");
    assert_eq!(browser.run("return window.stays"), true, "not loaded again");
    assert!(browser.console().is_empty(), "nothing is reported");
    browser.picture("group-many");
    // The figure leads to the devices that it counts, in pages.
    browser.open(&format!(
        "{page}/rollouts/{}/devices?place=committed",
        rollout(api, &path(""))
    ));
    browser.shows("first");
    browser.shows("second");
    // What so many devices send is in the stream of the group.
    browser.open(&page);
    browser.click(&browser.find("section[aria-labelledby='live'] a"));
    browser.find("live-feed li[data-new]");
    browser.shows("\"next\":\"runs\"");
    drop(agents);
    cloud.terminate();
}

/// Returns the id of the newest rollout.
fn rollout(api: &iottly_e2e::Api, project: &str) -> String {
    let (_, rollouts) = api.get(&format!("{project}/rollouts"));
    let id = rollouts["rollouts"][0]["id"].as_str();
    id.expect("a rollout").to_owned()
}
