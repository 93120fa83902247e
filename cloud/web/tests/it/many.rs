//! A project with many devices: pages stay small, and lists come in pages.

use std::collections::BTreeSet;

use iottly_core::model::{
    Change, NewRollout, Policy, Principal, RolloutId, RolloutKind, Scope, SecretHash, StoredRelease,
};
use iottly_protocol::DeviceId;
use iottly_store::NewDevice;
use serde_json::Value;

use crate::matrix::furnish;
use crate::pages::{PAGES, with_ids};
use crate::support::{TestCloud, start};

const DEVICES: usize = 1200;
const DIGEST: &str = "5d075d075d07";
/// Maximum size of a page, in bytes.
const MAX_PAGE: usize = 150 << 10;
const GROUPS: &str = "/v1.0/project/<project id>/deploymentgroups";

/// Adds devices to the tenant's group, and a rollout to it. Returns the id of the rollout.
async fn crowd(cloud: &TestCloud) -> RolloutId {
    let (store, scope, group) = (&cloud.services.store, cloud.tenant.scope, cloud.tenant.group);
    for number in 0..DEVICES {
        let new = NewDevice {
            scope: Scope {
                device: DeviceId::random(),
                ..scope
            },
            name: format!("board {number:04}"),
            group,
            secret: SecretHash::NONE,
        };
        store.create_device(&new).await.expect("created");
    }
    let release = StoredRelease {
        seq: 9,
        path: "app/main/9.wasm".into(),
        branch: "main".into(),
        revision: 9,
        sha256: DIGEST.into(),
        size: 5,
        source: "source".into(),
        capabilities: Vec::new(),
        grace_ms: 7,
        author: "t".into(),
        created: 1,
    };
    let id = RolloutId::random();
    let rollout = NewRollout {
        id,
        group,
        release: 9,
        kind: RolloutKind::Install,
        policy: Policy::default(),
        approved: Vec::new(),
        force: false,
        note: String::new(),
    };
    let by = Principal::system(scope.project, "test");
    for change in [
        Change::AddRelease(Box::new(release)),
        Change::StartRollout(Box::new(rollout)),
    ] {
        store
            .change(scope.project, &by, change, 1)
            .await
            .expect("changes");
    }
    id
}

#[tokio::test]
async fn pages_of_a_project_with_many_devices_are_small() {
    let cloud = start().await;
    let ids = furnish(&cloud, &cloud.tenant).await;
    let rollout = crowd(&cloud).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let paths: BTreeSet<String> = PAGES
        .iter()
        .filter(|(method, ..)| *method == "GET")
        .map(|(_, path, _)| with_ids(&path.replace("<project id>", "{project}"), &ids))
        .filter(|path| !path.contains("/csv/") && !path.contains("/events") && !path.contains("format=csv"))
        .collect();
    let mut opened = 0;
    for path in &paths {
        let answer = cloud.request("GET", path, &[&cookie], b"").await;
        opened += usize::from(answer.status == 200);
        assert!(
            answer.text.len() <= MAX_PAGE,
            "{path} has {} bytes",
            answer.text.len()
        );
    }
    assert!(opened > 30, "{opened} of {paths:?}");

    let page = async |path: String| cloud.request("GET", &path, &[&cookie], b"").await.text;
    let (base, group) = (format!("/p/{}", cloud.tenant.scope.project), cloud.tenant.group);
    // That of the tenant is in the group as well, and another one that was furnished may be.
    let of_group = page(format!("{base}/groups/{group}")).await;
    let all = cloud
        .services
        .store
        .group_size(cloud.tenant.scope.project, group)
        .await
        .expect("counts");
    assert!(all as usize > DEVICES);
    assert!(of_group.contains(&format!("All {all} devices")), "{of_group}");
    assert!(of_group.contains("data-cells=\"many\""));
    let cells = of_group.matches("class=\"cell\"").count();
    assert!(
        (90..=110).contains(&cells),
        "{cells} cells with those of the legend"
    );
    let devices = format!("{base}/groups/{group}/rollouts/{rollout}/devices?place=waiting");
    assert!(
        of_group.contains(&devices),
        "each figure leads to its devices: {of_group}"
    );
    let first = page(devices.clone()).await;
    assert_eq!(first.matches(">waiting</td>").count(), 100, "{first}");
    let next = first
        .split("&amp;after=")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let second = page(format!("{devices}&after={}", next.expect("a next page"))).await;
    assert_eq!(second.matches(">waiting</td>").count(), 100, "{second}");
    let none = page(devices.replace("waiting", "committed")).await;
    assert!(none.contains("No device is here"), "{none}");
    let groups = page(format!("{base}/groups")).await;
    assert!(groups.contains(&format!("{all} devices")), "{groups}");
    let csv = page(format!("{base}/devices?format=csv")).await;
    assert!(csv.matches("board ").count() >= DEVICES, "all parts of the file");
    cloud.shutdown().await;
}

/// Reads all pages of a list; `next` finds where the next one begins.
async fn read(
    cloud: &TestCloud,
    path: &str,
    limit: usize,
    of: impl Fn(&Value) -> (Vec<String>, Option<String>),
) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (page, next) = of(&cloud.get(&format!("{path}?limit={limit}{after}")).await.ok());
        assert!(page.len() <= limit, "{page:?}");
        seen.extend(page);
        match next {
            Some(next) => after = format!("&after={next}"),
            None => return seen,
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one.as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn devices_of_groups_and_rollouts_come_in_pages() {
    let cloud = start().await;
    furnish(&cloud, &cloud.tenant).await;
    let rollout = crowd(&cloud).await;
    let one = format!("{GROUPS}/{}", cloud.tenant.group);
    let whole = cloud.get(&one).await.ok();
    let boards = texts(&whole["deployment_group"]["boards"]);
    assert!(boards.len() > DEVICES && boards.is_sorted());
    assert!(
        whole["deployment_group"]["boards_count"].is_null(),
        "only with a limit"
    );
    let next = |page: &Value| page["next"].as_str().map(str::to_owned);
    let paged = read(&cloud, &one, 500, |page| {
        (texts(&page["deployment_group"]["boards"]), next(page))
    })
    .await;
    assert_eq!(paged, boards);

    let of_all = |groups: &Value| {
        let groups = groups["deployment_groups"].as_array().expect("a list");
        groups
            .iter()
            .find(|group| group["id"] == cloud.tenant.group.to_string())
            .expect("the group")
            .clone()
    };
    let listed = of_all(&cloud.get(GROUPS).await.ok());
    assert_eq!(texts(&listed["boards"]), boards);
    let listed = of_all(&cloud.get(&format!("{GROUPS}?limit=3")).await.ok());
    assert_eq!(texts(&listed["boards"]), boards[..3]);
    assert_eq!(listed["boards_count"], boards.len());
    let inspected = of_all(&cloud.get("/v1.0/project/<project id>/inspect?limit=3").await.ok());
    assert_eq!(texts(&inspected["boards"]), boards[..3]);

    let path = format!("/v1.0/project/<project id>/rollouts/{rollout}/devices");
    let ids = |page: &Value| -> Vec<String> {
        let devices = page["devices"].as_array().expect("a list").iter();
        devices
            .map(|device| device["device"].as_str().expect("an id").to_owned())
            .collect()
    };
    let all = ids(&cloud.get(&path).await.ok());
    assert_eq!(all, boards);
    assert_eq!(
        read(&cloud, &path, 700, |page| (ids(page), next(page))).await,
        all
    );

    let licences = "/v1.0/project/<project id>/license";
    let codes = |page: &Value| {
        page.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let all = codes(&cloud.get(licences).await.ok());
    assert!(!all.is_empty());
    let first = codes(&cloud.get(&format!("{licences}?limit=1")).await.ok());
    assert_eq!(first.len(), 1);
    let rest = codes(
        &cloud
            .get(&format!("{licences}?limit=1000&after={}", first[0]))
            .await
            .ok(),
    );
    assert_eq!(rest.len(), all.len() - 1);
    for path in [&one, &path] {
        for wrong in ["limit=0", "limit=x", "limit=1&after=x"] {
            let refused = cloud.get(&format!("{path}?{wrong}")).await;
            refused.error(400);
            assert_eq!(refused.json()["code"], "invalid_query", "{path} {wrong}");
        }
    }
    cloud.shutdown().await;
}
