//! Errors of the command line, each provoked: what failed, why, and what to type next, with the exit code of its kind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use iottly_e2e::{Api, CloudHome, beside_others, free_port, program};
use serde_json::{Value, json};

/// Command line that fails, and what it has to say.
struct Case {
    name: &'static str,
    words: Vec<String>,
    /// Variables of the environment beside the address and the token of the cloud, which they replace.
    environment: Vec<(&'static str, String)>,
    code: i32,
    says: Vec<String>,
}

fn case(name: &'static str, line: &str, code: i32, says: &[&str]) -> Case {
    Case {
        name,
        words: line.split(' ').map(str::to_owned).collect(),
        environment: Vec::new(),
        code,
        says: says.iter().map(|text| (*text).to_owned()).collect(),
    }
}

impl Case {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }
}

/// Serves the same answer to every request; returns its address.
fn server(status: &str, head: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = format!(
        "HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    url
}

/// Runs a command line of a machine with its own configuration; returns its code and both outputs.
fn run(api: &Api, config: &Path, case: &Case) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    command
        .args(&case.words)
        .env("IOTTLY_URL", &api.url)
        .env("IOTTLY_TOKEN", &api.token)
        .env("IOTTLY_PROJECT", &api.project)
        .env("XDG_CONFIG_HOME", config);
    for (name, value) in &case.environment {
        match value.as_str() {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    let output = command.output().expect("iottly starts");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_error_says_what_failed_and_what_to_type_next() {
    let _turn = beside_others();
    let home = CloudHome::new();
    let device = home.device("home", "porch", "function loop() { return 1000; }");
    let cloud = home.start();
    let api = &device.api;
    let path = |rest: &str| format!("/project/{}{rest}", api.project);
    let (status, made) = api.post(&path("/tokens"), &json!({"name": "reader", "scopes": ["read"]}));
    assert_eq!(status, 200, "{made}");
    let reader = made["token"].as_str().expect("a token").to_owned();
    let (status, made) = api.post(&path("/deploymentgroups"), &json!({"name": "north"}));
    assert_eq!(status, 200, "{made}");
    let config = home.dir.path().join("config");
    let file = config.join("iottly/logins.json");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    let over =
        json!({"current": api.url, "logins": {&api.url: {"token": "iotm_over", "project": api.project}}});
    std::fs::write(&file, over.to_string()).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");

    let away = format!("http://127.0.0.1:{}", free_port());
    let error =
        |code: &str, text: &str| json!({"error": text, "code": code, "request_id": "abc123"}).to_string();
    let many = server(
        "429 Too Many Requests",
        "Retry-After: 7\r\n",
        &error("rate_limited", "token exceeds its rate limit"),
    );
    let old = server("404 Not Found", "", &error("not_found", "path not found"));
    let broken = server(
        "500 Internal Server Error",
        "",
        &error("internal", "internal error"),
    );
    let other = server("200 OK", "", "<html>a router</html>");
    let proxy = server("502 Bad Gateway", "", "<html>bad gateway</html>");
    let login = format!("iottly login --url {}", api.url);
    let cases = [
        case(
            "an unreachable cloud",
            "device list",
            1,
            &["cannot reach", &away, "iottly doctor", "--url"],
        )
        .with("IOTTLY_URL", &away),
        case(
            "a wrong token",
            "device list",
            3,
            &["a valid token is required", "IOTTLY_TOKEN", &login],
        )
        .with("IOTTLY_TOKEN", "iot_wrong"),
        case(
            "a token that is none",
            "device list",
            2,
            &["--token or IOTTLY_TOKEN", "control characters"],
        )
        .with("IOTTLY_TOKEN", "a b"),
        case(
            "no login",
            "device list",
            3,
            &[
                "you are not signed in at http://127.0.0.1:9",
                "iottly login --url",
                "IOTTLY_TOKEN",
            ],
        )
        .with("IOTTLY_TOKEN", "")
        .with("IOTTLY_URL", "http://127.0.0.1:9"),
        case(
            "an expired login",
            "device list",
            3,
            &["your login is over or was revoked", &login],
        )
        .with("IOTTLY_TOKEN", ""),
        case(
            "no right",
            "device rename porch attic",
            3,
            &["lacks the scope write", "iottly whoami", "an owner"],
        )
        .with("IOTTLY_TOKEN", &reader),
        case(
            "another project",
            "device list",
            3,
            &["no permission for this project", "iottly project list"],
        )
        .with("IOTTLY_PROJECT", "58f73b41c3cc4800078010c5"),
        case("a project that is none", "device list", 2, &["--project"]).with("IOTTLY_PROJECT", "home"),
        case(
            "a similar device",
            "device show prch",
            4,
            &[
                "device \"prch\" does not exist",
                "is it \"porch\"?",
                "iottly device list",
            ],
        ),
        case(
            "an unknown device",
            "history attic-of-a-friend",
            4,
            &["does not exist", "iottly device list"],
        ),
        case(
            "an unknown id",
            "device show 00000000-0000-4000-8000-000000000000",
            4,
            &["device is unknown", "iottly device list"],
        ),
        case(
            "a similar group",
            "group watch nrth",
            4,
            &["is it \"north\"?", "iottly group list"],
        ),
        case(
            "a bad filter of devices",
            "device list --filter offline>soon",
            2,
            &["soon", "offline"],
        ),
        case(
            "a bad filter with its place",
            "tail --filter {\"a\":",
            2,
            &["line 1 column 5"],
        ),
        case(
            "a bad filter of messages",
            "history porch --filter offline>1h",
            2,
            &["offline"],
        ),
        case(
            "a time that is none",
            "device absent porch --until soon --reason move",
            2,
            &["\"soon\" is neither a length of time such as 90m"],
        ),
        case(
            "an option that is none",
            "device list --colour",
            2,
            &["--colour", "--help"],
        ),
        case(
            "too many requests",
            "device list",
            1,
            &["exceeds its rate limit", "wait 7 s and type it again"],
        )
        .with("IOTTLY_URL", &many),
        case(
            "a cloud that is too old",
            "device list",
            1,
            &["is older than this program", "update the cloud"],
        )
        .with("IOTTLY_URL", &old),
        case(
            "a fault of the cloud",
            "device list",
            1,
            &["answered 500", "the log of the cloud", "abc123"],
        )
        .with("IOTTLY_URL", &broken),
        case(
            "no cloud at all",
            "device list",
            1,
            &["did not answer with JSON", "check --url"],
        )
        .with("IOTTLY_URL", &other),
        case(
            "a proxy",
            "device list",
            1,
            &["502", "a proxy may have answered", "check --url"],
        )
        .with("IOTTLY_URL", &proxy),
        case(
            "a job that is none",
            "job show 00000000-0000-4000-8000-000000000000",
            4,
            &["job"],
        ),
        case(
            "a webhook that is none",
            "webhook off 00000000-0000-4000-8000-000000000000",
            4,
            &["webhook"],
        ),
        case(
            "an alert of a wrong device",
            "alert list --device prch",
            4,
            &["is it \"porch\"?"],
        ),
        case(
            "no question without a terminal",
            "device rm --filter name:porch",
            2,
            &["--yes"],
        ),
    ];
    let mut defects = Vec::new();
    for case in &cases {
        let (code, out, errors) = run(api, &config, case);
        let missing: Vec<_> = case
            .says
            .iter()
            .filter(|text| !errors.contains(text.as_str()))
            .collect();
        let is_named = errors.contains("iottly: ") || errors.starts_with("error: ");
        // A panic or the debug form of an error is for programmers.
        let is_raw = ["panicked", "Error {", "Some(", "stack backtrace"]
            .iter()
            .any(|text| errors.contains(text));
        if code != Some(case.code) || !out.is_empty() || !missing.is_empty() || !is_named || is_raw {
            defects.push(format!(
                "{}: {code:?} lacks {missing:?}; stdout {out:?}; stderr {errors:?}",
                case.name
            ));
        }
    }
    assert!(defects.is_empty(), "{defects:#?}");
    cut_lists_say_so(api, &config);
    cloud.terminate();
}

/// A list that its limit has cut, and logs that go on, say how to continue.
fn cut_lists_say_so(api: &Api, config: &Path) {
    let whole = case("alerts", "alert list --state all --limit 1", 0, &[]);
    let (code, _, errors) = run(api, config, &whole);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "nothing was cut");
    // An absence that begins later leaves the device offline until then.
    for (from, state) in [("--from 1h ", "offline"), ("", "absent")] {
        let line = format!("device absent porch {from}--until 2h --reason moving --output json");
        let (code, out, errors) = run(api, config, &case("an absence", &line, 0, &[]));
        assert_eq!(code, Some(0), "{errors}");
        let answer: Value = serde_json::from_str(&out).expect("json");
        assert_eq!(answer["presence"]["state"], state, "{answer}");
    }
}
