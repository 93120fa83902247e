//! A cloud without room for one more device, and a board: it is asked to wait, waits, and comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use iottly_e2e::{Process, agent_program, beside_others, build, wait_for};
use iottly_protocol::BootId;

use crate::strangers::{Cloud, connect_packet};

/// Answer of MQTT 3.1.1 to a login: accepted, and the server is unavailable (section 3.2.2.3).
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const UNAVAILABLE: [u8; 4] = [0x20, 2, 0, 3];

#[test]
fn a_board_waits_while_the_cloud_has_no_room_and_comes_back() {
    let _turn = beside_others();
    let cloud = Cloud::start(160, &[]);
    // Boards with copied disks have connections of their own.
    let mut held = Vec::new();
    let last = (0..160_u8).find_map(|n| {
        let boot = BootId::from_bytes([n; 16]);
        let mut stream = TcpStream::connect(cloud.mqtt).expect("connected");
        let login = connect_packet(&format!("{}.{boot}", cloud.device), &cloud.device, &cloud.secret);
        stream.write_all(&login).expect("sent");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("an answer");
        held.push(stream);
        (answer != ACCEPTED).then_some(answer)
    });
    assert_eq!(last, Some(UNAVAILABLE), "{} have room", held.len());

    let folder = cloud.dir.path().join("device");
    let file = folder.join("agent.toml");
    let settings = std::fs::read_to_string(&file).expect("settings");
    assert!(settings.contains("127.0.0.1:1\""), "{settings}");
    let settings = settings.replace("127.0.0.1:1\"", &format!("{}\"", cloud.mqtt));
    std::fs::write(&file, settings).expect("settings");
    std::fs::write(folder.join("firmware.wasm"), build("function init() {}")).expect("firmware");
    let mut command = Command::new(agent_program());
    command
        .arg("run")
        .arg("--data")
        .arg(&folder)
        .env("IOTTLY_LOG", "info");
    let log = cloud.dir.path().join("agent.log");
    let agent = Process::start_with_log("the agent", &mut command, &log);
    let said = |word: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains(word).then_some(())
    };
    wait_for("the agent to be refused", || said("ServiceUnavailable"));
    drop(held);
    // Its first pause is of up to thirty seconds, so that a fleet that was refused does not return at once.
    wait_for("the agent to come back", || {
        let (_, listed) = cloud
            .api
            .get(&format!("/project/{}/devices/props", cloud.api.project));
        (listed["devices"][0]["operatingstatus"] == "connected").then_some(())
    });
    agent.terminate();
    cloud.process.terminate();
}
