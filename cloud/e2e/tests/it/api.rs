//! The shape of the REST API as recorded: CHANGELOG.md promises that it only grows.
//!
//! After an intended change `INSTA_UPDATE=always cargo test --release --workspace --test it api` records it again;
//! the difference of the files shows what clients will see.

use iottly_e2e::{Api, CloudHome, DeviceHome, Process, beside_others};
use serde_json::{Map, Value, json};

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

#[test]
fn the_description_of_the_api_is_as_recorded() {
    let _turn = beside_others();
    let served = Served::start();
    let (status, mut document) = served.fetch("GET", "/openapi.json", None, b"");
    assert_eq!(status, 200);
    shape(&mut document);
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).expect("json"));
}

#[test]
fn the_bodies_of_errors_are_as_recorded() {
    let _turn = beside_others();
    let served = Served::start();
    let api: &Api = &served.device.api;
    let (project, device, token) = (&api.project, &served.device.id, Some(api.token.as_str()));
    let path = |rest: &str| format!("/v1.0/project/{project}{rest}");
    let device_path = |rest: &str| path(&format!("/device/{device}{rest}"));
    let group = json!({"name": "field", "branch": "main"}).to_string();
    let key = "0".repeat(4 << 20);
    let requests: Vec<(&str, &str, String, Option<&str>, &[u8])> = vec![
        ("no token", "GET", path("/inspect"), None, b""),
        (
            "an unknown token",
            "GET",
            path("/inspect"),
            Some("iot_wrong"),
            b"",
        ),
        (
            "another project",
            "GET",
            "/v1.0/project/000000000000000000000000/inspect".to_owned(),
            token,
            b"",
        ),
        ("an unknown route", "GET", path("/nothing"), token, b""),
        ("an unknown method", "PATCH", path("/inspect"), token, b""),
        (
            "an unknown device",
            "GET",
            path("/device/00000000-0000-4000-8000-000000000000/props"),
            token,
            b"",
        ),
        (
            "a body that is not JSON",
            "POST",
            device_path("/command"),
            token,
            b"{",
        ),
        (
            "an unknown command",
            "POST",
            device_path("/command"),
            token,
            br#"{"cmd_type":"fly","values":{}}"#,
        ),
        (
            "a body that is too long",
            "POST",
            device_path("/command"),
            token,
            key.as_bytes(),
        ),
        (
            "an invalid filter",
            "GET",
            path(&format!(
                "/messages/{device}?queryJson=%7B%22a%22%3A%7B%22%24where%22%3A1%7D%7D"
            )),
            token,
            b"",
        ),
        (
            "a new group",
            "POST",
            path("/deploymentgroups"),
            token,
            group.as_bytes(),
        ),
        (
            "the same group",
            "POST",
            path("/deploymentgroups"),
            token,
            group.as_bytes(),
        ),
    ];
    let mut text = String::new();
    for (what, method, path, token, body) in requests {
        let (status, mut answer) = served.fetch(method, &path, token, body);
        if status == 200 {
            continue;
        }
        let id = answer["request_id"].as_str().expect("a request id");
        assert!(!id.is_empty());
        answer["request_id"] = "…".into();
        text.push_str(
            &format!("{what}: {status} {answer}\n")
                .replace(project.as_str(), "PROJECT")
                .replace(device.as_str(), "DEVICE"),
        );
    }
    insta::assert_snapshot!(text);
}
