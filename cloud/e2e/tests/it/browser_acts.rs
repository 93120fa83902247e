//! Main acts of screens that no other test does in a real Chromium: releases, a test device, crashes, logs, histories, and a link for
//! people outside.

use iottly_e2e::{Api, beside_others, wait_for};
use serde_json::{Value, json};

use crate::browser::Demo;
use crate::readme::{self, Act};
use crate::scripts::receiver;
use crate::webdriver::{Browser, is_installed};

struct Visit {
    demo: Demo,
    browser: Browser,
    api: Api,
    base: String,
}

impl Visit {
    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.base));
    }

    fn press(&self, text: &str) {
        readme::act(&self.browser, &Act::Press(text.to_owned()));
    }

    fn fill(&self, label: &str, text: &str) {
        readme::act(&self.browser, &Act::Fill(label.to_owned(), text.to_owned()));
    }

    /// Waits for a text, on a page that may have to be loaded again.
    fn expect(&self, text: &str) {
        readme::act(&self.browser, &Act::Expect(text.to_owned()));
    }

    fn get(&self, path: &str) -> Value {
        self.api.get(&format!("/project/{}{path}", self.api.project)).1
    }
}

#[test]
fn screens_do_their_main_acts() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let demo = Demo::start(2);
    let browser = Browser::start(true);
    browser.open(demo.link());
    browser.click(&browser.find("form[action='/login'] button"));
    browser.find("nav.side");
    let base = browser.url().trim_end_matches('/').to_owned();
    let project = base.rsplit('/').next().expect("a project").to_owned();
    let visit = Visit {
        api: Api::new(demo.url(), demo.says("Token"), &project),
        demo,
        browser,
        base,
    };
    a_history_is_filtered(&visit);
    logs_find_a_line(&visit);
    a_branch_is_made_and_restored(&visit);
    a_test_device_runs_the_code_and_its_crash_appears(&visit);
    an_outsider_reads_and_replays(&visit);
    visit.demo.end();
}

fn a_history_is_filtered(visit: &Visit) {
    let devices = visit.get("/devices/props");
    let device = devices["devices"][0]["ID"].as_str().expect("an id").to_owned();
    visit.open(&format!("/devices/{device}/history"));
    visit.expect("temperature");
    let filter = |text: &str| {
        let field = visit.browser.find("form.filter input[name='filter']");
        visit
            .browser
            .write(&field, &format!("\u{E009}a\u{E000}{text}\u{E007}"));
    };
    filter("temperature>1000");
    visit.browser.shows("No message matches");
    filter("temperature>0");
    visit.browser.shows("temperature");
    assert!(
        visit.browser.url().contains("filter=temperature%3E0"),
        "{}",
        visit.browser.url()
    );
}

fn logs_find_a_line(visit: &Visit) {
    visit.open("/logs");
    visit.expect("room ready");
    visit.fill("Text to find", "room ready");
    visit.press("Find");
    visit.browser.shows("2 lines");
    visit.browser.shows("room ready");
}

fn a_branch_is_made_and_restored(visit: &Visit) {
    for text in ["// first", "// second"] {
        visit.open("/code/main/loop");
        visit.fill("loop", text);
        visit.browser.shows("draft kept");
        visit.press("Save as revision");
        visit.browser.shows("Saved as a revision.");
    }
    visit.open("/releases");
    visit.press("Restore revision 1");
    visit.browser.shows("The working copy is the restored revision.");
    let text = visit
        .browser
        .run("return document.querySelector('code-editor textarea').value");
    assert_eq!(text, "// first");
    visit.open("/releases");
    visit.fill("Name", "next");
    visit.press("Create the branch");
    visit.browser.find("code-editor textarea");
    assert!(
        visit.browser.url().contains("/code/next/"),
        "{}",
        visit.browser.url()
    );
    assert!(visit.get("/branches").to_string().contains("\"next\""));
}

fn a_test_device_runs_the_code_and_its_crash_appears(visit: &Visit) {
    visit.open("/crashes");
    visit.browser.shows("No failures");
    visit.open("/code/next/loop");
    visit.fill(
        "loop",
        "function loop() { send_msg({ bench: 'runs' }); return 500; }",
    );
    visit.browser.shows("draft kept");
    visit.press("Save and run");
    visit.browser.shows("Sent to the test device.");
    visit.browser.find("lease-feed[data-src*='/leases/']");
    visit.browser.shows("{\"bench\":\"runs\"}");
    visit.browser.picture("bench");
    visit.fill(
        "loop",
        "function loop() { send_msg({ bench: 'breaks' }); throw new Error('kaputt'); }",
    );
    visit.browser.shows("draft kept");
    visit.press("Save and run");
    visit.browser.shows("kaputt");
    visit.open("/crashes");
    visit.expect("kaputt");
    visit.browser.shows("loop");
    visit.browser.picture("crashes");
    visit.open("/code/next/loop");
    visit.press("End the lease");
    visit.browser.shows("The lease has ended");
}

fn an_outsider_reads_and_replays(visit: &Visit) {
    let hook = json!({"url": format!("http://127.0.0.1:{}/hook", receiver()), "filter": "temperature>0"});
    let (status, hook) = visit
        .api
        .post(&format!("/project/{}/webhooks", visit.api.project), &hook);
    assert_eq!(status, 200, "{hook}");
    let id = hook["id"].as_str().expect("an id");
    visit.open(&format!("/webhooks/{id}"));
    visit.expect("http_200");
    visit.press("Make a link");
    visit.browser.shows("/portal/open?key=");
    let link = visit
        .browser
        .run("return document.querySelector('copy-text pre').textContent");
    let outside = Browser::start(true);
    outside.open(link.as_str().expect("a link"));
    outside.click(&outside.find("form button"));
    outside.shows("http_200");
    assert!(
        outside.url().contains("/portal/") && !outside.url().contains("key="),
        "{}",
        outside.url()
    );
    outside.click(&outside.find("form[action$='/replay'] button"));
    outside.shows("is sent again");
    let message = outside.run("return document.querySelector('.notice code').textContent");
    let message = message.as_str().expect("an id").to_owned();
    wait_for("the replay", || {
        let log = visit.get(&format!("/webhooks/{id}/log?numEntries=500"));
        let attempts = log["attempts"].as_array()?.iter();
        (attempts
            .filter(|attempt| attempt["message"] == message.as_str())
            .count()
            > 1)
        .then_some(())
    });
    outside.picture("portal");
    outside.open(&format!("{}/", visit.base));
    outside.find("input#token");
}
