//! Code, releases and deployment groups of a real demo in a real Chromium.

use iottly_e2e::beside_others;
use serde_json::{Value, json};

use crate::browser::Demo;
use crate::webdriver::{Browser, is_installed};

/// Keys of the WebDriver protocol.
const CONTROL: char = '\u{E009}';
const RELEASE: char = '\u{E000}';
const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';
const ESCAPE: char = '\u{E00C}';
/// Number of times that Tab is pressed at most to reach a part of a page.
const TABS: usize = 120;

struct Visit {
    demo: Demo,
    browser: Browser,
}

impl Visit {
    /// Starts a demo and logs in; none where no browser is installed.
    fn start(devices: usize) -> Option<Self> {
        if !is_installed() {
            eprintln!("not tried: chromium and chromedriver are not installed");
            return None;
        }
        let demo = Demo::start(devices);
        let browser = Browser::start(true);
        browser.open(demo.url());
        browser.click(&browser.find("summary"));
        browser.write(&browser.find("input#token"), demo.says("Token"));
        browser.click(&browser.find("form.by-token button"));
        browser.find("nav.side");
        Some(Self { demo, browser })
    }

    /// Opens a page of the project.
    fn open(&self, path: &str) {
        let base = self.browser.run("return document.body.dataset.base");
        let base = base.as_str().expect("a page of the project").to_owned();
        self.browser.open(&format!("{}{base}{path}", self.demo.url()));
    }

    /// Types a text into the editor in place of what is there.
    fn edit(&self, text: &str) {
        let area = self.browser.find("code-editor textarea");
        self.browser.write(&area, &format!("{CONTROL}a{RELEASE}{text}"));
    }

    /// Calls the API as the page does, and returns the answer.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let script = format!(
            "const base = document.body.dataset.base.replace('/p/', '/v1.0/project/');
             const request = new XMLHttpRequest();
             request.open({method:?}, base + {path:?}, false);
             request.setRequestHeader('Content-Type', 'application/json');
             request.send({:?});
             return JSON.parse(request.responseText);",
            body.to_string()
        );
        self.browser.run(&script)
    }

    /// Presses keys wherever the focus is.
    fn press(&self, keys: &str) {
        self.browser.write(&self.browser.focused(), keys);
    }

    /// Presses Tab until an element has the focus.
    fn tab_to(&self, selector: &str) {
        for _ in 0..TABS {
            let script = format!("return document.activeElement.matches({selector:?})");
            if self.browser.run(&script) == true {
                return;
            }
            self.press(&TAB.to_string());
        }
        panic!("Tab does not reach {selector}");
    }

    /// Saves a script as a revision and opens the question before its flash.
    fn ask_to_flash(&self, script: &str) {
        self.open("/code/main/loop");
        self.edit(script);
        self.browser.shows("draft kept");
        self.browser
            .click(&self.browser.find("button[formaction$='/revision']"));
        self.browser.shows("Saved as a revision.");
        self.browser
            .click(&self.browser.find("a[href*='/flash?revision=']"));
        self.browser.shows("This affects 2 devices");
    }
}

#[test]
fn code_is_edited_flashed_and_seen_to_run() {
    let _turn = beside_others();
    let Some(visit) = Visit::start(2) else { return };
    let browser = &visit.browser;
    visit.open("/code/main/loop");
    browser.find("button[disabled][aria-describedby='why-not']");
    // An error is shown in its line while it is typed, and nothing is saved.
    visit.edit("function loop() { return 500 500; }");
    browser.find("code-editor .gutter li[data-mark='error']");
    browser.find(".problems a[data-line]");
    browser.picture("code-error");
    visit.ask_to_flash("function loop() { send_msg({ hello: 'from the browser' }); return 500; }");
    browser.picture("flash-question");
    browser.run("window.before = true");
    browser.click(&browser.find("form.dialog button[data-kind='main']"));
    browser.find("rollout-progress");
    assert_eq!(
        browser.run("return window.before ?? null"),
        Value::Null,
        "another page"
    );
    browser.run("window.stays = true");
    browser.shows("2 committed, of 2 devices");
    browser.find("[data-rollout-status] .tag[data-tone='good']");
    browser.shows("from the browser");
    assert_eq!(
        browser.run("return window.stays"),
        true,
        "the page followed by itself"
    );
    let cells = "return document.querySelectorAll(\"a.cell[data-state='committed']\").length";
    assert_eq!(browser.run(cells), json!(2));
    let digest = browser.run("return document.querySelector('[data-digest]').dataset.digest");
    assert!(
        browser.text().contains(&digest.as_str().expect("a digest")[..8]),
        "{}",
        browser.text()
    );
    browser.picture("rollout-done");
    visit.demo.end();
}

#[test]
fn a_bad_release_goes_back_and_the_page_says_why() {
    let _turn = beside_others();
    let Some(visit) = Visit::start(2) else { return };
    let browser = &visit.browser;
    visit.ask_to_flash("function loop() { throw new Error('no sensor here'); }");
    browser.click(&browser.find("form.dialog button[data-kind='main']"));
    browser.find("rollout-progress");
    browser.shows("The rollout halted itself.");
    browser.shows("no sensor here");
    browser.find("[data-exceptions] [data-reason]");
    browser.click(&browser.find("a[href$='/resume']"));
    browser.shows("It halted: ");
    browser.shows("Resume, 1 device next");
    browser.picture("rollout-resume");
    browser.click(&browser.find("form.dialog .actions a"));
    browser.find("rollout-progress");
    let bad = "return document.querySelectorAll(\"a.cell[data-state='bad']\").length";
    assert_eq!(
        browser.run(bad),
        json!(1),
        "the canary; the other device was spared"
    );
    browser.picture("rollout-halted");
    browser.click(&browser.find("a[href$='/cancel']"));
    browser.shows("This affects 2 devices");
    browser.click(&browser.find("form.dialog button[data-kind='final']"));
    browser.find("[data-rollout-status] .tag[data-tone='idle']");
    visit.demo.end();
}

#[test]
fn an_edit_of_an_older_text_shows_both_sides_and_loses_nothing() {
    let _turn = beside_others();
    let Some(visit) = Visit::start(1) else { return };
    let browser = &visit.browser;
    visit.open("/code/main/loop");
    visit.edit("// typed in the browser");
    browser.shows("draft kept");
    let theirs = json!({"snippets": [{"name": "loop", "code": "// pushed from a program"}]});
    let saved = visit.call("PUT", "/branches/main/snippets", &theirs);
    assert_eq!(saved["status"], 200, "{saved}");
    browser.click(&browser.find("button[data-key='save']"));
    browser.shows("Someone else saved this file after you began.");
    browser.shows("// pushed from a program");
    browser.picture("stale");
    let text = "return document.querySelector('code-editor textarea').value";
    assert_eq!(browser.run(text), "// typed in the browser");
    // The tab may be closed: what was typed is there in the next one.
    browser.another_tab();
    browser.open(&format!("{}/", visit.demo.url()));
    browser.find("nav.side");
    visit.open("/code/main/loop");
    assert_eq!(browser.run(text), "// typed in the browser");
    browser.click(&browser.find("form[action$='/discard'] button"));
    browser.shows("This is the saved text.");
    assert_eq!(browser.run(text), "// pushed from a program");
    visit.demo.end();
}

#[test]
fn code_is_saved_and_flashed_with_the_keyboard_alone() {
    let _turn = beside_others();
    let Some(visit) = Visit::start(1) else { return };
    let browser = &visit.browser;
    visit.press("gc");
    browser.find("code-editor .editor[data-painted]");
    visit.tab_to("code-editor textarea");
    visit.press(&format!(
        "{CONTROL}a{RELEASE}function loop() {{{ENTER}{TAB}return 700;{ENTER}}}"
    ));
    let text = "return document.querySelector('code-editor textarea').value";
    assert_eq!(
        browser.run(text),
        "function loop() {\n  return 700;\n  }",
        "Tab indents"
    );
    visit.press(&format!("{CONTROL}s{RELEASE}"));
    browser.shows("Saved to the working copy.");
    visit.tab_to("code-editor textarea");
    visit.press(&format!("{ESCAPE}{TAB}"));
    assert_eq!(
        browser.run("return document.activeElement.matches('textarea')"),
        false,
        "Escape and Tab leave the editor"
    );
    browser.run("document.activeElement.blur()");
    visit.tab_to("button[formaction$='/revision']");
    visit.press(&ENTER.to_string());
    browser.shows("Saved as a revision.");
    visit.tab_to("a[href*='/flash?revision=']");
    visit.press(&ENTER.to_string());
    browser.shows("This affects 1 device");
    visit.tab_to("form.dialog button[data-kind='main']");
    visit.press(&ENTER.to_string());
    browser.shows("1 committed, of 1 device");
    visit.demo.end();
}
