//! Wall clocks that jump, on real processes: no message, command, presence, session or rollout suffers.
//!
//! Without libfaketime (Debian: faketime) the tests pass, except under CI.

use std::time::Duration;

use iottly_e2e::{CloudHome, Date, DeviceHome, Process, beside_others, every_seq_exactly_once, wait_for};
use serde_json::{Value, json};

const STEPS: [&str; 4] = ["+3h", "-3h", "+10y", "-10y"];
const COUNTER: &str = "let n = 0; function loop() { send_msg({ n: n++ }); return 50; }";

/// A cloud and a device whose dates move.
struct World {
    home: CloudHome,
    device: DeviceHome,
    dates: [Date; 2],
}

impl World {
    fn new() -> Option<Self> {
        let home = CloudHome::new();
        let dates = [
            Date::new(home.dir.path(), "cloud-date")?,
            Date::new(home.dir.path(), "device-date")?,
        ];
        let device = home.updating_device("clocks", "porch", COUNTER);
        Some(Self { home, device, dates })
    }

    fn start(&self) -> (Process, Process) {
        let cloud = self.home.start_as(&[], |command| self.dates[0].of(command));
        let agent = self.device.start_as(|command| self.dates[1].of(command));
        (cloud, agent)
    }

    /// Checks that messages arrive and a command is answered.
    fn works(&self, word: &str) {
        let newest = |history: &Value| {
            let messages = history["messages"].as_array().cloned().unwrap_or_default();
            messages
                .iter()
                .filter_map(|message| message["payload"]["n"].as_u64())
                .max()
                .unwrap_or(0)
        };
        let path = format!(
            "/project/{}/messages/{}?numMessages=100",
            self.device.api.project, self.device.id
        );
        let before = newest(&self.device.api.get(&path).1);
        let (status, answer) = self.device.api.command(
            &self.device.id,
            &json!({"cmd_type": "echo", "values": {"echo.content": word}}),
        );
        assert_eq!(status, 200, "{answer}");
        self.device
            .api
            .wait_for_message(&self.device.id, word, |message| {
                message["payload"].to_string().contains(word)
            });
        wait_for("more messages", || {
            (newest(&self.device.api.get(&path).1) > before + 10).then_some(())
        });
    }

    fn is_connected(&self) {
        let (_, props) = self
            .device
            .api
            .get(&format!("/project/{}/devices/props", self.device.api.project));
        assert!(props.to_string().contains("\"connected\""), "{props}");
    }
}

#[test]
fn steps_of_either_date_lose_nothing_and_disconnect_nobody() {
    let _turn = beside_others();
    let Some(world) = World::new() else { return };
    let (cloud, agent) = world.start();
    world.works("first");
    for (side, date) in world.dates.iter().enumerate() {
        for step in STEPS {
            // The command and the messages are sent under the moved date.
            date.set(step);
            world.works(&format!("away-{side}-{step}"));
            world.is_connected();
            date.set("+0");
            world.works(&format!("back-{side}-{step}"));
        }
    }
    agent.terminate();
    let history = world.device.history();
    every_seq_exactly_once(&history);
    let mut counted: Vec<u64> = history
        .iter()
        .filter_map(|message| message["payload"]["n"].as_u64())
        .collect();
    counted.sort_unstable();
    let highest = *counted.last().expect("counters");
    assert_eq!(
        counted,
        (0..=highest).collect::<Vec<_>>(),
        "each counter is stored once"
    );
    let texts: Vec<String> = history
        .iter()
        .map(|message| message["payload"].to_string())
        .collect();
    assert!(
        texts.iter().filter(|text| text.contains("disconnected")).count() <= 1,
        "only the last stop disconnects"
    );
    cloud.terminate();
}

#[test]
fn a_command_survives_steps_while_it_waits_for_its_device() {
    let _turn = beside_others();
    let Some(world) = World::new() else { return };
    let cloud = world.home.start_as(&[], |command| world.dates[0].of(command));
    for step in STEPS {
        let word = format!("waited-{step}");
        let body = json!({"cmd_type": "echo", "values": {"echo.content": word}});
        let (status, answer) = world.device.api.command(&world.device.id, &body);
        assert_eq!(status, 200, "{answer}");
        world.dates[0].set(step);
        std::thread::sleep(Duration::from_millis(1500));
        let agent = world.device.start_as(|command| world.dates[1].of(command));
        let device = &world.device;
        device.api.wait_for_message(&device.id, &word, |message| {
            message["payload"].to_string().contains(&word)
        });
        agent.terminate();
        world.dates[0].set("+0");
    }
    cloud.terminate();
}

#[test]
fn a_trial_survives_steps_of_the_clouds_date() {
    let _turn = beside_others();
    let Some(world) = World::new() else { return };
    let (cloud, agent) = world.start();
    world.works("first");
    let project = format!("/project/{}", world.device.api.project);
    let api = &world.device.api;
    let (_, made) = api.post(
        &format!("{project}/deploymentgroups"),
        &json!({"name": "field", "branch": "main"}),
    );
    let group = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    api.post(
        &format!("{project}/deploymentgroups/{group}/devices"),
        &json!({"devices": [world.device.id]}),
    );
    let folder = world.home.dir.path().join("code");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("firmware.toml"), "name = \"steps\"\nlang = \"js\"\n").expect("a manifest");
    for (number, step) in STEPS[..2].iter().enumerate() {
        std::fs::write(folder.join("main.js"), format!("{COUNTER} // {number}")).expect("a script");
        let (code, _, errors) = api.iottly(world.home.dir.path(), &["push", "code"]);
        assert_eq!(code, Some(0), "{errors}");
        let flash = json!({"policy": {"canary": 1, "grace_ms": 5000}});
        let (status, flashed) = api.post(&format!("{project}/deploymentgroups/{group}/flashfw"), &flash);
        assert_eq!(status, 200, "{flashed}");
        let states = || {
            let (_, rollouts) = api.get(&format!("{project}/rollouts"));
            let id = rollouts["rollouts"][0]["id"].as_str().expect("an id").to_owned();
            let (_, devices) = api.get(&format!("{project}/rollouts/{id}/devices"));
            (
                rollouts["rollouts"][0]["status"]
                    .as_str()
                    .expect("a status")
                    .to_owned(),
                devices.to_string(),
            )
        };
        wait_for("the trial", || states().1.contains("\"trial\"").then_some(()));
        world.dates[0].set(step);
        let status = wait_for("the end", || {
            Some(states().0).filter(|status| status != "deploying")
        });
        assert_eq!(status, "deployed", "{step}: {}", states().1);
        world.dates[0].set("+0");
        std::thread::sleep(Duration::from_millis(500));
    }
    agent.terminate();
    cloud.terminate();
}
