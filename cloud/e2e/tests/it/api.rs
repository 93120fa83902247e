//! The shape of the REST API as recorded: CHANGELOG.md promises that it only grows.
//!
//! After an intended change `INSTA_UPDATE=always cargo test --release --workspace --test it api` records it again;
//! the difference of the files shows what clients will see.

use std::fmt::Write as _;

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, beside_others};
use serde_json::{Map, Value, json};

/// Longest line of recorded JSON, in characters.
const WIDTH: usize = 110;

struct Served {
    _cloud: Process,
    device: DeviceHome,
    _home: CloudHome,
}

impl Served {
    fn start() -> Self {
        let home = CloudHome::new();
        let cloud = home.start();
        let device = home.device("recorded", "device", "");
        Self {
            _cloud: cloud,
            device,
            _home: home,
        }
    }

    fn fetch(&self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> (u16, Value) {
        let api = &self.device.api;
        let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", api.url));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.to_vec()).expect("a request");
        let mut response = agent.run(request).expect("an answer");
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().expect("text");
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")),
        )
    }
}

/// Removes prose, which may be reworded, and sorts keys.
fn shape(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A field of this name is a schema; prose is a string.
            fields.retain(|key, value| {
                !(matches!(key.as_str(), "description" | "summary" | "version") && value.is_string())
            });
            fields.values_mut().for_each(shape);
            let mut sorted: Vec<_> = std::mem::take(fields).into_iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            *fields = Map::from_iter(sorted);
        }
        Value::Array(items) => items.iter_mut().for_each(shape),
        _ => {}
    }
}

/// Writes JSON with a line for each field, but what fits into [`WIDTH`] in one line.
fn write(value: &Value, indent: usize, out: &mut String) {
    let compact = value.to_string();
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        _ if indent + compact.len() <= WIDTH => return out.push_str(&compact),
        Value::Object(fields) => {
            let named = fields
                .iter()
                .map(|(key, value)| (format!("{}: ", json!(key)), value));
            ('{', '}', named.collect())
        }
        Value::Array(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
        _ => return out.push_str(&compact),
    };
    out.push(open);
    for (at, (key, value)) in items.into_iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(indent + 2));
        out.push_str(&key);
        write(value, indent + 2, out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(close);
}

#[test]
fn the_description_of_the_api_is_as_recorded() {
    let _turn = beside_others();
    let served = Served::start();
    let (status, mut document) = served.fetch("GET", "/openapi.json", None, b"");
    assert_eq!(status, 200);
    shape(&mut document);
    let mut text = String::new();
    write(&document, 0, &mut text);
    insta::assert_snapshot!(text);
}

#[test]
fn the_bodies_of_errors_are_as_recorded() {
    let _turn = beside_others();
    let served = Served::start();
    let api: &Api = &served.device.api;
    let (project, device) = (&api.project, &served.device.id);
    let path = |rest: &str| format!("/v1.0/project/{project}{rest}");
    let command = path(&format!("/device/{device}/command"));
    let group = path("/deploymentgroups");
    let taken = json!({"name": "field", "branch": "main"}).to_string();
    assert_eq!(
        served.fetch("POST", &group, Some(&api.token), taken.as_bytes()).0,
        200
    );

    let mut text = String::new();
    let mut ask = |what: &str, method: &str, path: &str, token: Option<&str>, body: &[u8]| {
        let (status, mut answer) = served.fetch(method, path, token, body);
        let id = std::mem::replace(&mut answer["request_id"], "…".into());
        assert!(id.as_str().is_some_and(|id| !id.is_empty()), "{what}: {answer}");
        writeln!(text, "{what}: {status} {answer}").expect("a string takes all");
    };
    let inspect = path("/inspect");
    ask("no token", "GET", &inspect, None, b"");
    ask("an unknown token", "GET", &inspect, Some("iot_wrong"), b"");
    let token = Some(api.token.as_str());
    let other = "/v1.0/project/000000000000000000000000/inspect";
    ask("another project", "GET", other, token, b"");
    ask("an unknown route", "GET", &path("/nothing"), token, b"");
    ask("an unknown method", "PATCH", &inspect, token, b"");
    let unknown = path("/device/00000000-0000-4000-8000-000000000000/props");
    ask("an unknown device", "GET", &unknown, token, b"");
    ask("a body that is not JSON", "POST", &command, token, b"{");
    let fly = br#"{"cmd_type":"fly","values":{}}"#;
    ask("an unknown command", "POST", &command, token, fly);
    ask(
        "a body that is too long",
        "POST",
        &command,
        token,
        &[b'0'; 1 << 20],
    );
    let filter = format!("/messages/{device}?queryJson=%7B%22a%22%3A%7B%22%24where%22%3A1%7D%7D");
    ask("an invalid filter", "GET", &path(&filter), token, b"");
    ask("a taken name", "POST", &group, token, taken.as_bytes());
    insta::assert_snapshot!(text);
}
