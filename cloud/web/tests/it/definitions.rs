//! Definitions with types, units and ranges: in the API, in their forms, and in the form of a command.

use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::{Value, json};

use crate::support::{Answer, TestCloud, start};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

struct Visit {
    cloud: TestCloud,
    cookie: String,
}

impl Visit {
    async fn begin() -> Self {
        let cloud = start().await;
        let cookie = cloud.login(&cloud.tenant.token).await;
        Self { cloud, cookie }
    }

    async fn page(&self, path: &str) -> String {
        let path = format!("/p/<project id>{path}");
        let answer = self.cloud.request("GET", &path, &[&self.cookie], b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let path = format!("/p/<project id>{path}");
        let headers = [&self.cookie[..], FORM];
        self.cloud
            .request("POST", &path, &headers, body.join("&").as_bytes())
            .await
    }

    async fn rest(&self, path: &str, body: &Value) -> Answer {
        let path = format!("/v1.0/project/<project id>{path}");
        self.cloud.post(&path, &body.to_string()).await
    }

    async fn temperature(&self) {
        let body = json!({
            "temperature": {
                "target": {"type": "FreeValue", "value_type": "number", "unit": "°C", "minimum": 5, "maximum": 60, "default": 20},
                "boost": {"type": "FreeValue", "value_type": "boolean", "optional": true},
                "mode": {"type": "MultipleChoice", "listvalues": ["day", "night"]},
            },
            "metadata": {"direction": "command"},
        });
        self.rest("/messagedefinitions", &body).await.ok();
    }

    /// Returns the values of the newest command of the device.
    async fn sent(&self) -> Value {
        let list = self
            .cloud
            .get("/v1.0/project/<project id>/device/<device id>/commands")
            .await
            .ok();
        list["commands"][0]["values"].clone()
    }
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[tokio::test]
async fn values_out_of_their_range_are_refused_by_name_and_nothing_is_sent() {
    let visit = Visit::begin().await;
    visit.temperature().await;
    let send = async |values: Value| {
        let body = json!({"cmd_type": "temperature", "values": values});
        visit.rest("/device/<device id>/command", &body).await
    };
    let error = send(json!({"temperature.target": 95, "temperature.mode": "day"})).await;
    assert_eq!(
        error.error(400),
        "temperature.target: 95 is above the maximum of 60 °C"
    );
    send(json!({"temperature.boost": "yes", "temperature.mode": "day"}))
        .await
        .error(400);
    assert_eq!(visit.sent().await, Value::Null, "nothing was sent");
    send(json!({"temperature.target": "21.50", "temperature.mode": "day"}))
        .await
        .ok();
    assert_eq!(
        visit.sent().await,
        json!({"target": "21.50", "mode": "day"}),
        "a number that is written as text stays text"
    );
    send(json!({"temperature.mode": "night"})).await.ok();
    assert_eq!(visit.sent().await, json!({"target": 20, "mode": "night"}));
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn definitions_without_facts_are_answered_as_ever() {
    let visit = Visit::begin().await;
    let path = "/v1.0/project/<project id>/messagedefinitions";
    let all = visit.cloud.get(path).await.text;
    for fact in ["value_type", "unit", "minimum", "maximum", "default"] {
        assert!(!all.contains(fact), "{fact}: {all}");
    }
    let free = json!({"a": {"k": {"type": "FreeValue", "minimum": 1}}});
    let error = visit.rest("/messagedefinitions", &free).await.error(400);
    assert!(
        error.starts_with("key \"k\": minimum and maximum need"),
        "{error}"
    );
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn the_form_of_a_command_has_the_fields_of_its_definition() {
    let visit = Visit::begin().await;
    visit.temperature().await;
    let page = visit.page("/devices/<device id>/commands").await;
    let target = r#"name="temperature.target" type="number" step="any" min="5" max="60" value="20""#;
    assert!(page.contains(target), "{page}");
    assert!(
        page.contains("<span>°C</span>") && page.contains("5 to 60"),
        "unit and range: {page}"
    );
    assert_eq!(
        page.matches(r#"type="radio" name="temperature.boost""#).count(),
        3,
        "true, false, and leaving it out"
    );
    let send = async |target: &str, boost: &str| {
        let fields = [
            ("cmd_type", "temperature"),
            ("temperature.target", target),
            ("temperature.boost", boost),
            ("temperature.mode", "night"),
        ];
        visit.form("/devices/<device id>/command", &fields).await
    };
    let refused = send("95", "true").await;
    assert_eq!(refused.status, 400);
    let problem = r#"<p class="problem" id="temperature.target-problem">temperature.target: 95 is above the maximum of 60 °C</p>"#;
    assert!(refused.text.contains(problem), "{}", refused.text);
    for kept in [
        r#"value="95" required"#,
        r#"value="true" checked"#,
        "<option selected>night</option>",
        r#"aria-invalid="true" aria-describedby="temperature.target-problem""#,
    ] {
        let kept = kept.replace(" required", "");
        assert!(refused.text.contains(&kept), "{kept}: {}", refused.text);
    }
    assert_eq!(
        refused.text.matches(r#"id="temperature.target-problem""#).count(),
        1
    );
    let sent = send("21.5", "false").await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    assert_eq!(
        visit.sent().await,
        json!({"target": 21.5, "boost": false, "mode": "night"}),
        "in the type of the option"
    );
    let fields = [("cmd_type", "echo"), ("echo.content", "42")];
    visit.form("/devices/<device id>/command", &fields).await;
    assert_eq!(
        visit.sent().await,
        json!({"content": "42"}),
        "an option without a type gets text, as before"
    );
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn facts_are_written_with_a_form_and_stay_when_it_is_saved_again() {
    let visit = Visit::begin().await;
    let fields = |max: &'static str| {
        [
            ("type", "heat"),
            ("direction", "command"),
            ("key0", "target"),
            ("kind0", "FreeValue"),
            ("value0", "20"),
            ("type0", "integer"),
            ("unit0", "°C"),
            ("min0", "5"),
            ("max0", max),
        ]
    };
    for (max, reason) in [
        ("4", "the minimum 5 is above the maximum 4"),
        ("warm", "expected a JSON number"),
        ("19", "20 is above the maximum of 19 °C"),
    ] {
        let refused = visit.form("/definitions", &fields(max)).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(reason), "{reason}: {}", refused.text);
        assert!(
            refused.text.contains(&format!(r#"value="{max}""#)) && refused.text.contains(r#"value="°C""#),
            "what was typed stays: {}",
            refused.text
        );
    }
    assert_eq!(visit.form("/definitions", &fields("60")).await.status, 303);
    let read = async || {
        let answer = visit
            .cloud
            .get("/v1.0/project/<project id>/messagedefinitions/heat")
            .await;
        answer.ok()["messagedefinition"]["heat"]["target"].clone()
    };
    let made = json!({"type": "FreeValue", "value_type": "integer", "unit": "°C", "minimum": 5, "maximum": 60, "default": 20});
    assert_eq!(read().await, made);
    let page = visit.page("/definitions/heat").await;
    for field in [
        r#"name="min0""#,
        r#"value="60""#,
        r#"<option value="integer" selected>"#,
    ] {
        assert!(page.contains(field), "{field}: {page}");
    }
    let list = visit.page("/definitions").await;
    assert!(
        list.contains("target: integer, °C, 5 to 60, default 20") && !list.contains("content:"),
        "{list}"
    );
    visit.form("/definitions/heat", &fields("60")).await;
    assert_eq!(read().await, made);
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_sample_proposes_a_definition_and_stores_nothing() {
    let visit = Visit::begin().await;
    let sample = json!({"temperature": 21.5, "door": {"open": true}});
    let body = json!({"type": "reading", "sample": sample});
    let made = visit.rest("/messagedefinition/from-sample", &body).await.ok();
    assert_eq!(
        made["messagedefinition"]["reading"],
        json!({
            "temperature": {"type": "FreeValue", "value_type": "number"},
            "door_open": {"type": "FreeValue", "value_type": "boolean"},
        })
    );
    assert_eq!(made["left_out"], 0);
    for (sample, reason) in [
        (json!([1]), "JSON object"),
        (json!({}), "at least one value"),
        (json!({"a": "x".repeat(17_000)}), "limit of 16384"),
        (
            (0..40).fold(json!(1), |inner, _| json!({ "a": inner })),
            "nested deeper",
        ),
    ] {
        let body = json!({"sample": sample});
        let error = visit
            .rest("/messagedefinition/from-sample", &body)
            .await
            .error(400);
        assert!(error.contains(reason), "{error}");
    }
    let hostile = r#"{"<script>alert(1)</script>": 1}"#;
    let page = visit
        .form("/definitions/new", &[("type", "odd"), ("sample", hostile)])
        .await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(
        page.text.contains(r#"value="odd""#)
            && page.text.contains(r#"value="_script_alert_1___script_""#)
            && !page.text.contains("<script>alert"),
        "{}",
        page.text
    );
    let wrong = visit
        .form("/definitions/new", &[("type", "x"), ("sample", "{no</textarea>")])
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("the sample is not JSON") && wrong.text.contains("{no&lt;/textarea&gt;"),
        "{}",
        wrong.text
    );
    let list = visit
        .cloud
        .get("/v1.0/project/<project id>/messagedefinitions")
        .await
        .ok();
    assert_eq!(
        list["messagedefinitions"].as_array().map(Vec::len),
        Some(2),
        "those of every new project"
    );
    visit.cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_plots_the_paths_that_it_has_sent() {
    let visit = Visit::begin().await;
    let (cloud, own) = (&visit.cloud, "/devices/<device id>/plots");
    let mut scope = cloud.tenant.scope;
    scope.device = DeviceId::random();
    let device = NewDevice {
        scope,
        name: "other".into(),
        group: cloud.tenant.group,
        secret: iottly_web::auth::hash_secret(b"other"),
    };
    let store = &cloud.services.store;
    store.create_device(&device).await.expect("created");
    let now = iottly_cloud::clock::now();
    cloud.store(scope, now, &[r#"{"elsewhere":1}"#]).await;
    let page = visit.page(own).await;
    assert!(
        page.contains("No numbers yet") && !page.contains("elsewhere"),
        "{page}"
    );
    let all = visit.page(&format!("{own}?paths=all")).await;
    assert!(
        all.contains("<option selected>elsewhere</option>") && all.contains("Only paths of this device"),
        "{all}"
    );
    cloud.store(cloud.tenant.scope, now, &[r#"{"here":1}"#]).await;
    let page = visit.page(own).await;
    assert!(
        page.contains("<option selected>here</option>") && !page.contains("elsewhere"),
        "{page}"
    );
    let listed = cloud
        .get("/v1.0/project/<project id>/series?device=<device id>")
        .await
        .ok();
    assert_eq!(listed["series"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["series"][0]["path"], "here");
    let unknown = format!("/v1.0/project/<project id>/series?device={}", DeviceId::random());
    cloud.get(&unknown).await.error(404);
    visit.cloud.shutdown().await;
}
