//! Webhooks of a real cloud that is killed, and the commands that manage them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use iottly_e2e::{CloudHome, DeviceHome, Process, beside_others, wait_for};
use serde_json::{Value, json};

/// A script that counts up, five messages at a time.
const COUNTER: &str = r"
let n = 0;
function loop() {
  for (let i = 0; i < 5; i++) send_msg({ n: n++ });
  return 100;
}
";

/// Requests of a receiver: for each `webhook-id` their count, and the number in the message.
type Taken = Arc<Mutex<BTreeMap<String, (u32, u64)>>>;

/// A simple receiver, which reads JSON from each posted body.
struct Receiver {
    port: u16,
    taken: Taken,
    /// Set while requests are read and not answered.
    mute: Arc<AtomicBool>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (taken, mute) = (Taken::default(), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&taken), Arc::clone(&mute));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (taken, mute) = shared.clone();
                std::thread::spawn(move || serve(&stream, &taken, &mute));
            }
        });
        Self { port, taken, mute }
    }

    fn taken(&self) -> BTreeMap<String, (u32, u64)> {
        self.taken.lock().expect("unpoisoned").clone()
    }
}

fn serve(stream: &TcpStream, taken: &Taken, mute: &AtomicBool) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut id, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("webhook-id") => id = value.to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().ok()?
                }
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let message: Value = serde_json::from_slice(&body).expect("a JSON body");
        let number = message["msg"]["payload"]["n"].as_u64()?;
        taken
            .lock()
            .expect("unpoisoned")
            .entry(id)
            .or_insert((0, number))
            .0 += 1;
        if mute.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_secs(60));
            return None;
        }
        (&*stream)
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Runs `iottly webhook …` for a device's project.
fn webhook(device: &DeviceHome, args: &[&str]) -> (Option<i32>, String, String) {
    device.api.iottly(&device.path, &[&["webhook"], args].concat())
}

fn add(device: &DeviceHome, receiver: &Receiver) -> String {
    let url = format!("http://127.0.0.1:{}/webhook/user", receiver.port);
    let args = [
        "add",
        &url,
        "--type",
        "user",
        "--header",
        "Content-Type: application/json",
        "--output",
        "json",
    ];
    let (code, stdout, stderr) = webhook(device, &args);
    assert_eq!(code, Some(0), "{stderr}");
    let made: Value = serde_json::from_str(&stdout).expect("json");
    made["id"].as_str().expect("an id").to_owned()
}

fn stored(device: &DeviceHome) -> BTreeMap<String, u64> {
    let number = |message: &Value| {
        Some((
            message["_id"]["$oid"].as_str()?.to_owned(),
            message["payload"]["n"].as_u64()?,
        ))
    };
    device.history().iter().filter_map(number).collect()
}

fn nothing_waits(device: &DeviceHome, id: &str) {
    wait_for("nothing to wait", || {
        let (_, hook) = device
            .api
            .try_get(&format!("/project/{}/webhooks/{id}", device.api.project))?;
        (hook["waiting"] == 0).then_some(())
    });
}

#[test]
fn killing_the_cloud_costs_no_delivery_and_repeats_few() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let args = ["--webhook-allow", "127.0.0.0/8"];
    let mut cloud = home.start_with(&args);
    let device = home.device("tenant", "counter", COUNTER);
    let receiver = Receiver::start();
    let id = add(&device, &receiver);
    let agent = device.start();
    let mut goal = 50;
    for round in 0..4 {
        wait_for("deliveries", || (receiver.taken().len() >= goal).then_some(()));
        // In every second round requests are not answered: sent, and not recorded.
        let silent = round % 2 == 1;
        receiver.mute.store(silent, Ordering::SeqCst);
        if silent {
            let before = receiver.taken().len();
            wait_for("requests without an answer", || {
                (receiver.taken().len() > before).then_some(())
            });
        }
        cloud.kill();
        receiver.mute.store(false, Ordering::SeqCst);
        cloud = home.start_with(&args);
        goal = receiver.taken().len() + 50;
    }
    wait_for("deliveries", || (receiver.taken().len() >= goal).then_some(()));
    agent.terminate();
    nothing_waits(&device, &id);
    let (stored, taken) = (stored(&device), receiver.taken());
    let sent: BTreeMap<_, _> = taken
        .iter()
        .map(|(id, (_, number))| (id.clone(), *number))
        .collect();
    assert_eq!(
        sent, stored,
        "every stored message arrived under its id, and nothing else"
    );
    let most = taken.values().map(|(times, _)| *times).max();
    assert!(
        most <= Some(3),
        "a delivery is repeated once per kill at most: {most:?}"
    );
    let repeated = taken.values().filter(|(times, _)| *times > 1).count();
    // Those were under way or not yet recorded at a kill.
    assert!(
        repeated < taken.len() / 2,
        "{repeated} of {} were repeated",
        taken.len()
    );
    cloud.terminate();
}

#[test]
fn commands_manage_webhooks() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let cloud: Process = home.start_with(&["--webhook-allow", "127.0.0.0/8"]);
    let device = home.device("tenant", "quiet", "function init() {}");
    let receiver = Receiver::start();
    let (code, stdout, stderr) = webhook(&device, &["add", "http://10.0.0.1/"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("10.0.0.1"), "{stderr}");
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let (code, stdout, stderr) = webhook(
        &device,
        &[
            "add",
            &url,
            "--filter",
            r#"{"t":{"$gt":5}}"#,
            "--header",
            "X-Key: secret value",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("whsec_"), "{stdout}");
    let (_, stdout, _) = webhook(&device, &["list", "--output", "json"]);
    let list: Value = serde_json::from_str(&stdout).expect("json");
    let hook = &list["webhooks"][0];
    assert_eq!(
        (&hook["filter"], &hook["headers"]),
        (&json!({"t": {"$gt": 5}}), &json!({"X-Key": "********"}))
    );
    let id = hook["id"].as_str().expect("an id");
    let (_, stdout, _) = webhook(&device, &["list"]);
    assert!(stdout.contains(id) && stdout.contains("waiting 0"), "{stdout}");
    // This receiver cannot read a form's body, so it closes the connection.
    let (code, stdout, _) = webhook(&device, &["test", id]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.starts_with("connection"), "{stdout}");
    wait_for("the attempt in the log", || {
        webhook(&device, &["log", id])
            .1
            .contains("connection")
            .then_some(())
    });
    let (code, stdout, _) = webhook(&device, &["replay", id, "--failed-since", "0"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "0 deliveries queued again\n"));
    assert_eq!(webhook(&device, &["replay", id]).0, Some(2));
    assert_eq!(
        webhook(&device, &["replay", id, "--message", "000000000000000000000000"]).0,
        Some(4)
    );
    assert!(webhook(&device, &["rotate", id]).1.contains("whsec_"));
    assert_eq!(webhook(&device, &["log", id, "--token", "nonsense"]).0, Some(3));
    assert_eq!(webhook(&device, &["remove", id]).0, Some(0));
    assert_eq!(webhook(&device, &["remove", id]).0, Some(4));
    cloud.terminate();
}
