//! Properties of every request: description and viewer, compression, limits, metrics.

use crate::support;
use std::num::NonZeroU32;
use std::sync::Arc;

use iottly_core::rate::RateLimit;
use serde_json::{Value, json};
use support::{start, start_with};

#[tokio::test]
async fn the_description_and_its_viewer_need_no_token_and_no_network() {
    let cloud = start().await;
    let document = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    assert_eq!(document["info"]["title"], "iottly");
    let page = cloud.request("GET", "/docs/", &[], b"").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let names = page
        .text
        .split('"')
        .filter(|text| [".js", ".css", ".png"].iter().any(|end| text.ends_with(end)));
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in names {
        let file = cloud.request("GET", &format!("/docs/{name}"), &[], b"").await;
        assert_eq!(file.status, 200, "{name}");
        let packed = cloud
            .request("GET", &format!("/docs/{name}"), &["Accept-Encoding: gzip"], b"")
            .await;
        assert_eq!(packed.status, 200, "{name}");
    }
    let bundle = cloud
        .request(
            "GET",
            "/docs/swagger-ui-bundle.js",
            &["Accept-Encoding: gzip"],
            b"",
        )
        .await;
    assert_eq!(bundle.header("content-encoding"), Some("gzip"));
    cloud
        .request("GET", "/docs/../etc/passwd", &[], b"")
        .await
        .error(404);
    cloud.request("GET", "/docs/LICENSE", &[], b"").await.error(404);
    assert_eq!(cloud.request("GET", "/docs", &[], b"").await.status, 308);
    cloud.shutdown().await;
}

/// The description of every operation is complete for readers and generators.
#[tokio::test]
async fn every_operation_is_described_whole() {
    let cloud = start().await;
    let document = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let what = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{what}");
            assert!(
                operation["tags"].as_array().is_some_and(|tags| tags.len() == 1),
                "{what}"
            );
            assert!(
                ids.insert(operation["operationId"].as_str().expect("an id").to_owned()),
                "{what}"
            );
            assert!(
                operation["responses"]["default"].is_object() && operation["responses"]["200"].is_object(),
                "{what}"
            );
            let named = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path");
            assert_eq!(named.count(), path.matches('{').count(), "{what}");
            let sends = method == "post" || method == "put";
            assert_eq!(
                sends,
                operation.get("requestBody").is_some() || (sends && bodiless(path)),
                "{what}"
            );
        }
    }
    let refs = document.to_string();
    let refs = refs
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    for name in refs {
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} is not described"
        );
    }
    cloud.shutdown().await;
}

/// Returns true for requests that change something and need no body.
fn bodiless(path: &str) -> bool {
    let ends = [
        "/flashfw",
        "/keep",
        "/leasekey",
        "/cancel",
        "/replace",
        "/rotate",
        "/portals",
        "/test",
        "/pause",
        "/resume",
        "/rollback",
    ];
    ends.iter().any(|end| path.ends_with(end))
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_it() {
    let cloud = start().await;
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(4000));
    cloud
        .store(cloud.tenant.scope, 1_492_597_597_019, &[&payload])
        .await;
    let path = "/v1.0/project/<project id>/messages/<device id>";
    let plain = cloud.get(path).await;
    assert!(plain.header("content-encoding").is_none() && plain.text.contains("xxxx"));
    let packed = cloud
        .request("GET", path, &[&cloud.bearer(), "Accept-Encoding: gzip"], b"")
        .await;
    assert_eq!(
        (packed.status, packed.header("content-encoding")),
        (200, Some("gzip"))
    );
    let error = cloud
        .request("GET", "/v1.0/ping", &["Accept-Encoding: gzip"], b"")
        .await;
    assert_eq!(error.status, 401);
    assert!(
        error.text.contains("request_id"),
        "errors are written last and stay plain"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_token_that_asks_too_often_waits() {
    let limit = NonZeroU32::new(3).expect("not zero");
    let cloud = start_with(|services| services.rate = Some(Arc::new(RateLimit::per_minute(limit)))).await;
    for remaining in ["2", "1", "0"] {
        let answer = cloud.get("/v1.0/ping").await;
        assert_eq!(
            (answer.status, answer.header("ratelimit-remaining")),
            (200, Some(remaining))
        );
        assert_eq!(answer.header("ratelimit-limit"), Some("3"));
        assert!(answer.header("ratelimit-reset").is_some());
    }
    let refused = cloud.get("/v1.0/ping").await;
    refused.error(429);
    assert_eq!(refused.json()["code"], "rate_limited");
    let wait: u32 = refused
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .expect("seconds");
    assert!((1..=21).contains(&wait), "{wait}");
    // The same token as a password with any user is the same token.
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("other:{}", cloud.tenant.token));
    cloud
        .request(
            "GET",
            "/v1.0/ping",
            &[&format!("Authorization: Basic {basic}")],
            b"",
        )
        .await
        .error(429);
    let other = support::tenant(&cloud.services, "other").await;
    let header = format!("Authorization: Bearer {}", other.token);
    assert_eq!(
        cloud.request("GET", "/v1.0/ping", &[&header], b"").await.status,
        200,
        "others are not concerned"
    );
    assert_eq!(cloud.request("GET", "/healthz", &[], b"").await.status, 200);
    cloud.shutdown().await;
}

#[tokio::test]
async fn numbers_are_for_this_machine_and_for_operators() {
    let cloud = start().await;
    cloud.get("/v1.0/ping").await.ok();
    cloud.get("/v1.0/project/<project id>/inspect").await.ok();
    let answer = cloud.request("GET", "/metrics", &[], b"").await;
    assert_eq!(answer.status, 200);
    let line =
        r#"iottly_http_requests_total{method="GET",route="/v1.0/project/{project}/inspect",status="200"} 1"#;
    assert!(answer.text.contains(line), "{}", answer.text);
    assert!(
        answer.text.contains("# EOF") && answer.text.contains("iottly_process_memory_bytes"),
        "{}",
        answer.text
    );
    // A proxy on this machine forwards a request of another client.
    cloud
        .request("GET", "/metrics", &["X-Forwarded-For: 192.0.2.1"], b"")
        .await
        .error(401);
    cloud
        .request(
            "GET",
            "/metrics",
            &["X-Forwarded-For: 192.0.2.1", &cloud.bearer()],
            b"",
        )
        .await
        .error(403);
    cloud.shutdown().await;
}

#[tokio::test]
async fn health_is_open() {
    let cloud = start().await;
    assert_eq!(
        cloud.request("GET", "/healthz", &[], b"").await.ok(),
        json!({"status": "ok"})
    );
    assert_eq!(
        cloud.request("GET", "/readyz", &[], b"").await.ok(),
        json!({"status": "ready"})
    );
    cloud.services.store.close().await;
    assert_eq!(cloud.request("GET", "/healthz", &[], b"").await.status, 200);
    cloud.request("GET", "/readyz", &[], b"").await.error(503);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_character_nul_is_in_no_text() {
    let cloud = start().await;
    let create = |name: &str| format!(r#"{{"name": "{name}"}}"#);
    cloud
        .get("/v1.0/project/<project id>/branches/ma%00in")
        .await
        .error(404);
    cloud
        .post("/v1.0/project/<project id>/branches", &create(r"a\u0000b"))
        .await
        .error(400);
    let nested = r#"{"cmd_type": "echo", "values": {"echo.content": ["a", {"b\u0000": 1}]}}"#;
    let error = cloud
        .post("/v1.0/project/<project id>/device/<device id>/command", nested)
        .await
        .error(400);
    assert!(error.contains("NUL"), "{error}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn limits_are_set_by_operators_and_named_when_they_are_reached() {
    let cloud = start().await;
    let scopes = iottly_core::model::Scopes::ALL;
    let project = cloud.tenant.scope.project;
    let operator =
        iottly_web::auth::create_token_with(cloud.services.store.as_ref(), project, "op", scopes).await;
    let operator = format!("Authorization: Bearer {}", operator.expect("created"));
    let path = format!("/v1.0/projects/{project}/limits");
    let quotas = r#"{"devices": 2, "definitions": 2, "messages_per_day": 3, "bytes": 1000}"#;
    cloud
        .request("PUT", &path, &[&cloud.bearer()], quotas.as_bytes())
        .await
        .error(403);
    let set = cloud
        .request("PUT", &path, &[&operator], quotas.as_bytes())
        .await
        .ok();
    assert_eq!(
        set["limits"],
        serde_json::from_str::<Value>(quotas).expect("JSON")
    );
    assert_eq!(
        (&set["usage"]["devices"], &set["usage"]["definitions"]),
        (&json!(1), &json!(2))
    );

    cloud
        .post("/v1.0/project/<project id>/device/", r#"{"name": "second"}"#)
        .await
        .ok();
    let error = cloud
        .post("/v1.0/project/<project id>/device/", r#"{"name": "third"}"#)
        .await
        .error(409);
    assert_eq!(error, "devices have reached their limit of 2");
    let definition = r#"{"light": {"state": {"type": "FreeValue"}}}"#;
    let error = cloud
        .post("/v1.0/project/<project id>/messagedefinitions", definition)
        .await
        .error(409);
    assert_eq!(error, "message definitions have reached their limit of 2");

    let now = iottly_cloud::clock::now();
    let refused = cloud
        .store(cloud.tenant.scope, now, &["1", "2", "3", "4", "5"])
        .await;
    assert_eq!(refused, ["project has reached its limit of 3 messages a day"; 2]);
    let usage = cloud.get("/v1.0/project/<project id>/limits").await.ok();
    // The gap that records the loss is stored as well.
    assert!(
        usage["usage"]["messages_today"]
            .as_u64()
            .is_some_and(|messages| messages >= 3),
        "{usage}"
    );
    let everything = cloud.request("PUT", &path, &[&operator], b"{}").await.ok();
    assert_eq!(everything["limits"]["devices"], Value::Null);
    assert!(cloud.store(cloud.tenant.scope, now, &["6"]).await.is_empty());
    let audit = cloud
        .request("GET", "/v1.0/project/<project id>/auditlog", &[&operator], b"")
        .await
        .ok();
    assert_eq!(audit["entries"][0]["action"], "project.limits");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_board_is_replaced_with_a_new_pair_code() {
    let cloud = start().await;
    let path = "/v1.0/project/<project id>/device/<device id>/replace";
    let first = cloud.post(path, "").await.ok();
    let second = cloud.post(path, "").await.ok();
    assert_eq!(first["ID"], json!(cloud.tenant.scope.device));
    assert_ne!(first["pair_code"], second["pair_code"]);
    let licences = cloud.get("/v1.0/project/<project id>/license").await.ok();
    assert!(
        licences
            .get(second["pair_code"].as_str().expect("text"))
            .is_some()
    );
    assert!(
        licences.get(first["pair_code"].as_str().expect("text")).is_none(),
        "the older code is void"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn retention_by_bytes_is_the_projects_own() {
    let cloud = start().await;
    let body = br#"{"retention_bytes": 4096}"#;
    let set = cloud
        .request("PUT", "/v1.0/project/<project id>", &[&cloud.bearer()], body)
        .await
        .ok();
    assert_eq!(
        (&set["retention_bytes"], &set["retention_days"]),
        (&json!(4096), &Value::Null)
    );
    let unset = cloud
        .request(
            "PUT",
            "/v1.0/project/<project id>",
            &[&cloud.bearer()],
            br#"{"retention_bytes": 0}"#,
        )
        .await
        .ok();
    assert_eq!(unset["retention_bytes"], Value::Null);
    cloud.shutdown().await;
}
