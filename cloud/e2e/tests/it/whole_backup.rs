//! A backup of a whole running cloud, restored on an empty machine: the board that knows the old cloud's authority continues.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;

use iottly_e2e::{
    Api, CloudHome, Process, beside_others, every_seq_exactly_once, free_port, iottly, secrets, wait_for,
};
use serde_json::{Value, json};

use crate::cluster;

const COUNTER: &str = r"
let n = 0;
function loop() {
  for (let i = 0; i < 5; i++) send_msg({ n: n++ });
  return 100;
}
";
const NEXT: &str = r"
let n = 0;
function loop() {
  send_msg({ next: n++ });
  return 100;
}
";
const PASSPHRASE: &str = "correct horse battery staple";

/// Receives one request at a time; sends the headers of each.
fn receiver() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = send.send(head);
        }
    });
    (port, receive)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

/// Saves the script as the next revision and brings it to the devices of the group.
fn deploy(api: &Api, folder: &Path, group: &str, script: &str) {
    if !folder.join("porch").exists() {
        let (code, _, errors) = api.iottly(folder, &["init", "porch", "--lang", "js"]);
        assert_eq!(code, Some(0), "{errors}");
    }
    std::fs::write(folder.join("porch/main.js"), script).expect("a script");
    let (code, _, errors) = api.iottly(folder, &["push", "porch"]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, out, errors) = api.iottly(
        folder,
        &["group", "flash", group, "--watch", "--grace-ms", "1000"],
    );
    assert_eq!(code, Some(0), "{out}{errors}");
}

/// Returns the options of a database.
fn server(url: Option<&str>) -> Vec<&str> {
    url.map_or_else(Vec::new, |url| vec!["--database-url", url])
}

fn count(history: &[Value], key: &str) -> usize {
    history
        .iter()
        .filter(|message| message["payload"][key].is_u64())
        .count()
}

#[test]
fn a_whole_cloud_moves_to_an_empty_machine_and_its_board_goes_on() {
    let _turn = beside_others();
    moves(None);
}

#[test]
fn a_whole_cloud_on_postgresql_moves_to_an_empty_machine_and_an_empty_database() {
    let _turn = beside_others();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let databases =
        runtime.block_on(async { Some([cluster::database().await?, cluster::database().await?]) });
    if let Some(databases) = databases {
        moves(Some(databases));
    }
}

/// Backs up a cloud that runs, loses its machine, and restores it. `databases` are the addresses of the old and of the new
/// one; without them both are files.
fn moves(databases: Option<[String; 2]>) {
    secrets::remember(PASSPHRASE);
    let [old_database, new_database] = databases.map_or([None, None], |both| both.map(Some));
    let mut home = CloudHome::new();
    home.on_server(old_database.clone());
    let listen = format!("127.0.0.1:{}", free_port());
    let args = ["--listen", &listen, "--webhook-allow", "127.0.0.0/8"];
    let cloud: Process = home.start_with(&args);
    let folder = home.dir.path().to_owned();
    let api = home.device("tenant", "unused", COUNTER).api;
    let device = home.enrolled_device(&api, "board", COUNTER);
    let project = format!("/project/{}", api.project);
    let (status, made) = api.post(
        &format!("{project}/deploymentgroups"),
        &json!({"name": "field", "branch": "main"}),
    );
    assert_eq!(status, 200, "{made}");
    let group = made["deployment_group"]["id"].as_str().expect("an id");
    let (status, moved) = api.post(
        &format!("{project}/deploymentgroups/{group}/devices"),
        &json!({"devices": [device.id]}),
    );
    assert_eq!(status, 200, "{moved}");
    let (port, requests) = receiver();
    let (status, hook) = api.post(
        &format!("{project}/webhooks"),
        &json!({"url": format!("http://127.0.0.1:{port}/"), "headers": {"X-Key": "a header that is sealed"}}),
    );
    assert_eq!(status, 200, "{hook}");
    let hook = hook["webhook"]["id"]
        .as_str()
        .or(hook["id"].as_str())
        .expect("an id")
        .to_owned();
    let agent = device.start();
    deploy(&api, &folder, "field", COUNTER);
    device
        .api
        .wait_for_message(&device.id, "messages of the release", |message| {
            message["payload"]["n"].as_u64() > Some(20)
        });
    agent.terminate();

    let (file, phrase) = (folder.join("whole.backup"), folder.join("passphrase"));
    std::fs::write(&phrase, format!("{PASSPHRASE}\n")).expect("a passphrase");
    let old = folder.join("cloud");
    let backup = |file: &Path| {
        let words = ["backup", "--all", text(file), "--data", text(&old)];
        let words = [
            &words[..],
            &server(old_database.as_deref()),
            &["--passphrase-file", text(&phrase)],
        ];
        iottly(&words.concat(), "")
    };
    let (code, _, errors) = backup(&file);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = backup(&file);
    assert!(code == Some(1) && errors.contains("exists already"), "{errors}");
    let bytes = std::fs::read(&file).expect("the backup");
    let key = std::fs::read_to_string(old.join("seal.key")).expect("the seal key");
    assert!(
        !bytes.windows(64).any(|part| part == key.trim().as_bytes()),
        "the backup is encrypted"
    );
    let before = device.history();
    cloud.kill();
    std::fs::rename(&old, folder.join("gone")).expect("the machine is lost");

    let new = folder.join("new machine");
    let restore = |file: &Path, phrase: &Path| {
        let words = ["restore", text(file), "--data", text(&new)];
        let words = [
            &words[..],
            &server(new_database.as_deref()),
            &["--passphrase-file", text(phrase)],
        ];
        iottly(&words.concat(), "")
    };
    refuses_what_is_not_whole(&bytes, &folder, &phrase, &restore);
    let (code, _, errors) = restore(&file, &phrase);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = restore(&file, &phrase);
    assert!(code == Some(1) && errors.contains("is not empty"), "{errors}");

    home.move_to(new.clone());
    home.on_server(new_database.clone());
    let cloud = home.start_with(&args);
    assert_eq!(device.history(), before, "the history is as it was");
    let agent = device.start();
    let newest = before.len();
    wait_for("more messages", || {
        (device.history().len() > newest + 50).then_some(())
    });
    // The old release is verified on the board, and the restored keys sign the next one.
    deploy(&api, &folder, "field", NEXT);
    wait_for("messages of the next release", || {
        (count(&device.history(), "next") > 5).then_some(())
    });
    agent.terminate();
    let history = device.history();
    every_seq_exactly_once(&history);
    assert!(
        !history.iter().any(|message| message["type"] == "gap"),
        "nothing was lost"
    );

    while requests.try_recv().is_ok() {}
    let (status, tested) = api.post(&format!("{project}/webhooks/{hook}/test"), &json!({}));
    assert_eq!(status, 200, "{tested}");
    let head = wait_for("the webhook's request", || requests.try_recv().ok()).to_ascii_lowercase();
    assert!(head.contains("webhook-signature: v1,"), "{head}");
    assert!(head.contains("x-key: a header that is sealed"), "{head}");
    cloud.terminate();
}

/// Restores an archive into a folder; returns the exit code and what was printed.
type Restore<'a> = dyn Fn(&Path, &Path) -> (Option<i32>, String, String) + 'a;

/// Checks that no damaged backup is restored, and that nothing is left of the attempt.
fn refuses_what_is_not_whole(bytes: &[u8], folder: &Path, phrase: &Path, restore: &Restore<'_>) {
    let (bad, wrong) = (folder.join("bad.backup"), folder.join("wrong"));
    std::fs::write(&wrong, "another passphrase\n").expect("a passphrase");
    let mut changed = bytes.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (bytes, phrase, word) in [
        (&bytes[..bytes.len() - 1], phrase, "truncated"),
        (&bytes[..bytes.len() / 2], phrase, "truncated"),
        (&changed[..], phrase, "was changed"),
        (bytes, &wrong, "passphrase is wrong"),
    ] {
        std::fs::write(&bad, bytes).expect("a backup");
        let (code, _, errors) = restore(&bad, phrase);
        assert!(code == Some(1) && errors.contains(word), "{word}: {errors}");
    }
}

#[test]
fn keys_live_in_another_folder_and_a_passphrase_unlocks_them() {
    let _turn = beside_others();
    secrets::remember(PASSPHRASE);
    let home = CloudHome::new();
    let folder = home.dir.path().to_owned();
    let (keys, phrase) = (folder.join("keys"), folder.join("passphrase"));
    std::fs::write(&phrase, format!("{PASSPHRASE}\n")).expect("a passphrase");
    let listen = format!("127.0.0.1:{}", free_port());
    let args = ["--listen", &listen, "--keys", text(&keys)];
    let cloud = home.start_with(&args);
    let api = home.device("tenant", "unused", COUNTER).api;
    let hook = |url: &str| {
        api.post(
            &format!("/project/{}/webhooks", api.project),
            &json!({"url": url, "headers": {"X-Key": "a header that is sealed"}}),
        )
    };
    assert_eq!(hook("https://hooks.example/1").0, 200);
    cloud.terminate();
    for name in ["seal.key", "tls"] {
        assert!(keys.join(name).exists(), "{name}");
        assert!(!folder.join("cloud").join(name).exists(), "{name}");
    }

    let seal = keys.join("seal.key");
    let (code, _, errors) = iottly(
        &["seal", "lock", text(&seal), "--passphrase-file", text(&phrase)],
        "",
    );
    assert_eq!(code, Some(0), "{errors}");
    let data = folder.join("cloud");
    let refused = [&["serve", "--data", text(&data)][..], &args].concat();
    let (code, _, errors) = iottly(&refused, "");
    assert!(
        code == Some(1) && errors.contains("--passphrase-file"),
        "{errors}"
    );
    let unlocked = [&args[..], &["--passphrase-file", text(&phrase)]].concat();
    let cloud = home.start_with(&unlocked);
    let (status, listed) = api.get(&format!("/project/{}/webhooks", api.project));
    assert_eq!(status, 200, "{listed}");
    assert_eq!(hook("https://hooks.example/2").0, 200);
    cloud.terminate();
}
