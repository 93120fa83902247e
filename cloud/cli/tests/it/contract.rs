//! The contract of the command line: standard output, standard error and exit codes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use iottly_e2e::{alone, beside_others, iottly, program};

use crate::local::finish;

/// Longest run of a program that should end by itself.
const LONGEST: Duration = Duration::from_secs(60);

/// A folder with a script firmware in it.
fn script(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("folder");
    fs::write(dir.path().join("firmware.toml"), "name = \"x\"\nlang = \"js\"\n").expect("write");
    fs::write(dir.path().join("main.js"), text).expect("write");
    dir
}

/// Returns a pipe whose reading end is closed.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Sets a token, a project and an address at which nothing listens.
fn nowhere(command: &mut Command) -> &mut Command {
    command
        .env("IOTTLY_URL", "http://127.0.0.1:9")
        .env("IOTTLY_TOKEN", "t")
        .env("IOTTLY_PROJECT", "58f73b41c3cc4800078010c5")
}

#[test]
fn filter_prints_what_matches() {
    let _turn = beside_others();
    let documents = "{\"a\": 1, \"b\": [1, 2]}\n\n{\"a\": 2}\n{\"b\": 2.0, \"a\": \"x\"}\n";
    let (code, out, err) = iottly(&["filter", r#"{"b": 2}"#], documents);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "{\"a\": 1, \"b\": [1, 2]}\n{\"b\": 2.0, \"a\": \"x\"}\n");
}

#[test]
fn filter_refuses_by_name() {
    let _turn = beside_others();
    for (query, word) in [
        (r#"{"a": {"$where": "1"}}"#, "$where"),
        ("{", "not valid"),
        (r#"{"$text": {}}"#, "$text"),
    ] {
        let (code, out, err) = iottly(&["filter", query], "{}\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{query}");
        assert!(err.to_lowercase().contains(word), "{query}: {err}");
    }
    let (code, out, err) = iottly(
        &["filter", "a>1 b:x"],
        "{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": \"x\"}\n",
    );
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "{\"a\": 2, \"b\": \"x\"}\n"),
        "{err}"
    );
    let (code, _, err) = iottly(&["filter", "{}"], "{}\nnonsense\n");
    assert_eq!(code, Some(2));
    assert!(err.contains("line 2"), "{err}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let _turn = beside_others();
    assert_eq!(iottly(&["fly"], "").0, Some(2));
    assert_eq!(iottly(&["demo", "--devices", "0"], "").0, Some(2));
    assert_eq!(iottly(&["serve"], "").0, Some(2));
}

#[test]
fn actions_on_many_devices_name_them_or_filter_them() {
    let _turn = beside_others();
    for (args, words) in [
        (&["tag", "porch"][..], "--add"),
        (&["tag", "--add", "x"], "<DEVICES>"),
        (
            &["tag", "porch", "--filter", "", "--add", "x"],
            "cannot be used with",
        ),
        (&["command", "echo"], "--device"),
        (&["command", "echo", "content", "--filter", ""], "KEY=VALUE"),
        (&["move", "--filter", ""], "--to"),
        (&["rm", "--yes"], "<DEVICES>"),
    ] {
        let (code, out, err) = iottly(&[&["device"], args].concat(), "");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn provision_never_replaces_a_device() {
    let _turn = beside_others();
    let dir = tempfile::tempdir().expect("folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
    let (data, out) = (path("cloud"), path("porch"));
    let args = [
        "provision",
        "--data",
        &data,
        "--project",
        "home",
        "--device",
        "porch",
        "--out",
        &out,
    ];
    let (code, first, err) = iottly(&args, "");
    assert_eq!(code, Some(0), "{err}");
    let config = std::fs::read_to_string(dir.path().join("porch/agent.toml")).expect("a configuration");
    let (code, _, err) = iottly(&args, "");
    assert_eq!(code, Some(1));
    assert!(err.contains("already holds a device"), "{err}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("porch/agent.toml")).expect("still there"),
        config
    );
    let first: serde_json::Value = serde_json::from_str(&first).expect("json");
    assert!(config.contains(first["device_id"].as_str().expect("id")));
}

#[test]
fn nobody_has_to_read_what_is_said() {
    // Many builds at once on a small machine exceed their time limits.
    let _turn = alone();
    let dir = script("function loop() { log('x'); }\n");
    let commands: [(&[&str], i32); 9] = [
        (&["build"], 0),
        (&["check"], 0),
        (&["init", "made"], 0),
        (&["init", "1st"], 2),
        (&["run", "gone.wasm"], 4),
        (&["filter", "{"], 2),
        (&["webhook", "add", "not an address"], 1),
        (&["group", "flash", "g"], 1),
        (&["key", "list", "--keys", "nowhere"], -1),
    ];
    for (args, expected) in commands {
        for close in [true, false] {
            let mut command = Command::new(program());
            nowhere(&mut command)
                .args(args)
                .current_dir(dir.path())
                .stdin(Stdio::null());
            command
                .stderr(closed_pipe())
                .stdout(if close { closed_pipe() } else { Stdio::null() });
            let code = command
                .status()
                .expect("the program starts")
                .code()
                .expect("no signal");
            assert!((0..=4).contains(&code), "{args:?} ended with {code}");
            if expected >= 0 && !close && args[0] != "init" {
                assert!(
                    code == expected || args[0] == "webhook",
                    "{args:?} ended with {code}"
                );
            }
        }
    }
    let full = Command::new(program())
        .args(["init", "1st"])
        .stderr(File::options().write(true).open("/dev/full").expect("full"))
        .status();
    assert_eq!(full.expect("the program starts").code(), Some(2));
}

#[test]
fn a_run_ends_when_nobody_reads_its_messages() {
    // Many builds at once on a small machine exceed their time limits.
    let _turn = alone();
    let dir = script("function init() { send_msg({ n: 1 }); }\n");
    let mut run = Command::new(program())
        .args(["run", "."])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut first = [0; 8];
    run.stdout
        .take()
        .expect("piped")
        .read_exact(&mut first)
        .expect("a message");
    let began = Instant::now();
    let code = loop {
        if let Some(status) = run.try_wait().expect("wait") {
            break status.code();
        }
        if began.elapsed() > LONGEST {
            run.kill().expect("kill");
            panic!("it still runs although standard output is closed");
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(code, Some(0));
}

#[test]
fn a_byte_order_mark_on_standard_input_is_no_part_of_it() {
    // Many builds at once on a small machine exceed their time limits.
    let _turn = alone();
    let (code, out, err) = iottly(&["filter", r#"{"a": 1}"#], "\u{feff}{\"a\": 1}\r\n{\"a\": 2}\r\n");
    assert_eq!((code, out.trim_end()), (Some(0), "{\"a\": 1}"), "{err}");
    let dir = script("function ping(command) { send_msg({ pong: command.ping.n }); }\n");
    let mut run = Command::new(program())
        .args(["run", "."])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    run.stdin
        .as_mut()
        .expect("piped")
        .write_all("\u{feff}{\"ping\": {\"n\": 1}}\r\n".as_bytes())
        .expect("written");
    let mut answer = [0; 10];
    run.stdout
        .take()
        .expect("piped")
        .read_exact(&mut answer)
        .expect("an answer");
    assert_eq!(&answer, br#"{"pong":1}"#);
    run.kill().expect("kill");
    run.wait().expect("wait");
}

#[test]
fn values_from_the_environment_are_trimmed_or_named() {
    let _turn = beside_others();
    let asked = |token: &str, project: &str, url: &str| {
        let mut command = Command::new(program());
        command
            .args(["group", "flash", "g"])
            .env("IOTTLY_TOKEN", token)
            .env("IOTTLY_PROJECT", project)
            .env("IOTTLY_URL", url);
        finish(&mut command)
    };
    let project = "58f73b41c3cc4800078010c5";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..count]).to_lowercase();
            let status = if text.contains("authorization: bearer secret\r\n") {
                "404 Not Found"
            } else {
                "401 Unauthorized"
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
        }
    });
    for end in ["", "\r", "\n", "\r\n", " ", "\t"] {
        let value = |text: &str| format!("{text}{end}");
        let (code, _, err) = asked(&value("secret"), &value(project), &value(&url));
        assert_eq!(code, Some(4), "{end:?}: {err}");
    }
    for token in ["sec\rret", "sec\nret", "sec ret", "sécret", " "] {
        let (code, _, err) = asked(token, project, &url);
        assert_eq!(code, Some(2), "{token:?}: {err}");
        assert!(err.contains("IOTTLY_TOKEN") && !err.contains("ret "), "{err}");
    }
}

#[test]
fn no_proxy_stands_before_this_machine() {
    let _turn = beside_others();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    proxy.set_nonblocking(true).expect("nonblocking");
    let mut command = Command::new(program());
    nowhere(command.args(["group", "flash", "g"]));
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, &address);
    }
    let (code, _, err) = finish(&mut command);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("cannot reach http://127.0.0.1:9") && !err.contains("CONNECT"),
        "{err}"
    );
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

#[test]
fn builds_need_no_writable_tmp() {
    // Many builds at once on a small machine exceed their time limits.
    let _turn = alone();
    let dir = script("function loop() {}\n");
    for args in [&["build"][..], &["check"]] {
        let mut command = Command::new(program());
        let (code, _, err) = finish(
            command
                .args(args)
                .current_dir(dir.path())
                .env("TMPDIR", "/nonexistent"),
        );
        assert_eq!(code, Some(0), "{args:?}: {err}");
    }
    let left = fs::read_dir(dir.path())
        .expect("folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("iottly-"));
    assert_eq!(left.count(), 0, "nothing is left behind");
}

#[test]
fn more_devices_than_open_files_are_refused() {
    let _turn = beside_others();
    let mut command = Command::new("/bin/sh");
    let script = format!(
        "ulimit -n 256; exec {} demo --devices 150 --http 127.0.0.1:0",
        program()
    );
    let (code, _, err) = finish(command.args(["-c", &script]));
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("150 devices need") && err.contains("this process may have 256"),
        "{err}"
    );
}

#[test]
fn the_version_says_how_children_are_confined() {
    let _turn = beside_others();
    let (code, out, _) = iottly(&["--version", "--verbose"], "");
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("iottly ")
            && out.contains("\nwasmtime ")
            && out.contains("confinement of children: Landlock: "),
        "{out}"
    );
    assert_eq!(iottly(&["--version"], "").0, Some(0));
}
