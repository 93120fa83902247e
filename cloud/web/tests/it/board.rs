//! A connected device that reports about updates, and the requests that deploy to it.

#![allow(dead_code, reason = "every test program uses its own part")]

use std::sync::Arc;

use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::{BranchCode, Scope};
use iottly_protocol::release::Directive;
use iottly_protocol::tuf::{Root, Schemes};
use iottly_protocol::{DeviceId, Down, Record, Report, StreamClass, StreamId, UpdateReport, encode_batch};
use iottly_store::NewDevice;
use iottly_web::auth;
use serde_json::{Value, json};

use crate::device::{Raw, eventually};
use crate::support::{self, TestCloud, start_config};

pub(crate) const SECRET: &str = "device secret";

/// Concatenates texts instead of compiling them, the manifest last; a comment `uses NAME` requests that capability,
/// `broken` fails, and `slow` takes four seconds.
pub(crate) fn plain_builder() -> Builder {
    let build = |code: &BranchCode| {
        let texts = code.snippets.iter().map(|snippet| snippet.code.as_str());
        let text: String = texts.chain(code.manifest.as_deref()).collect();
        if text.contains("slow") {
            std::thread::sleep(std::time::Duration::from_secs(4));
        }
        if text.contains("broken") {
            Err(BuildFailure::Code("global:1: broken".into()))
        } else {
            Ok(text.into_bytes())
        }
    };
    let capabilities = |component: &[u8]| {
        let text = String::from_utf8_lossy(component).into_owned();
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_once(" uses ").map(|(_, name)| name.trim().to_owned()))
            .collect();
        names.sort();
        Ok(names)
    };
    Builder {
        version: "1".into(),
        build: Arc::new(build),
        capabilities: Arc::new(capabilities),
        engine: None,
    }
}

pub(crate) async fn cloud() -> TestCloud {
    start_config(|config| config.builder = Some(plain_builder())).await
}

/// Connected device with the stream of its reports.
pub(crate) struct Board {
    pub(crate) raw: Raw,
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
}

impl Board {
    pub(crate) async fn connect(cloud: &TestCloud, id: DeviceId) -> Self {
        let mut raw = Raw::connect(cloud.mqtt_addr(), id, SECRET).await;
        let stream = StreamId::random();
        raw.hello(&[(stream, StreamClass::Control, 1, 1)]).await;
        Self { raw, stream, seq: 0 }
    }

    pub(crate) async fn say(&mut self, report: Report) {
        self.record(Record::Report(report)).await;
    }

    pub(crate) async fn record(&mut self, record: Record<'_>) {
        self.seq += 1;
        let record = record.encode();
        self.raw
            .up(encode_batch(self.stream, self.seq, [record.as_slice()]))
            .await;
        self.raw.acked(self.stream, self.seq).await;
    }

    pub(crate) async fn tell(&mut self, directive: &Directive, state: &str, reason: Option<&str>) {
        let (directive, sha256) = (directive.id.clone(), directive.sha256.clone());
        let word = |word: &str| json!(word);
        let state = serde_json::from_value(word(state)).expect("a state");
        let reason = reason.map(|reason| serde_json::from_value(word(reason)).expect("a reason"));
        self.say(Report::Update(UpdateReport {
            directive,
            sha256,
            state,
            reason,
            detail: None,
            at_ms: 5,
        }))
        .await;
    }

    /// Returns the next directive, verified as the device verifies it.
    pub(crate) async fn directive(&mut self, cloud: &TestCloud) -> Directive {
        self.directive_and_size(cloud).await.0
    }

    /// As [`directive`](Self::directive), with the size of the signed document in bytes.
    pub(crate) async fn directive_and_size(&mut self, cloud: &TestCloud) -> (Directive, u64) {
        let document = loop {
            if let Down::Directive(directive) = self.raw.down().await {
                break directive.document;
            }
        };
        let path = cloud
            .services
            .rollouts
            .repositories()
            .first_root(cloud.tenant.scope.project);
        let root: Value = serde_json::from_slice(&std::fs::read(path).expect("a root")).expect("json");
        let root: Root = serde_json::from_value(root["signed"].clone()).expect("a root");
        let directive = Directive::verify(document.get().as_bytes(), &root, Schemes::ED25519)
            .expect("signed by the project's key");
        (directive, document.get().len() as u64)
    }
}

/// Creates a group `field` that follows `main`, with new devices in it.
pub(crate) async fn group(cloud: &TestCloud, devices: usize) -> (String, Vec<DeviceId>) {
    let made = cloud
        .post(
            "/v1.0/project/<project id>/deploymentgroups",
            r#"{"name": "field", "branch": "main"}"#,
        )
        .await
        .ok();
    let id = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    let mut ids = Vec::new();
    for n in 0..devices {
        let scope = Scope {
            project: cloud.tenant.scope.project,
            device: DeviceId::random(),
        };
        let group = id.parse().expect("an id");
        let device = NewDevice {
            scope,
            name: format!("field {n}"),
            group,
            secret: auth::hash_secret(SECRET.as_bytes()),
        };
        cloud
            .services
            .store
            .create_device(&device)
            .await
            .expect("created");
        ids.push(scope.device);
    }
    (id, ids)
}

/// Returns the login at a repository of a client with the tenant's token.
pub(crate) fn login_of(cloud: &TestCloud) -> iottly_update::Login {
    let bearer = format!("Bearer {}", cloud.tenant.token);
    Arc::new(move || bearer.clone())
}

pub(crate) async fn save(cloud: &TestCloud, code: &str) {
    let body = json!({"snippets": [{"name": "global", "code": code}]}).to_string();
    let headers = [cloud.bearer()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    cloud
        .request(
            "PUT",
            "/v1.0/project/<project id>/branches/main/snippets",
            &headers,
            body.as_bytes(),
        )
        .await
        .ok();
    cloud
        .post("/v1.0/project/<project id>/branches/main/revisions", "{}")
        .await
        .ok();
}

pub(crate) async fn act(cloud: &TestCloud, group: &str, what: &str, body: &str) -> support::Answer {
    cloud
        .post(
            &format!("/v1.0/project/<project id>/deploymentgroups/{group}/{what}"),
            body,
        )
        .await
}

pub(crate) async fn shown(cloud: &TestCloud, group: &str) -> (String, String) {
    let shown = cloud
        .get(&format!("/v1.0/project/<project id>/deploymentgroups/{group}"))
        .await
        .ok();
    let field = |name: &str| shown["deployment_group"][name].as_str().expect("text").to_owned();
    (field("status"), field("current_revision"))
}

pub(crate) async fn until(cloud: &TestCloud, group: &str, status: &str) {
    eventually(status, async || shown(cloud, group).await.0 == status).await;
}

pub(crate) async fn devices(cloud: &TestCloud, rollout: &Value) -> Vec<Value> {
    let id = rollout.as_str().expect("an id");
    let answer = cloud
        .get(&format!("/v1.0/project/<project id>/rollouts/{id}/devices"))
        .await
        .ok();
    answer["devices"].as_array().expect("devices").clone()
}

/// Waits until exactly one device of a rollout is notified, and returns its id.
pub(crate) async fn canary(cloud: &TestCloud, rollout: &Value) -> Value {
    let notified = async || {
        let mut devices = devices(cloud, rollout).await;
        devices.retain(|device| device["state"] == "told");
        devices
    };
    eventually("one device is notified", async || notified().await.len() == 1).await;
    notified().await[0]["device"].clone()
}
