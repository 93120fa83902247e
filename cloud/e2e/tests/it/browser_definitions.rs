//! A command of a definition with types, and messages that are opened, in a real Chromium.

use iottly_e2e::{Api, beside_others, wait_for};
use serde_json::{Value, json};

use crate::browser::Demo;
use crate::webdriver::{Browser, is_installed, is_violation};

#[test]
fn a_value_out_of_range_is_refused_beside_its_field_and_a_message_opens() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let demo = Demo::start(1);
    let browser = Browser::start(true);
    browser.open(demo.link());
    browser.click(&browser.find("form[action='/login'] button"));
    browser.find("nav.side");
    let base = browser.url().trim_end_matches('/').to_owned();
    let project = base.rsplit('/').next().expect("a project").to_owned();
    let api = Api::new(demo.url(), demo.says("Token"), &project);
    let devices = api.get(&format!("/project/{project}/devices/props")).1;
    let device = devices["devices"][0]["ID"].as_str().expect("an id").to_owned();
    let own = format!("{base}/devices/{device}");

    a_sample_becomes_a_definition(&browser, &base);
    a_command_is_refused_and_sent(&browser, &api, &own, &project);
    a_message_opens_by_keyboard(&browser, &own);
    lanes_are_in_the_address(&browser, &own);
    let console = browser.console();
    assert!(!console.iter().any(|line| is_violation(line)), "{console:?}");
    demo.end();
}

fn a_sample_becomes_a_definition(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/definitions"));
    browser.click(&browser.find("#from-sample > summary"));
    browser.write(&browser.find("#sample-type"), "reading");
    browser.write(
        &browser.find("#sample"),
        r#"{"temperature": 21.5, "door": {"open": true}}"#,
    );
    browser.click(&browser.find("#from-sample button"));
    browser.shows("not saved yet");
    browser.write(&browser.find("input[name='unit0']"), "°C");
    browser.click(&browser.find("form.card button[data-kind='main']"));
    browser.shows("Saved.");
    let key = browser.run("return document.querySelector(\"input[name='key1']\").value");
    assert_eq!(key, "door_open");
}

fn a_command_is_refused_and_sent(browser: &Browser, api: &Api, own: &str, project: &str) {
    let definition = json!({
        "heat": {"target": {"type": "FreeValue", "value_type": "number", "unit": "°C", "minimum": 5, "maximum": 60, "default": 20}},
        "metadata": {"direction": "command"},
    });
    let (status, answer) = api.post(&format!("/project/{project}/messagedefinitions"), &definition);
    assert_eq!(status, 200, "{answer}");
    browser.open(&format!("{own}/commands"));
    // The browser refuses the value by itself; without its check the server does.
    let native = browser.run(
        "const field = document.getElementById('heat.target');
         field.closest('details').open = true;
         const first = [field.value, field.type, field.closest('.unit').querySelector('span').textContent];
         field.value = '95';
         const refused = !field.form.checkValidity();
         field.form.noValidate = true;
         return [...first, refused];",
    );
    assert_eq!(native, json!(["20", "number", "°C", true]));
    browser.click(&browser.find("form:has([id='heat.target']) button"));
    browser.shows("heat.target: 95 is above the maximum of 60 °C");
    let beside = browser.run(
        "const field = document.getElementById('heat.target');
         const note = document.getElementById(field.getAttribute('aria-describedby'));
         return [field.value, field.getAttribute('aria-invalid'), field.closest('details').open, note.textContent,
             note.closest('.field') === field.closest('.field')];",
    );
    let reason = "heat.target: 95 is above the maximum of 60 °C";
    assert_eq!(beside, json!(["95", "true", true, reason, true]));
    browser.run("document.getElementById('heat.target').value = '21.5'");
    browser.click(&browser.find("form:has([id='heat.target']) button"));
    browser.shows("Accepted as command");
}

fn a_message_opens_by_keyboard(browser: &Browser, own: &str) {
    browser.open(own);
    browser.find("live-feed li[data-new] details.json");
    browser.run("document.querySelector('live-feed li[data-new] details.json > summary').focus()");
    browser.write(&browser.focused(), "\u{E007}");
    let opened = || {
        browser.run(
            "const details = document.querySelector('live-feed details.json[open]');
             const pre = details?.querySelector('pre');
             return [pre?.querySelectorAll('.k').length > 0, pre?.textContent.startsWith('{\\n  \"'),
                 document.querySelector('[data-pause]').getAttribute('aria-pressed'), !!details?.querySelector('[data-copy]'),
                 document.querySelectorAll('live-feed details.json:not([open]) .k').length]",
        )
    };
    wait_for("the message is open", || {
        (opened() == json!([true, true, "true", true, 0])).then_some(())
    });
    let copied = browser.run(
        "let copied = '';
         navigator.clipboard.writeText = async (text) => { copied = text; };
         document.querySelector('details.json[open] [data-copy]').click();
         return typeof JSON.parse(copied)",
    );
    assert_eq!(copied, "object");
    browser.write(&browser.find("details.json[open] > summary"), "\u{E007}");
    wait_for("the list goes on", || {
        let pressed =
            browser.run("return document.querySelector('[data-pause]').getAttribute('aria-pressed')");
        (pressed == "false").then_some(())
    });
}

fn lanes_are_in_the_address(browser: &Browser, own: &str) {
    browser.open(&format!("{own}?show=platform"));
    let kinds = "return [...document.querySelectorAll('live-feed li')].filter((row) => row.dataset.kind !== 'agent').length";
    browser.shows("user messages hidden");
    assert_eq!(browser.run(kinds), Value::from(0));
    browser.open(&format!("{own}?show=user"));
    browser.find("live-feed li[data-new]");
    assert_eq!(
        browser.run("return document.querySelectorAll('live-feed li[data-kind=\"agent\"]').length"),
        0
    );
}
