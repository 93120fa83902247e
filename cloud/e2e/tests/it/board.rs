//! The board of a virtual device in a real Chromium: what firmware does is seen, what a person does is felt; without viewers
//! nothing is sent, and a killed agent comes back by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use iottly_e2e::{CloudHome, beside_others, demo, wait_for};
use serde_json::{Value, json};

use crate::browser::Demo;
use crate::webdriver::{Browser, is_installed};

/// Firmware that lights the LED while the button is pressed, and reports the air.
const PORCH: &str = "let led;
function init() {
  led = gpio.output('led');
  const button = gpio.input('button', 'down');
  button.onChange((high) => { led.set(high); send_msg({ pressed: high }); });
}";
const PORCH_MANIFEST: &str =
    "name = \"porch\"\nlang = \"js\"\n[capabilities]\ngpio = [\"led\", \"button\"]\n";

fn porch(folder: &Path) -> String {
    let porch = folder.join("porch");
    std::fs::create_dir_all(&porch).expect("a folder");
    std::fs::write(porch.join("main.js"), PORCH).expect("written");
    std::fs::write(porch.join("firmware.toml"), PORCH_MANIFEST).expect("written");
    porch.to_str().expect("utf-8").to_owned()
}

fn log_in(browser: &Browser, demo: &Demo) {
    browser.open(demo.url());
    browser.click(&browser.find("summary"));
    browser.write(&browser.find("input#token"), demo.says("Token"));
    browser.click(&browser.find("form.by-token button"));
    browser.find("nav.side");
    browser.open(&format!("{}devices", browser.url()));
    browser.click(&browser.find("a.row-link"));
    browser.click(&browser.find("nav.tabs a[href$='/board']"));
}

#[test]
fn a_person_sees_the_board_of_the_demo_and_moves_its_parts() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let demo = Demo::start(1);
    let browser = Browser::start(true);
    log_in(&browser, &demo);
    browser.find("[data-standing][data-state='live']");
    // The firmware blinks.
    for on in ["true", "false", "true"] {
        browser.find(&format!("svg [data-part='led'][data-on='{on}']"));
    }
    browser.picture("board-live");
    // A button is pressed with the mouse, then with the keyboard; the firmware answers each time.
    browser.click(&browser.find("[data-hold='button']"));
    browser.shows(r#""button":{"presses":1"#);
    browser.write(&browser.find("[data-hold='button']"), " ");
    browser.shows(r#""button":{"presses":2"#);
    // A slider is dragged, and the firmware measures the new value.
    browser.run(
        "const slider = document.querySelector(\"form[data-sensor='temperature'] input[type=range]\");
         for (const value of [10, -5, -20]) { slider.value = value; slider.dispatchEvent(new Event('input')); }",
    );
    browser.shows(r#""outside":-20"#);
    browser.shows("-20 °C");
    browser.picture("board-dragged");
    drop(browser);
    // Without scripts: a form presses for 200 ms.
    let browser = Browser::start(false);
    log_in(&browser, &demo);
    browser.click(&browser.find("[data-hold='button']"));
    wait_for("the answer to the form", || {
        browser.reload();
        browser.text().contains(r#""button":{"presses":3"#).then_some(())
    });
    demo.end();
}

#[test]
fn a_press_lights_the_led_while_it_lasts_and_everyone_sees_it() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().expect("a folder");
    let firmware = porch(folder.path());
    let (process, ready, api) = demo(&["--devices", "1", "--firmware", &firmware]);
    let device = ready["devices"][0].as_str().expect("a device").to_owned();
    let led = |board: &Value| {
        let pins = board["board"]["pins"].as_array().expect("pins").clone();
        let led = pins.into_iter().find(|pin| pin["label"] == "led");
        led.expect("a led")["high"] == json!(true)
    };
    let board = format!("/project/{}/device/{device}/board", api.project);
    let (status, seen) = api.get(&board);
    assert_eq!((status, &seen["state"]), (200, &json!("live")), "{seen}");
    assert!(!led(&seen));
    let press = json!({"inputs": [{"kind": "press", "button": "button", "hold_ms": 3000}]});
    let (status, pressed) = api.post(&format!("{board}/inputs"), &press);
    assert_eq!(status, 200, "{pressed}");
    wait_for("the LED to be lit", || led(&api.get(&board).1).then_some(()));
    wait_for("the LED to go out by itself", || {
        (!led(&api.get(&board).1)).then_some(())
    });
    api.wait_for_message(&device, "the release", |message| {
        message["payload"]["pressed"] == json!(false)
    });
    // From the command line.
    let (code, out, err) = api.iottly(
        folder.path(),
        &["device", "sensor", &device, "temperature", "-7.5"],
    );
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("temperature    sensor   -7.5 °C"), "{out}");
    let (code, _, err) = api.iottly(folder.path(), &["device", "press", &device, "led"]);
    assert_ne!(code, Some(0));
    assert!(err.contains("has no button \"led\"; it has button"), "{err}");
    let (code, out, err) = api.iottly(folder.path(), &["device", "board", &device]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("live\n") && out.contains("button         button   input   low"),
        "{out}"
    );
    process.terminate();
}

#[test]
fn a_killed_agent_is_seen_again_and_a_policy_hides_the_board() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud = home.start();
    let device = home.device("porch", "board-1", "function init() {}");
    let policy = device.path.join("policy.toml");
    let config = device.path.join("agent.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(
        &config,
        format!(
            "board = \"virtual\"\npolicy = {:?}\n{text}",
            policy.to_str().expect("utf-8")
        ),
    )
    .expect("written");
    let state = || {
        let (_, seen) = device.api.get(&format!(
            "/project/{}/device/{}/board",
            device.api.project, device.id
        ));
        seen["state"].as_str().expect("a state").to_owned()
    };
    let agent = device.start();
    wait_for("the board", || (state() == "live").then_some(()));
    agent.kill();
    wait_for("the end of the connection", || (state() == "away").then_some(()));
    let agent = device.start();
    let began = Instant::now();
    wait_for("the board again", || (state() == "live").then_some(()));
    assert!(began.elapsed() < Duration::from_secs(60));
    // A cloud that has just started knows no boards. The device's next connection tells it.
    cloud.kill();
    let cloud = home.start();
    let first = state();
    assert!(
        ["unknown", "waiting", "live"].contains(&first.as_str()),
        "{first}"
    );
    let began = Instant::now();
    wait_for("the board after the restart", || {
        (state() == "live").then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    agent.terminate();
    wait_for("the end of the connection", || (state() == "away").then_some(()));
    cloud.terminate();
    let cloud = home.start();
    assert_eq!(state(), "unknown", "no device has connected");
    std::fs::write(&policy, "board_view = false\n").expect("written");
    let agent = device.start();
    wait_for("the refusal", || (state() == "hidden").then_some(()));
    agent.terminate();
    cloud.terminate();
}
