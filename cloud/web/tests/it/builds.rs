//! Builds, uploads and their disk space, with two tenants over real HTTP: only a tenant that takes too much
//! waits or is refused.

use crate::support;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::{BranchCode, Principal, Scopes};
use serde_json::{Value, json};
use support::{Answer, Tenant, TestCloud, start_config, tenant};

/// Longer than any operation takes that does not wait for an endless build.
const SOON: Duration = Duration::from_secs(10);

/// Holds builds back until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    builds: AtomicUsize,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().expect("no holder panics") = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let guard = self.open.lock().expect("no holder panics");
        drop(
            self.opened
                .wait_while(guard, |open| !*open)
                .expect("no holder panics"),
        );
    }

    fn builds(&self) -> usize {
        self.builds.load(Ordering::SeqCst)
    }
}

/// Concatenates texts instead of compiling them; code that says `endless` does not end before the gate is
/// open, and fails then.
fn builder(gate: &Arc<Gate>) -> Builder {
    let gate = Arc::clone(gate);
    let build = move |code: &BranchCode| {
        gate.builds.fetch_add(1, Ordering::SeqCst);
        let text: String = code
            .snippets
            .iter()
            .map(|snippet| snippet.code.as_str())
            .collect();
        if text.contains("endless") {
            gate.wait();
            return Err(BuildFailure::Code("global:1: it did not end".into()));
        }
        Ok(text.into_bytes())
    };
    let capabilities = |component: &[u8]| match component {
        b"no firmware" => Err(BuildFailure::Code("the component is no firmware".into())),
        _ => Ok(Vec::new()),
    };
    Builder {
        version: "1".into(),
        build: Arc::new(build),
        capabilities: Arc::new(capabilities),
        engine: None,
    }
}

async fn cloud(gate: &Arc<Gate>) -> TestCloud {
    let builder = builder(gate);
    start_config(|config| config.builder = Some(builder)).await
}

async fn send(cloud: &TestCloud, by: &Tenant, method: &str, path: &str, body: &[u8]) -> Answer {
    let path = format!("/v1.0/project/{}{path}", by.scope.project);
    let bearer = format!("Authorization: Bearer {}", by.token);
    cloud.request(method, &path, &[&bearer], body).await
}

async fn post(cloud: &TestCloud, by: &Tenant, path: &str, body: Value) -> Answer {
    send(cloud, by, "POST", path, body.to_string().as_bytes()).await
}

async fn save(cloud: &TestCloud, by: &Tenant, code: &str) {
    let body = json!({"snippets": [{"name": "global", "code": code}]}).to_string();
    send(cloud, by, "PUT", "/branches/main/snippets", body.as_bytes())
        .await
        .ok();
    post(cloud, by, "/branches/main/revisions", json!({})).await.ok();
}

async fn upload(cloud: &TestCloud, by: &Tenant, component: &[u8]) -> Answer {
    send(cloud, by, "POST", "/branches/main/component", component).await
}

/// Lets the tenant's group follow `main` and returns the group's id.
async fn follow(cloud: &TestCloud, by: &Tenant) -> String {
    let group = by.group.to_string();
    send(
        cloud,
        by,
        "PUT",
        &format!("/deploymentgroups/{group}"),
        br#"{"branch": "main"}"#,
    )
    .await
    .ok();
    group
}

async fn flash(cloud: &TestCloud, by: &Tenant, group: &str, body: Value) -> Answer {
    post(cloud, by, &format!("/deploymentgroups/{group}/flashfw"), body).await
}

fn owner(by: &Tenant) -> Principal {
    let minted =
        iottly_web::auth::mint_token(by.scope.project, "t", Scopes::PROJECT, None, 1).expect("randomness");
    minted.token.into()
}

async fn code_limit(cloud: &TestCloud, by: &Tenant, limit: Option<u64>) {
    let (store, project) = (cloud.services.store.as_ref(), by.scope.project);
    let operator = iottly_web::auth::create_token_with(store, project, "op", Scopes::ALL)
        .await
        .expect("created");
    let path = format!("/v1.0/projects/{project}/limits");
    let body = json!({"code_bytes": limit}).to_string();
    let set = cloud
        .request(
            "PUT",
            &path,
            &[&format!("Authorization: Bearer {operator}")],
            body.as_bytes(),
        )
        .await
        .ok();
    assert_eq!(set["limits"]["code_bytes"], json!(limit));
}

async fn used(cloud: &TestCloud, by: &Tenant) -> u64 {
    send(cloud, by, "GET", "/limits", b"").await.ok()["usage"]["code_bytes"]
        .as_u64()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_builds_of_one_tenant_hold_up_nobody_else() {
    let gate = Arc::new(Gate::default());
    let cloud = cloud(&gate).await;
    let (one, two) = (
        tenant(&cloud.services, "one").await,
        tenant(&cloud.services, "two").await,
    );
    let (first, second) = (follow(&cloud, &one).await, follow(&cloud, &two).await);
    upload(&cloud, &one, b"built elsewhere").await.ok();
    save(&cloud, &one, "fine").await;
    flash(&cloud, &one, &first, json!({})).await.ok();
    save(&cloud, &one, "endless").await;
    save(&cloud, &two, "fine").await;

    let refused = AtomicUsize::new(0);
    let attempt = async || {
        let answer = flash(&cloud, &one, &first, json!({})).await;
        refused.fetch_add(usize::from(answer.status == 429), Ordering::SeqCst);
        answer
    };
    let attempts = async { futures_util::future::join_all((0..12).map(|_| attempt())).await };
    let beside = async {
        while gate.builds() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let others = async {
            flash(&cloud, &two, &second, json!({})).await.ok();
            // Operations that need no build do not wait for one, not even the same tenant's own.
            for revision in [1, 2] {
                flash(
                    &cloud,
                    &one,
                    &first,
                    json!({"revision": revision, "dry_run": true}),
                )
                .await
                .ok();
                flash(&cloud, &one, &first, json!({"revision": revision}))
                    .await
                    .ok();
            }
        };
        tokio::time::timeout(SOON, others)
            .await
            .expect("requests do not wait for the endless build");
        support_until(async || refused.load(Ordering::SeqCst) == 3).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(attempts, beside);
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(429), with(400)), (3, 9), "one is built, eight wait");
    let busy = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("counted")
        .json();
    assert_eq!(busy["code"], "too_many_builds", "{busy}");
    assert_eq!(
        gate.builds(),
        3,
        "nine requests for one build, and it is not built again"
    );
    let again = flash(&cloud, &one, &first, json!({})).await.error(400);
    assert_eq!(
        (again.as_str(), gate.builds()),
        ("global:1: it did not end", 3),
        "what failed is known to fail"
    );
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_whose_client_has_gone_keeps_its_turn() {
    let gate = Arc::new(Gate::default());
    let cloud = cloud(&gate).await;
    let one = tenant(&cloud.services, "one").await;
    let group = follow(&cloud, &one).await;
    save(&cloud, &one, "endless 1").await;
    let rollouts = Arc::clone(&cloud.services.rollouts);
    let by = owner(&one);
    let groups = cloud
        .services
        .store
        .groups(one.scope.project)
        .await
        .expect("reads");
    let start = || {
        let (rollouts, by, group) = (Arc::clone(&rollouts), by.clone(), groups[0].clone());
        tokio::spawn(async move { rollouts.flash(&by, &group, Default::default()).await })
    };
    let gone = start();
    while gate.builds() < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gone.abort();
    save(&cloud, &one, "endless 2").await;
    let next = start();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gate.builds(), 1, "the next one waits until the work has ended");
    gate.open();
    assert!(next.await.expect("no panic").is_err());
    assert_eq!(gate.builds(), 2);
    drop(group);
    cloud.shutdown().await;
}

#[tokio::test]
async fn components_count_against_a_limit_and_go_when_nothing_names_them() {
    let gate = Arc::new(Gate::default());
    let cloud = cloud(&gate).await;
    let one = tenant(&cloud.services, "one").await;
    let group = follow(&cloud, &one).await;
    let component = |byte: u8| vec![byte; 1 << 20];
    let empty = used(&cloud, &one).await;
    upload(&cloud, &one, &component(1)).await.ok();
    assert!(used(&cloud, &one).await >= empty + (1 << 20));
    code_limit(&cloud, &one, Some(3 << 20)).await;
    upload(&cloud, &one, &component(2)).await.ok();
    let refused = upload(&cloud, &one, &component(3)).await;
    assert!(
        refused.error(409).contains("limit of 3145728"),
        "{}",
        refused.text
    );
    let held = used(&cloud, &one).await;
    assert!(held < 3 << 20, "{held}");
    let folder = cloud
        .data()
        .join("releases")
        .join(one.scope.project.to_string())
        .join("components");
    let kept = || std::fs::read_dir(&folder).expect("a folder").count();
    assert_eq!(kept(), 2, "what is refused is not kept");

    // A component that the branch refuses is not kept either.
    code_limit(&cloud, &one, None).await;
    send(&cloud, &one, "POST", "/branches/nowhere/component", b"x")
        .await
        .error(404);
    upload(&cloud, &one, b"no firmware").await.error(400);
    assert_eq!(kept(), 2);

    // A release counts, and so does saved code.
    flash(&cloud, &one, &group, json!({})).await.ok();
    assert!(used(&cloud, &one).await >= held + (1 << 20));
    code_limit(&cloud, &one, Some(held)).await;
    let body = json!({"snippets": [{"name": "global", "code": "x".repeat(2000)}]}).to_string();
    send(&cloud, &one, "PUT", "/branches/main/snippets", body.as_bytes())
        .await
        .error(409);
    post(&cloud, &one, "/branches", json!({"name": "more"}))
        .await
        .error(409);

    // Without their branch the components are not referenced any more; the release has its own copy.
    code_limit(&cloud, &one, None).await;
    post(&cloud, &one, "/branches", json!({"name": "other"}))
        .await
        .ok();
    send(
        &cloud,
        &one,
        "PUT",
        &format!("/deploymentgroups/{group}"),
        br#"{"branch": "other"}"#,
    )
    .await
    .ok();
    let active = send(&cloud, &one, "DELETE", "/branches/main", b"")
        .await
        .error(409);
    assert!(active.contains("cancel rollout"), "{active}");
    post(
        &cloud,
        &one,
        &format!("/deploymentgroups/{group}/cancel"),
        json!({}),
    )
    .await
    .ok();
    support_until(async || send(&cloud, &one, "DELETE", "/branches/main", b"").await.status == 200).await;
    cloud
        .services
        .rollouts
        .tidy(one.scope.project)
        .await
        .expect("tidies");
    assert_eq!(kept(), 0);
    let release = send(&cloud, &one, "GET", "/releases", b"").await.ok()["releases"][0].take();
    let file = format!(
        "/repo/{}/targets/app/main/{}.1.wasm",
        one.scope.project,
        release["sha256"].as_str().expect("text")
    );
    let bearer = format!("Authorization: Bearer {}", one.token);
    assert_eq!(cloud.request("GET", &file, &[&bearer], b"").await.status, 200);
    cloud.shutdown().await;
}

async fn support_until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("it comes to hold");
}

#[tokio::test]
async fn releases_and_metadata_stay_bounded_however_often_is_deployed() {
    let gate = Arc::new(Gate::default());
    let cloud = cloud(&gate).await;
    let one = tenant(&cloud.services, "one").await;
    let group = follow(&cloud, &one).await;
    code_limit(&cloud, &one, Some(2 << 20)).await;
    for n in 0..70u32 {
        let mut component = n.to_le_bytes().to_vec();
        component.resize(20_000, 0);
        upload(&cloud, &one, &component).await.ok();
        let answer = flash(&cloud, &one, &group, json!({})).await;
        if answer.status != 200 {
            // Revisions stay, and so do their components: that is what the limit is for. Releases are never
            // deleted.
            assert!(answer.error(409).contains("limit of"), "{}", answer.text);
            assert!(n > 45, "release {n}");
            break;
        }
    }
    let repository = cloud
        .data()
        .join("releases")
        .join(one.scope.project.to_string())
        .join("repository");
    let files = |folder: &str| walk(&repository.join(folder));
    assert!(files("targets") <= 2 * 52, "{}", files("targets"));
    cloud
        .services
        .rollouts
        .tidy(one.scope.project)
        .await
        .expect("tidies");
    assert!(files("metadata") <= 2 + 2 * 16, "{}", files("metadata"));
    assert!(files("targets") <= 2 * 34, "{}", files("targets"));
    cloud.shutdown().await;
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                walk(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_code() {
    let gate = Arc::new(Gate::default());
    let made = builder(&gate);
    let cloud = start_config(|config| {
        config.builder = Some(made);
        config.disk_floor = Some(u64::MAX);
    })
    .await;
    let one = tenant(&cloud.services, "one").await;
    let group = follow(&cloud, &one).await;
    let edit = br#"{"snippets": [{"name": "global", "code": "x"}]}"#;
    for refused in [
        upload(&cloud, &one, b"component").await,
        send(&cloud, &one, "PUT", "/branches/main/snippets", edit).await,
        post(&cloud, &one, "/branches/main/revisions", json!({})).await,
        post(&cloud, &one, "/branches", json!({"name": "more"})).await,
        post(&cloud, &one, "/branches/main/restore", json!({"revision": 1})).await,
        flash(&cloud, &one, &group, json!({})).await,
        post(
            &cloud,
            &one,
            &format!("/deploymentgroups/{group}/rollback"),
            json!({}),
        )
        .await,
    ] {
        assert!(refused.error(507).contains("disk"), "{}", refused.text);
        assert_eq!(refused.json()["code"], "disk_full");
    }
    send(&cloud, &one, "GET", "/branches/main", b"").await.ok();
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_policy_whose_times_contradict_each_other_is_refused_and_an_empty_group_says_so() {
    let gate = Arc::new(Gate::default());
    let cloud = cloud(&gate).await;
    let one = tenant(&cloud.services, "one").await;
    let group = follow(&cloud, &one).await;
    save(&cloud, &one, "fine").await;
    let path = format!("/deploymentgroups/{group}/policy");
    for (policy, named) in [
        (
            json!({"canary": 1, "grace_ms": 20_000, "silence_s": 6}),
            "silence_s",
        ),
        (json!({"grace_ms": 20_000, "deadline_s": 6}), "deadline_s"),
        (
            json!({"grace_ms": 120_000, "window": {"start_minute": 0, "minutes": 1}}),
            "window",
        ),
    ] {
        let put = send(&cloud, &one, "PUT", &path, policy.to_string().as_bytes()).await;
        assert!(put.error(400).contains(named), "{}", put.text);
        let dry = flash(&cloud, &one, &group, json!({"policy": policy, "dry_run": true})).await;
        assert!(dry.error(400).contains(named), "{}", dry.text);
        assert_eq!(dry.json()["code"], "invalid_policy");
    }
    let slow = flash(
        &cloud,
        &one,
        &group,
        json!({"policy": {"max_bps": 1, "deadline_s": 10}, "dry_run": true}),
    )
    .await;
    assert!(slow.error(400).contains("max_bps"), "{}", slow.text);
    let window = json!({"silence_s": 10, "window": {"start_minute": 3, "minutes": 30}});
    send(&cloud, &one, "PUT", &path, window.to_string().as_bytes())
        .await
        .ok();

    let made = post(
        &cloud,
        &one,
        "/deploymentgroups",
        json!({"name": "empty", "branch": "main"}),
    )
    .await
    .ok();
    let empty = made["deployment_group"]["id"].as_str().expect("an id").to_owned();
    // A rollout to a group without devices completes at once, and reports its number of devices.
    let begun = flash(&cloud, &one, &empty, json!({})).await.ok();
    let rollout = format!("/rollouts/{}", begun["rollout"].as_str().expect("an id"));
    support_until(async || {
        send(&cloud, &one, "GET", &rollout, b"").await.ok()["rollout"]["status"] == "deployed"
    })
    .await;
    assert_eq!(
        send(&cloud, &one, "GET", &rollout, b"").await.ok()["rollout"]["devices"],
        0
    );
    cloud.shutdown().await;
}
