//! REST API over real HTTP: the documented examples as written, access rights, and invalid input.

use crate::support;
use iottly_protocol::MessageKind;
use iottly_web::auth;
use serde_json::{Value, json};
use support::{start, tenant};

/// 2017-04-19T10:26:37.019Z, the example in the documentation.
const EXAMPLE_AT: i64 = 1_492_597_597_019;

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn ping_in_every_documented_form() {
    let cloud = start().await;
    let token = "0123456789";
    let scopes = iottly_core::model::Scopes::READ;
    let documented = auth::mint_token(cloud.tenant.scope.project, "docs", scopes, None, 0)
        .expect("randomness")
        .token;
    cloud
        .services
        .store
        .create_token(auth::hash_secret(token.as_bytes()), &documented)
        .await
        .expect("created");
    let cookie = cloud.login(token).await;
    for header in [
        "Authentication: bearer 0123456789".to_owned(),
        "Authorization: Bearer 0123456789".to_owned(),
        "authorization: BEARER 0123456789".to_owned(),
        format!("Authorization: Basic {}", base64("0123456789:")),
        format!("Authorization: Basic {}", base64(":0123456789")),
        format!("Authorization: basic {}", base64("any:0123456789")),
        cookie,
    ] {
        for path in ["/v1.0/ping", "/v1.0/project/ping"] {
            let answer = cloud.request("GET", path, &[&header], b"").await;
            assert_eq!(answer.status, 200, "{header}");
            assert_eq!(answer.text.trim_end(), r#"{"status": "pong"}"#);
        }
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_filter_cannot_widen_the_scope() {
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    cloud
        .store(other.scope, EXAMPLE_AT, &[r#"{"secret":"of other"}"#])
        .await;
    let query = format!(
        r#"{{"$or":[{{"from":"{}"}},{{"to":{{"$exists":true}}}}]}}"#,
        other.scope.device
    );
    let answer = cloud
        .get(&format!(
            "/v1.0/project/<project id>/messages/<device id>?queryJson={}",
            encode(&query)
        ))
        .await
        .ok();
    assert_eq!(answer["messages"], json!([]));
    cloud.shutdown().await;
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[tokio::test]
async fn inspect_answers_both_documented_shapes() {
    let cloud = start().await;
    let headers = ["Content-Type: application/json", &cloud.bearer()];
    let answer = cloud
        .request("GET", "/v1.0/project/<project id>/inspect", &headers, b"")
        .await;
    let (scope, group) = (cloud.tenant.scope, cloud.tenant.group);
    let json = answer.ok();
    assert_eq!(json["id"], json!(scope.project));
    assert_eq!(json["name"], "My awesome project");
    let expected = json!([{
        "status": "", "boards": [scope.device], "branch": "", "name": "_orphaned",
        "fwcode": {"codesections": [], "snippets": []}, "current_revision": "", "id": group,
    }]);
    assert_eq!(json["deployment_groups"], expected);
    for key in ["projectgetagenturl", "agentfile", "agentapihost"] {
        assert!(
            answer.text.contains(&format!(r#""{key}": ""#)),
            "the installer's sed needs the space: {}",
            answer.text
        );
    }
    assert_eq!(json["agentapihost"], json!(cloud.address.to_string()));
    assert!(json["board"].is_string());
    cloud.shutdown().await;
}

#[tokio::test]
async fn props_of_one_and_of_all() {
    let cloud = start().await;
    let one = cloud
        .get("/v1.0/project/<project id>/device/<device id>/props")
        .await
        .ok();
    for key in [
        "macaddress",
        "name",
        "operatingstatus",
        "token",
        "agent_version",
        "ID",
    ] {
        assert!(one[key].is_string(), "{key}: {one}");
    }
    assert_eq!(one["ID"], json!(cloud.tenant.scope.device));
    assert_eq!(one["operatingstatus"], "disconnected");
    let all = cloud.get("/v1.0/project/<project id>/devices/props").await.ok();
    assert_eq!((&all["count"], &all["errors"]), (&json!(1), &Value::Null));
    assert_eq!(all["devices"][0]["ID"], one["ID"]);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_documented_command_is_accepted_durably() {
    let cloud = start().await;
    let body = r#"{"cmd_type": "echo", "values": {"echo.content": "hi there!"}}"#;
    let path = "/v1.0/project/<project id>/device/<device id>/command";
    for content_type in [
        "Content-Type: application/json",
        "Content-Type: application/x-www-form-urlencoded",
        "X-No-Type: 1",
    ] {
        let answer = cloud
            .request("POST", path, &[content_type, &cloud.bearer()], body.as_bytes())
            .await
            .ok();
        assert_eq!(answer["status"], 200);
        let id = answer["id"].as_str().expect("an id");
        let shown = cloud
            .get(&format!(
                "/v1.0/project/<project id>/device/<device id>/commands/{id}"
            ))
            .await
            .ok();
        assert_eq!(shown["state"], "queued");
        assert_eq!(shown["cmd_type"], "echo");
        assert_eq!(
            shown["values"],
            json!({"content": "hi there!"}),
            "the prefix only addresses"
        );
    }
    let open = cloud
        .services
        .store
        .open_commands(cloud.tenant.scope)
        .await
        .expect("read");
    assert_eq!(open.len(), 3);
    cloud
        .get("/v1.0/project/<project id>/device/<device id>/commands/not-an-id")
        .await
        .error(404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn bad_commands_are_refused_by_name() {
    let cloud = start().await;
    for (body, expected) in [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("[]", "not a JSON object"),
        ("\"echo\"", "not a JSON object"),
        (r#"{"values": {}}"#, "cmd_type is missing"),
        (r#"{"cmd_type": 5, "values": {}}"#, "cmd_type is not text"),
        (r#"{"cmd_type": "echo", "values": []}"#, "values is not an object"),
        (
            r#"{"cmd_type": "echo", "values": {"echo.content": "x"}, "ttl_ms": "1"}"#,
            "ttl_ms is not a whole number",
        ),
        (r#"{"cmd_type": "echo", "values": {}, "ttl_ms": 0}"#, "ttl_ms"),
        (r#"{"cmd_type": "nope", "values": {}}"#, "nope"),
        (r#"{"cmd_type": "echo", "values": {"content": "x"}}"#, "content"),
        (
            r#"{"cmd_type": "echo", "values": {"echo.other": "x"}}"#,
            "echo.other",
        ),
        (
            r#"{"cmd_type": "echo", "values": {"echo.content": [5]}}"#,
            "echo.content",
        ),
        (
            r#"{"cmd_type": "examplecommand", "values": {"examplecommand.status": "<start|stop>"}}"#,
            "examplecommand.status",
        ),
        (r#"{"cmd_type": "examplecommand", "values": {}}"#, "status"),
    ] {
        let answer = cloud
            .post("/v1.0/project/<project id>/device/<device id>/command", body)
            .await;
        let error = answer.error(400);
        assert!(error.contains(expected), "{body}: {error}");
    }
    let not_utf8 = cloud
        .request(
            "POST",
            "/v1.0/project/<project id>/device/<device id>/command",
            &[&cloud.bearer()],
            b"{\"\xff\":1}",
        )
        .await;
    not_utf8.error(400);
    let unknown = "/v1.0/project/<project id>/device/a2792ce8-216f-477c-a5cc-4f7e9f407e29/command";
    cloud
        .post(unknown, r#"{"cmd_type": "echo", "values": {}}"#)
        .await
        .error(403);
    assert!(
        cloud
            .services
            .store
            .open_commands(cloud.tenant.scope)
            .await
            .expect("read")
            .is_empty()
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_only() {
    let cloud = start().await;
    let path = "/v1.0/project/<project id>/device/<device id>/command";
    let body = |len: usize| format!("{{\"cmd_type\": \"{}\"}}", "x".repeat(len - 16));
    let answer = cloud.post(path, &body(256 << 10)).await;
    answer.error(400);
    cloud.post(path, &body((256 << 10) + 1)).await.error(413);
    let chunked = ["Transfer-Encoding: chunked", &cloud.bearer()];
    let mut raw = Vec::new();
    for _ in 0..5 {
        raw.extend_from_slice(format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes());
    }
    let answer = cloud.request("POST", path, &chunked, &raw).await;
    answer.error(413);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_documented_history_examples_work_verbatim() {
    let cloud = start().await;
    let scope = cloud.tenant.scope;
    cloud
        .store_as(
            scope,
            EXAMPLE_AT,
            MessageKind::IottlyAgent,
            None,
            &[r#"{"connectionstatus":"connected"}"#],
        )
        .await;
    cloud
        .store(scope, EXAMPLE_AT + 1, &[r#"{"echo": {"content": "hi there!"}}"#])
        .await;
    cloud
        .store_as(
            scope,
            EXAMPLE_AT + 1_000_000,
            MessageKind::UserDefined,
            Some("room"),
            &[r#"{"t":1.50,"b":1,"a":2}"#],
        )
        .await;

    let plain = "/v1.0/project/<project id>/messages/<device id>";
    let answer = cloud
        .request(
            "GET",
            plain,
            &["Content-Type: application/json", &cloud.bearer()],
            b"",
        )
        .await;
    let json = answer.ok();
    assert_eq!(json["status"], 200);
    let messages = json["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 3, "newest first: {json}");
    assert!(messages[0]["payload"].to_string().contains("1.5"));
    assert!(
        answer.text.contains(r#"{"t":1.50,"b":1,"a":2}"#),
        "payloads come as they were sent"
    );
    assert_eq!(messages[0]["channel"], "room");
    let oldest = &messages[2];
    assert_eq!(oldest["from"], json!(scope.device));
    assert_eq!(oldest["to"], json!(scope.project));
    assert_eq!(oldest["timestamp"], json!({"$date": EXAMPLE_AT}));
    assert_eq!(oldest["devicetimestamp"], json!({"$date": EXAMPLE_AT - 5}));
    assert_eq!(oldest["type"], "iottlyagent");
    assert_eq!(oldest["payload"], json!({"connectionstatus": "connected"}));
    assert_eq!(oldest["_id"]["$oid"].as_str().map(str::len), Some(24));
    assert_eq!(oldest["seq"], 1);
    assert!(oldest["stream"].is_string());
    assert!(oldest.get("channel").is_none());
    assert!(json.get("next").is_none(), "there is nothing behind it");

    let echo = format!("{plain}?queryJson=%7B%22echo%22%3A%20%7B%22%24exists%22%3A%20true%7D%7D");
    let json = cloud.get(&echo).await.ok();
    assert_eq!(json["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["messages"][0]["payload"]["echo"]["content"], "hi there!");

    let paging = format!(
        "{plain}?queryJson=%7B%0D%0A%20%20%20%20%22timestamp%22%3A%20%7B%0D%0A%20%20%20%20%20%20%20%20%22%24lte%22%3A%20%7B%22%24date%22%3A%20%222017-04-19T10%3A47%3A58.133%22%7D%0D%0A%20%20%20%20%7D%0D%0A%7D"
    );
    let without_zone = cloud.get(&paging).await.ok();
    let with_zone = encode(r#"{ "timestamp": { "$lte": {"$date": "2017-04-19T10:47:58.133Z"} } }"#);
    assert_eq!(
        cloud.get(&format!("{plain}?queryJson={with_zone}")).await.ok(),
        without_zone
    );
    // 1,000,000 ms after the example is 10:43:17, still before the bound; an earlier bound cuts it off.
    assert_eq!(without_zone["messages"].as_array().map(Vec::len), Some(3));
    let earlier = encode(r#"{"timestamp":{"$lte":{"$date":"2017-04-19T10:26:37.020Z"}}}"#);
    assert_eq!(
        cloud.get(&format!("{plain}?queryJson={earlier}")).await.ok()["messages"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let old_layout = encode(r#"{"connectionstatus":"connected"}"#);
    assert_eq!(
        cloud.get(&format!("{plain}?queryJson={old_layout}")).await.ok()["messages"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn pages_have_a_size_and_continue() {
    let cloud = start().await;
    let payloads: Vec<String> = (0..250).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    cloud.store(cloud.tenant.scope, EXAMPLE_AT, &payloads).await;
    // Many entries of one millisecond: timestamps alone cannot page through these.
    cloud
        .store(cloud.tenant.scope, EXAMPLE_AT + 249, &[r#"{"n":250}"#])
        .await;
    let plain = "/v1.0/project/<project id>/messages/<device id>";
    for (query, expected) in [
        ("", 10),
        ("?numMessages=1", 1),
        ("?numMessages=100", 100),
        ("?numMessages=101", 100),
        ("?numMessages=99999999999999999999", 100),
    ] {
        let json = cloud.get(&format!("{plain}{query}")).await.ok();
        assert_eq!(
            json["messages"].as_array().map(Vec::len),
            Some(expected),
            "{query}"
        );
        assert!(json["next"].is_string());
    }
    for (filter, total) in [
        ("", 251),
        ("n<100 or n:200", 101),
        (r#"{"n":{"$mod":[3,0]}}"#, 84),
        (r#"{"n":{"$lt":0}}"#, 0),
    ] {
        let mut seen = Vec::new();
        let mut before = String::new();
        loop {
            let query = format!("{plain}?numMessages=40&queryJson={}{before}", encode(filter));
            let json = cloud.get(&query).await.ok();
            seen.extend(
                json["messages"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|m| m["payload"]["n"].as_i64().expect("n")),
            );
            match json["next"].as_str() {
                Some(next) => before = format!("&before={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), total, "{filter}");
        assert!(seen.is_sorted_by(|a, b| a > b), "every entry once, newest first");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn bad_queries_are_refused_with_their_place() {
    let cloud = start().await;
    let other = tenant(&cloud.services, "other").await;
    let plain = "/v1.0/project/<project id>/messages/<device id>";
    for bad in ["0", "-1", "1.5", "ten", "", "%2B5"] {
        let error = cloud.get(&format!("{plain}?numMessages={bad}")).await.error(400);
        assert!(error.contains("numMessages"), "{bad}: {error}");
    }
    for (filter, place) in [
        ("{", "$"),
        ("[]", "$"),
        (r#"{"$where":"1"}"#, "$.$where"),
        (r#"{"a":{"$foo":1}}"#, "$.a.$foo"),
        (r#"{"timestamp":{"$lte":{"$date":"soon"}}}"#, "$"),
        (r#"{"a":{"$regex":"("}}"#, "$.a.$regex"),
    ] {
        let answer = cloud.get(&format!("{plain}?queryJson={}", encode(filter))).await;
        assert!(answer.error(400).starts_with("queryJson: "), "{filter}");
        assert_eq!(answer.json()["path"], place, "{filter}");
        assert_eq!(answer.json()["code"], "invalid_filter");
    }
    let short = cloud.get(&format!("{plain}?queryJson={}", encode("n> or"))).await;
    assert!(short.error(400).starts_with("queryJson: "), "{}", short.text);
    let long = encode(&format!(r#"{{"a":"{}"}}"#, "x".repeat(8192)));
    assert!(
        cloud
            .get(&format!("{plain}?queryJson={long}"))
            .await
            .error(400)
            .contains("8192")
    );
    cloud.get(&format!("{plain}?before=nonsense")).await.error(400);
    cloud.store(other.scope, EXAMPLE_AT, &["{}", "{}"]).await;
    let foreign = format!(
        "/v1.0/project/{}/messages/{}?numMessages=1",
        other.scope.project, other.scope.device
    );
    let page = cloud
        .request(
            "GET",
            &foreign,
            &[&format!("Authorization: Bearer {}", other.token)],
            b"",
        )
        .await
        .ok();
    let next = page["next"].as_str().expect("more behind it");
    assert!(
        cloud
            .get(&format!("{plain}?before={next}"))
            .await
            .error(400)
            .contains("cursor"),
        "a cursor stays with its device"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_browser_gets_a_page_at_addresses_that_are_none() {
    let cloud = start().await;
    let browser = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    for (path, status, text) in [
        ("/p/<project id>/alerts/rules", 404, "takes a form"),
        ("/logout", 404, "takes a form"),
        ("/p/<project id>/nothing", 404, "there is no page"),
        ("/nothing%3Cscript%3E", 404, "there is no page"),
        ("/", 200, "Log in"),
    ] {
        let answer = cloud.request("GET", &cloud.path(path), &[browser], b"").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text.contains(text), "{path}: {}", answer.text);
        assert!(answer.header("content-security-policy").is_some(), "{path}");
    }
    for path in [
        "/v1.0/nothing",
        "/repo/nothing",
        "/v1.0/project/<project id>/device/bulk",
    ] {
        let answer = cloud.request("GET", &cloud.path(path), &[browser], b"").await;
        assert!(answer.text.starts_with("{\"error\""), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn other_addresses_and_methods_answer_json() {
    let cloud = start().await;
    for path in [
        "/v1.0/nothing",
        "/v1.0/",
        "/v2.0/ping",
        "/v1.0/project/<project id>/device/<device id>/props/",
    ] {
        cloud.get(path).await.error(404);
    }
    let answer = cloud.post("/v1.0/ping", "{}").await;
    answer.error(405);
    assert!(
        answer.header("allow").is_some_and(|allow| allow.contains("GET")),
        "{:?}",
        answer.header("allow")
    );
    for path in [
        "/v1.0/project/x/inspect",
        "/v1.0/project/%FF/inspect",
        "/v1.0/project/../inspect",
        "/v1.0/project/<project id>/messages/x",
    ] {
        let status = cloud.get(path).await.status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
    let given = cloud
        .request("GET", "/v1.0/nothing", &["X-Request-Id: my-id_1"], b"")
        .await;
    assert_eq!(given.header("x-request-id"), Some("my-id_1"));
    let odd = cloud
        .request("GET", "/v1.0/nothing", &["X-Request-Id: a<b>"], b"")
        .await;
    assert_eq!(odd.header("x-request-id").map(str::len), Some(32));
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_login_cookie_does_not_act_for_other_sites() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let path = "/v1.0/project/<project id>/device/<device id>/command";
    let body = br#"{"cmd_type": "echo", "values": {}}"#;
    cloud
        .request("POST", path, &[&cookie, "Origin: http://evil.example"], body)
        .await
        .error(403);
    let own = format!("Origin: http://{}", cloud.address);
    assert_eq!(
        cloud.request("POST", path, &[&cookie, &own], body).await.status,
        200
    );
    cloud.shutdown().await;
}
