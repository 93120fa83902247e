//! Tokens that are bound to a deployment group.

use iottly_core::model::{Change, Principal, Scopes};
use iottly_protocol::{DeviceId, GroupId};
use iottly_store::NewDevice;
use iottly_web::auth;
use serde_json::{Value, json};

use crate::matrix::{ask, filled, furnish, operations, state};
use crate::support::{TestCloud, start, tenant};

const PROJECT: &str = "/v1.0/project/<project id>";
/// Operations that a bound token may use for objects of its group; all others are refused, also new ones.
const ALLOWED: [&str; 45] = [
    "DELETE /v1.0/project/{project}/device/{device}",
    "DELETE /v1.0/project/{project}/device/{device}/absence",
    "GET /v1.0/ping",
    "GET /v1.0/project/ping",
    "GET /v1.0/project/{project}/deploymentgroups/{group}",
    "GET /v1.0/project/{project}/deploymentgroups/{group}/policy",
    "GET /v1.0/project/{project}/device/{device}/board",
    "GET /v1.0/project/{project}/device/{device}/board/events",
    "GET /v1.0/project/{project}/device/{device}/commands",
    "GET /v1.0/project/{project}/device/{device}/commands/{command}",
    "GET /v1.0/project/{project}/device/{device}/config",
    "GET /v1.0/project/{project}/device/{device}/events",
    "GET /v1.0/project/{project}/device/{device}/latest",
    "GET /v1.0/project/{project}/device/{device}/logs",
    "GET /v1.0/project/{project}/device/{device}/messages/export",
    "GET /v1.0/project/{project}/device/{device}/messages/paginated",
    "GET /v1.0/project/{project}/device/{device}/props",
    "GET /v1.0/project/{project}/device/{device}/timeline",
    "GET /v1.0/project/{project}/jobs",
    "GET /v1.0/project/{project}/jobs/{job}",
    "GET /v1.0/project/{project}/jobs/{job}/events",
    "GET /v1.0/project/{project}/jobs/{job}/file",
    "GET /v1.0/project/{project}/messages/{device}",
    "GET /v1.0/project/{project}/rollouts/{rollout}",
    "GET /v1.0/project/{project}/rollouts/{rollout}/devices",
    "GET /v1.0/project/{project}/whoami",
    "POST /v1.0/project/{project}/deploymentgroups/{group}/cancel",
    "POST /v1.0/project/{project}/deploymentgroups/{group}/flashfw",
    "POST /v1.0/project/{project}/deploymentgroups/{group}/pause",
    "POST /v1.0/project/{project}/deploymentgroups/{group}/resume",
    "POST /v1.0/project/{project}/deploymentgroups/{group}/rollback",
    "POST /v1.0/project/{project}/device/{device}/board/inputs",
    "POST /v1.0/project/{project}/device/{device}/command",
    "POST /v1.0/project/{project}/device/{device}/commands/{command}/cancel",
    "POST /v1.0/project/{project}/device/{device}/copies/{copy}/keep",
    "POST /v1.0/project/{project}/jobs",
    "POST /v1.0/project/{project}/jobs/{job}/cancel",
    "POST /v1.0/project/{project}/rollouts/{rollout}/cancel",
    "PUT /v1.0/project/{project}/deploymentgroups/{group}/policy",
    "PUT /v1.0/project/{project}/device/{device}/absence",
    "PUT /v1.0/project/{project}/device/{device}/config",
    "PUT /v1.0/project/{project}/device/{device}/props",
    "open /v1.0/enroll",
    "open /v1.0/enroll/challenge",
    "open /v1.0/enroll/secret",
];

async fn send(
    cloud: &TestCloud,
    bearer: &str,
    method: &str,
    path: &str,
    body: Value,
) -> crate::support::Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    cloud
        .request(method, &format!("{PROJECT}{path}"), &[bearer], body.as_bytes())
        .await
}

/// Creates a group with one device.
async fn group(cloud: &TestCloud, name: &str) -> (GroupId, DeviceId) {
    let (store, project) = (&cloud.services.store, cloud.tenant.scope.project);
    let (group, device) = (GroupId::random(), DeviceId::random());
    store
        .create_group(project, group, name, None)
        .await
        .expect("created");
    let new = NewDevice {
        scope: iottly_core::model::Scope { project, device },
        name: format!("board of {name}"),
        group,
        secret: auth::hash_secret(b"secret"),
    };
    store.create_device(&new).await.expect("created");
    (group, device)
}

/// Creates a token that is bound to a group; returns its header.
async fn token(cloud: &TestCloud, group: GroupId) -> String {
    let body =
        json!({"name": "bound", "scopes": ["read", "write", "command", "deploy"], "deployment_group": group});
    let made = send(cloud, &cloud.bearer(), "POST", "/tokens", body).await.ok();
    assert_eq!(made["deployment_group"], json!(group));
    format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    )
}

#[tokio::test]
async fn a_bound_token_reaches_nothing_of_other_groups() {
    let cloud = start().await;
    let theirs = furnish(&cloud, &cloud.tenant).await;
    let (mine, _) = group(&cloud, "mine").await;
    let bearer = token(&cloud, mine).await;
    let before = state(&cloud, cloud.tenant.scope).await;
    let mut answered = Vec::new();
    for operation in operations(&cloud)
        .await
        .iter()
        .filter(|operation| !operation.open)
    {
        let path = filled(&operation.path, &theirs);
        let answer = ask(&cloud, operation, &path, &[&bearer]).await;
        if answer.status != 403 {
            answered.push(operation.path.clone());
        }
    }
    assert_eq!(
        answered,
        [
            "/v1.0/ping",
            "/v1.0/project/ping",
            // Jobs of the own group, none; and a body that is no job.
            "/v1.0/project/{project}/jobs",
            "/v1.0/project/{project}/jobs",
            "/v1.0/project/{project}/whoami"
        ]
    );
    assert_eq!(state(&cloud, cloud.tenant.scope).await, before);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_bound_token_uses_the_named_operations_for_its_own_group() {
    let cloud = start().await;
    let mine = furnish(&cloud, &cloud.tenant).await;
    let bearer = token(&cloud, cloud.tenant.group).await;
    for operation in operations(&cloud).await {
        let named = format!("{} {}", operation.method, operation.path);
        let open = format!("open {}", operation.path);
        let allowed = ALLOWED.contains(&named.as_str()) || ALLOWED.contains(&open.as_str());
        // What is deleted would be missing afterwards; the answers about it are in the test below.
        if operation.method == "DELETE" && allowed || operation.open {
            continue;
        }
        // A stream that is allowed does not end; the test of streams below reads it.
        if operation.is_stream() && allowed {
            continue;
        }
        let answer = ask(&cloud, &operation, &filled(&operation.path, &mine), &[&bearer]).await;
        let refused = answer.status == 403 && answer.text.contains("bound to a deployment group")
            || answer.text.contains("lacks the scope");
        assert_eq!(refused, !allowed, "{named}: {} {}", answer.status, answer.text);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_bound_token_cannot_move_devices_or_outlive_its_group() {
    let cloud = start().await;
    let (mine, device) = group(&cloud, "mine").await;
    let bearer = token(&cloud, mine).await;
    let props = format!("/device/{device}/props");
    let out = json!({"name": "new name", "deployment_group": cloud.tenant.group});
    let moved = send(&cloud, &bearer, "PUT", &props, out).await;
    assert!(
        moved.status == 403 || moved.status == 400,
        "{} {}",
        moved.status,
        moved.text
    );
    send(&cloud, &bearer, "PUT", &props, json!({"name": "new name"}))
        .await
        .ok();
    let shown = send(&cloud, &bearer, "GET", &props, Value::Null).await.ok();
    assert!(shown.to_string().contains("new name"), "{shown}");
    let group_path = format!("/deploymentgroups/{mine}");
    let in_it = send(&cloud, &bearer, "GET", &group_path, Value::Null).await.ok();
    assert!(in_it.to_string().contains(&device.to_string()), "{in_it}");
    send(&cloud, &bearer, "PUT", &group_path, json!({"name": "other"}))
        .await
        .error(403);

    // A login would show the whole project.
    let text = bearer.trim_start_matches("Authorization: Bearer ");
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let login = cloud
        .request("POST", "/login", &form, format!("token={text}").as_bytes())
        .await;
    assert!(
        login.status == 403 && login.text.contains("one deployment group"),
        "{}",
        login.text
    );
    assert_eq!(
        iottly_web::login_link(&cloud.services, text, "http://c").await,
        "http://c"
    );

    for (body, status) in [
        (
            json!({"name": "t", "scopes": ["read", "admin"], "deployment_group": mine}),
            400,
        ),
        (
            json!({"name": "t", "scopes": ["read"], "deployment_group": GroupId::random()}),
            404,
        ),
    ] {
        send(&cloud, &cloud.bearer(), "POST", "/tokens", body)
            .await
            .error(status);
    }
    // Deleting the group takes its tokens along; the device is somewhere else then.
    send(&cloud, &cloud.bearer(), "DELETE", &group_path, Value::Null)
        .await
        .ok();
    send(&cloud, &bearer, "GET", &props, Value::Null).await.error(401);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_that_leaves_the_group_is_out_of_reach_at_once() {
    let cloud = start().await;
    let (mine, device) = group(&cloud, "mine").await;
    let bearer = token(&cloud, mine).await;
    let export = format!("/device/{device}/messages/export");
    assert_eq!(
        send(&cloud, &bearer, "GET", &export, Value::Null).await.status,
        200
    );
    let by: Principal = auth::mint_token(cloud.tenant.scope.project, "by", Scopes::PROJECT, None, 1)
        .expect("randomness")
        .token
        .into();
    let change = Change::MoveDevices(cloud.tenant.group, vec![device]);
    let store = &cloud.services.store;
    store
        .change(cloud.tenant.scope.project, &by, change, 1)
        .await
        .expect("moves");
    send(&cloud, &bearer, "GET", &export, Value::Null)
        .await
        .error(403);
    cloud.shutdown().await;
}

#[tokio::test]
async fn streams_are_of_the_own_group_and_project() {
    let cloud = start().await;
    let (mine, device) = group(&cloud, "mine").await;
    let bound = token(&cloud, mine).await;
    let project = cloud.tenant.scope.project;
    let path = |rest: &str| format!("/v1.0/project/{project}{rest}");
    let (own, other) = (
        path(&format!("/device/{device}/events")),
        path(&format!("/device/{}/events", cloud.tenant.scope.device)),
    );
    let mut stream = cloud.listen(&own, &[&bound]).await;
    stream.read_until("watching").await;
    for refused in [other.as_str(), &path("/events")] {
        cloud.request("GET", refused, &[&bound], b"").await.error(403);
    }
    let bearer = cloud.bearer();
    let mut all = cloud.listen(&path("/events"), &[&bearer]).await;
    all.read_until("watching").await;
    let mut one = cloud.listen(&other, &[&bearer]).await;
    one.read_until("watching").await;
    let stranger = tenant(&cloud.services, "other").await;
    let theirs = format!("Authorization: Bearer {}", stranger.token);
    for refused in [own, other, path("/events")] {
        cloud.request("GET", &refused, &[&theirs], b"").await.error(403);
    }
    cloud.shutdown().await;
}
