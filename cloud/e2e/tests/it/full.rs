//! A cloud without room for one more device, or for one more board that waits for approval, and a board: it is asked to wait,
//! waits, and comes back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use iottly_e2e::{Process, agent_program, beside_others, build, wait_for};
use iottly_protocol::BootId;
use iottly_protocol::enroll::{BoardFacts, DeviceSigner, EnrollRequest, PairCode, SealingSecret};
use serde_json::Value;

use crate::enrolment::site;
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

/// Boards of one project that may wait for approval, as docs/LIMITS.md has it.
const WAITING: u16 = 1024;

/// Returns the request of a board with an enrolment key.
fn waiting_board(code: &str, number: u16) -> Value {
    let code: PairCode = code.parse().expect("a code");
    let mut key = [9; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    let request = EnrollRequest::signed(
        Some(code),
        &DeviceSigner::from_secret(&key),
        &SealingSecret::from_secret([3; 32]),
        BoardFacts::default(),
        None,
    );
    serde_json::to_value(request).expect("JSON")
}

#[test]
fn a_board_waits_while_no_place_is_free_to_wait_for_approval_and_comes_back() {
    let _turn = beside_others();
    let site = site();
    let key = site.operator(&[
        "enrolment-key",
        "create",
        "--name",
        "line",
        "--max-uses",
        "5000",
        "--waiting",
    ]);
    let url = key["url"].as_str().expect("a url");
    let code = url
        .rsplit_once('/')
        .expect("a path")
        .1
        .split('#')
        .next()
        .expect("a code");
    for number in 0..WAITING {
        let (status, answer) = site.api.post("/enroll", &waiting_board(code, number));
        assert_eq!(status, 200, "{number}: {answer}");
    }
    // One more is refused, with the time to wait.
    let (_, host) = site.api.url.split_once("://").expect("an address");
    let body = waiting_board(code, WAITING).to_string();
    let mut stream = TcpStream::connect(host).expect("connected");
    let head = format!(
        "POST /v1.0/enroll HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let answer = answer.to_lowercase();
    assert!(
        answer.starts_with("http/1.1 503") && answer.contains("retry-after: 30"),
        "{answer}"
    );

    let mut command = Command::new(agent_program());
    command
        .arg("run")
        .arg("--data")
        .arg(site.board("late"))
        .env("IOTTLY_ENROLL", url)
        .env("IOTTLY_NAME", "late")
        .env("IOTTLY_LOG", "info");
    let log = site.board("late.log");
    let agent = Process::start_with_log("the agent", &mut command, &log);
    wait_for("the agent to be refused", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.contains("failed to enrol; retrying") && text.contains("503")).then_some(())
    });
    let waiting = || {
        let listed = site.operator(&["device", "waiting"]);
        listed["boards"].as_array().expect("boards").clone()
    };
    let boards = waiting();
    assert_eq!(boards.len(), usize::from(WAITING));
    site.operator(&["device", "approve", boards[0]["code"].as_str().expect("a code")]);
    // Its first pause is of up to thirty seconds, as after a refused login.
    let late = wait_for("the agent to come back", || {
        waiting().into_iter().find(|board| board["name"] == "late")
    });
    site.operator(&["device", "approve", late["code"].as_str().expect("a code")]);
    wait_for("the approved board to connect", || {
        let listed = site.operator(&["device", "list"]);
        let online = |shown: &&Value| shown["name"] == "late" && shown["operatingstatus"] == "connected";
        listed["devices"].as_array()?.iter().find(online).map(|_| ())
    });
    agent.terminate();
    site.cloud.terminate();
}
