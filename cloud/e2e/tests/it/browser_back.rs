//! Acts that take something back, in a real Chromium: a rollout is paused, resumed and cancelled, a group is rolled back and
//! deleted, a file leaves the working copy, a pushed script is edited.

use iottly_e2e::{CloudHome, beside_others, wait_for};
use serde_json::{Value, json};

use crate::pages::log_in;
use crate::webdriver::{Browser, is_installed};

struct Visit {
    home: CloudHome,
    browser: Browser,
    api: iottly_e2e::Api,
    base: String,
}

impl Visit {
    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.base));
    }

    fn click(&self, selector: &str) {
        self.browser.click(&self.browser.find(selector));
    }

    /// Follows the button to a question, and says yes.
    fn sure(&self, link: &str) {
        self.click(link);
        self.click("form.dialog button[data-kind]");
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/project/{}{path}", self.api.project);
        let (status, answer) = match method {
            "PUT" => self.api.put(&path, body),
            _ => self.api.post(&path, body),
        };
        assert!((200..300).contains(&status), "{method} {path}: {answer}");
        answer
    }

    /// Saves a script as a revision, and flashes a group with the button of its page.
    fn flash(&self, group: &str, script: &str) {
        let code = json!({"snippets": [{"name": "loop", "code": script}]});
        self.send("PUT", "/branches/main/snippets", &code);
        self.send("POST", "/branches/main/revisions", &json!({"message": script}));
        self.open(&format!("/groups/{group}"));
        self.sure(".actions a[href$='/flash']");
        self.browser.find("rollout-progress");
    }

    fn made_group(&self, name: &str) -> String {
        let made = self.send(
            "POST",
            "/deploymentgroups",
            &json!({"name": name, "branch": "main"}),
        );
        made["deployment_group"]["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn what_was_done_is_taken_back_in_the_browser() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let home = CloudHome::new();
    let device = home.device("back", "porch", "function loop() { return 1000; }");
    let cloud = home.start();
    let browser = Browser::start(true);
    let project = log_in(&browser, &device.api.url, &device.api.token);
    let visit = Visit {
        base: format!("{}/p/{project}", device.api.url),
        api: device.api.clone(),
        home,
        browser,
    };
    a_rollout_is_steered(&visit, &device.id);
    a_group_goes_back_and_away(&visit);
    a_file_leaves_the_working_copy(&visit);
    a_pushed_script_is_edited(&visit);
    cloud.terminate();
}

/// Steers a rollout to a device that never connects.
fn a_rollout_is_steered(visit: &Visit, device: &str) {
    let browser = &visit.browser;
    let group = visit.made_group("north");
    let devices = json!({"devices": [device]});
    visit.send("POST", &format!("/deploymentgroups/{group}/devices"), &devices);
    visit.flash(&group, "function loop() { return 1000; }");
    visit.sure(".actions a[href$='/pause']");
    browser.find(".actions a[href$='/resume']");
    browser.shows("paused");
    visit.sure(".actions a[href$='/resume']");
    browser.find(".actions a[href$='/pause']");
    browser.shows("deploying");
    visit.sure(".actions a[href$='/cancel']");
    browser.shows("It was cancelled.");
    wait_for("the end of the rollout", || {
        browser.reload();
        browser
            .try_find(".actions a[href$='/cancel']")
            .is_none()
            .then_some(())
    });
}

fn a_group_goes_back_and_away(visit: &Visit) {
    let browser = &visit.browser;
    let group = visit.made_group("shed");
    for script in [
        "function loop() { return 2000; }",
        "function loop() { return 3000; }",
    ] {
        visit.flash(&group, script);
        browser.shows("deployed");
    }
    visit.sure(".actions a[href$='/rollback']");
    browser.shows("rolled back");
    let path = format!("/project/{}/deploymentgroups/{group}", visit.api.project);
    let shown = visit.api.get(&path).1;
    assert_eq!(shown["deployment_group"]["status"], "rolled_back", "{shown}");
    visit.open(&format!("/groups/{group}/delete"));
    browser.shows("Delete the group shed?");
    visit.click("form.dialog button[data-kind]");
    browser.shows("north");
    wait_for("the group to be gone", || {
        (visit.api.get(&path).0 == 404).then_some(())
    });
}

fn a_file_leaves_the_working_copy(visit: &Visit) {
    let browser = &visit.browser;
    let manifest = "name = \"porch\"\nlang = \"js\"\n";
    visit.send("PUT", "/branches/main/manifest", &json!({ "manifest": manifest }));
    visit.open("/code/main/firmware.toml");
    browser.find("code-editor textarea");
    visit.sure("a[href$='/firmware.toml/delete']");
    browser.find("code-editor textarea");
    visit.open("/code/main/firmware.toml");
    let text = browser.run("return document.querySelector('code-editor textarea').value");
    assert_eq!(text, "");
}

fn a_pushed_script_is_edited(visit: &Visit) {
    let folder = visit.home.dir.path().join("pushed");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("main.js"), "function loop() { return 4000; }").expect("written");
    let manifest = "name = \"pushed\"\nlang = \"js\"\n";
    std::fs::write(folder.join("firmware.toml"), manifest).expect("written");
    let (code, pushed, errors) = visit.api.iottly(visit.home.dir.path(), &["push", "pushed"]);
    assert_eq!(code, Some(0), "{errors}");
    let pushed: Value = serde_json::from_str(&pushed).expect("json");
    let number = pushed["revision"].as_u64().expect("a number");
    let browser = &visit.browser;
    visit.open(&format!("/pushed/main/{number}"));
    browser.shows("It was pushed from a folder.");
    let text = "\u{E009}a\u{E000}function loop() { return 5000; }";
    browser.write(&browser.find("#text"), text);
    visit.click("main form button[data-kind='main']");
    browser.shows(&format!("r{}", number + 1));
    let next = browser.url();
    assert!(
        next.contains(&format!("/pushed/main/{}?file=main.js", number + 1)),
        "{next}"
    );
    let shown = browser.run("return document.querySelector('#text').value.trim()");
    assert_eq!(shown, "function loop() { return 5000; }");
    // A revision that is none, and one that was not pushed.
    visit.open("/pushed/main/999");
    browser.shows("branch has no such pushed script");
    browser.find("nav.side");
}
