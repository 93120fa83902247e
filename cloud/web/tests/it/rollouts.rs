//! Rollouts over real HTTP and real MQTT: a branch becomes a signed release, devices are notified in order,
//! and their reports decide.

use std::sync::Arc;

use crate::board;
use crate::device;
use board::{Board, act, cloud, devices, group, login_of, save, shown, until};
use device::eventually;
use iottly_protocol::Report;
use iottly_protocol::release::{Action, DeviceFacts};
use iottly_protocol::tuf::{Fetch as _, FetchError, Place};
use iottly_update::Repository;
use iottly_web::http;
use iottly_web::http::Server;
use serde_json::json;

#[tokio::test]
async fn the_canary_first_then_the_rest_then_the_group_shows_the_revision() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 3).await;
    act(&cloud, &group, "flashfw", "").await.error(400);
    save(&cloud, "one").await;
    let mut boards = Vec::new();
    for id in &ids {
        boards.push(Board::connect(&cloud, *id).await);
    }
    let begun = act(&cloud, &group, "flashfw", "").await.ok();
    assert_eq!(
        (begun["status"].clone(), begun["release"]["release"].clone()),
        (json!(200), json!(1))
    );
    assert_eq!(
        begun["preflight"]["unknown"].as_array().map(Vec::len),
        Some(3),
        "no device has reported anything: {begun}"
    );
    until(&cloud, &group, "deploying").await;
    let first = board::canary(&cloud, &begun["rollout"]).await;
    let at = ids.iter().position(|id| json!(id) == first).expect("ours");
    let mut canary = boards.swap_remove(at);
    let directive = canary.directive(&cloud).await;
    assert_eq!((directive.action, directive.release_seq), (Action::Install, 1));
    for state in ["offered", "downloading", "trial", "committed"] {
        canary.tell(&directive, state, None).await;
    }
    for board in &mut boards {
        let directive = board.directive(&cloud).await;
        board.tell(&directive, "committed", None).await;
    }
    until(&cloud, &group, "deployed").await;
    assert_eq!(shown(&cloud, &group).await.1, "1");
    let states = devices(&cloud, &begun["rollout"]).await;
    let told = states
        .iter()
        .find(|device| device["device"] == first)
        .expect("the canary");
    let steps: Vec<_> = told["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["state"].clone())
        .collect();
    assert_eq!(steps, ["offered", "downloading", "trial", "committed"]);
    // Deploying the same again makes no second release, and devices that run it report so at once.
    let again = act(&cloud, &group, "flashfw", "{}").await.ok();
    assert_eq!(again["release"]["release"], 1);
    let audit = cloud
        .get("/v1.0/project/<project id>/auditlog")
        .await
        .ok()
        .to_string();
    assert!(
        audit.contains("deploymentgroup.flash") && audit.contains("release.create"),
        "{audit}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_canary_that_fails_halts_and_a_resume_tells_it_again() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "bad").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let begun = act(&cloud, &group, "flashfw", "{}").await.ok();
    let first = board.directive(&cloud).await;
    board.tell(&first, "trial", None).await;
    board.tell(&first, "rolled_back", Some("crash_loop")).await;
    until(&cloud, &group, "halted").await;
    let id = begun["rollout"].as_str().expect("an id");
    let rollout = cloud
        .get(&format!("/v1.0/project/<project id>/rollouts/{id}"))
        .await
        .ok();
    assert_eq!(
        rollout["rollout"]["evidence"]["failures"][0]["reason"], "crash_loop",
        "{rollout}"
    );
    let audit = cloud
        .get("/v1.0/project/<project id>/auditlog")
        .await
        .ok()
        .to_string();
    assert!(audit.contains("rollout.halt"), "{audit}");
    assert_eq!(shown(&cloud, &group).await.1, "", "nothing was deployed");
    // A late report about a directive that is over changes nothing.
    board.tell(&first, "committed", None).await;
    assert_eq!(
        devices(&cloud, &begun["rollout"]).await[0]["state"],
        "rolled_back"
    );

    let one = format!(
        "/v1.0/project/<project id>/rollouts/{}",
        rollout["rollout"]["id"].as_str().expect("an id")
    );
    let listed = async |query: &str| {
        let answer = cloud.get(&format!("{one}/devices?{query}")).await.ok();
        answer["devices"].as_array().expect("devices").len()
    };
    assert_eq!(listed("place=rolled_back").await, 1);
    assert_eq!(listed("place=committed").await, 0);
    assert_eq!(listed("exceptions=true").await, 1);
    cloud
        .get(&format!("{one}/devices?place=nowhere"))
        .await
        .error(400);
    let counted = cloud.get(&format!("{one}?parts=7")).await.ok();
    assert_eq!(counted["exceptions"], 1);
    let parts = counted["parts"].as_array().expect("parts");
    let bad: u64 = parts.iter().filter_map(|part| part["rolled_back"].as_u64()).sum();
    assert_eq!(bad, 1, "{counted}");

    let cookie = cloud.login(&cloud.tenant.token).await;
    let question = format!("/p/<project id>/groups/{group}/resume");
    let question = cloud.request("GET", &question, &[&cookie], b"").await.text;
    assert!(
        question.contains("It halted: ") && question.contains("Resume, 1 device next"),
        "{question}"
    );

    act(&cloud, &group, "resume", "").await.ok();
    let second = board.directive(&cloud).await;
    assert!(second.counter > first.counter && second.force_retry, "{second:?}");
    board.tell(&second, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    act(&cloud, &group, "pause", "").await.error(409);
    act(&cloud, &group, "rollback", "").await.error(409);
    cloud.shutdown().await;
}

#[tokio::test]
async fn pause_keeps_the_rest_waiting_cancel_withdraws_and_rollback_brings_the_old_one_back() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let one = board.directive(&cloud).await;
    board.tell(&one, "committed", None).await;
    until(&cloud, &group, "deployed").await;

    save(&cloud, "two").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let two = board.directive(&cloud).await;
    board.tell(&two, "downloading", None).await;
    act(&cloud, &group, "pause", "").await.ok();
    until(&cloud, &group, "paused").await;
    act(&cloud, &group, "cancel", "").await.ok();
    let withdrawn = board.directive(&cloud).await;
    assert_eq!(
        (withdrawn.action, withdrawn.sha256.clone()),
        (Action::Cancel, two.sha256.clone())
    );
    board.tell(&two, "cancelled", Some("cancelled")).await;
    until(&cloud, &group, "cancelled").await;

    act(&cloud, &group, "flashfw", "").await.ok();
    let again = board.directive(&cloud).await;
    board.tell(&again, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    assert_eq!(shown(&cloud, &group).await.1, "2");
    let ahead = act(&cloud, &group, "rollback", r#"{"dry_run": true}"#).await.ok();
    assert_eq!(
        (&ahead["release"]["revision"], &ahead["rollout"]),
        (&json!(1), &json!(null)),
        "{ahead}"
    );
    assert_eq!(shown(&cloud, &group).await.0, "deployed", "nothing was sent");
    act(&cloud, &group, "rollback", "").await.ok();
    let back = board.directive(&cloud).await;
    assert_eq!(back.sha256, one.sha256, "what ran before");
    assert!(back.release_seq > again.release_seq, "under a higher number");
    board.tell(&back, "committed", None).await;
    until(&cloud, &group, "rolled_back").await;
    assert_eq!(shown(&cloud, &group).await.1, "1");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_newer_flash_takes_the_place_of_the_one_under_way() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let old = act(&cloud, &group, "flashfw", "").await.ok();
    let one = board.directive(&cloud).await;
    save(&cloud, "two").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let mut last = board.directive(&cloud).await;
    if last.action == Action::Cancel {
        last = board.directive(&cloud).await;
    }
    assert!(
        last.action == Action::Install && last.counter > one.counter && last.sha256 != one.sha256,
        "{last:?}"
    );
    board.tell(&one, "cancelled", Some("superseded")).await;
    board.tell(&last, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    let id = old["rollout"].as_str().expect("an id");
    eventually("the old one is cancelled", async || {
        let shown = cloud
            .get(&format!("/v1.0/project/<project id>/rollouts/{id}"))
            .await
            .ok();
        shown["rollout"]["status"] == "cancelled"
    })
    .await;
    assert_eq!(shown(&cloud, &group).await.0, "deployed", "the newest counts");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_wider_reach_needs_a_word_and_preflight_says_who_would_refuse() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 2).await;
    save(&cloud, "// uses gpio\n").await;
    let error = act(&cloud, &group, "flashfw", "").await.error(409);
    assert!(error.contains("gpio"), "{error}");
    assert_eq!(
        cloud.get("/v1.0/project/<project id>/releases").await.ok()["releases"],
        json!([]),
        "nothing was signed"
    );

    let mut board = Board::connect(&cloud, ids[0]).await;
    let facts = DeviceFacts {
        device: ids[0],
        project: cloud.tenant.scope.project,
        group: None,
        board: "virtual".into(),
        abi: "0.1.0".into(),
        root_version: 1,
        counter: 7,
        running_seq: 0,
        running_sha256: String::new(),
        floor: 50,
        free: 1 << 30,
        data_schema: 0,
        capabilities: Vec::new(),
        quarantined: Vec::new(),
        clock_trusted: true,
        engines: Vec::new(),
    };
    board.say(Report::Facts(Box::new(facts))).await;
    let dry = act(
        &cloud,
        &group,
        "flashfw",
        r#"{"approve": ["gpio"], "dry_run": true}"#,
    )
    .await
    .ok();
    assert_eq!(dry["preflight"]["refusals"][0]["reason"], "below_floor", "{dry}");
    assert_eq!(dry["preflight"]["unknown"], json!([ids[1]]), "{dry}");
    assert!(
        dry.get("rollout").is_none() && shown(&cloud, &group).await.0.is_empty(),
        "a dry run notifies no device"
    );

    act(
        &cloud,
        &group,
        "flashfw",
        r#"{"approve": ["gpio"], "policy": {"canary": 0}}"#,
    )
    .await
    .ok();
    let directive = board.directive(&cloud).await;
    assert_eq!(directive.approved, ["gpio"]);
    assert!(directive.counter > 7, "above what the device has accepted");
    let audit = cloud
        .get("/v1.0/project/<project id>/auditlog")
        .await
        .ok()
        .to_string();
    assert!(audit.contains("approved: gpio"), "{audit}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_is_open_comes_again_after_a_hello_and_is_not_lost_with_the_connection() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    // A device that was away is notified when it connects, and notified of the same when it connects again.
    let mut board = Board::connect(&cloud, ids[0]).await;
    let first = board.directive(&cloud).await;
    board.raw.kill().await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let second = board.directive(&cloud).await;
    assert_eq!(first.id, second.id);
    board.tell(&second, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn uploads_become_revisions_and_code_at_fault_is_told_where() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "broken").await;
    let error = act(&cloud, &group, "flashfw", "").await.error(400);
    assert_eq!(error, "global:1: broken");
    let upload = async |bytes: &[u8]| {
        let path = "/v1.0/project/<project id>/branches/main/component?message=built%20here";
        cloud.request("POST", path, &[&cloud.bearer()], bytes).await
    };
    let saved = upload(b"component").await.ok();
    assert_eq!(
        (saved["created"].clone(), saved["revision"]["message"].clone()),
        (json!(true), json!("built here"))
    );
    assert_eq!(
        upload(b"component").await.ok()["created"],
        false,
        "it is the newest already"
    );
    upload(&vec![b'x'; (16 << 20) + 1]).await.error(413);
    let begun = act(&cloud, &group, "flashfw", "").await.ok();
    assert_eq!(begun["release"]["sha256"], saved["revision"]["component"]);
    let restore = cloud
        .post(
            "/v1.0/project/<project id>/branches/main/restore",
            r#"{"revision": 2}"#,
        )
        .await;
    assert!(restore.error(409).contains("no code"), "{}", restore.text);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_repository_is_served_in_parts() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "0123456789").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let get = async |path: &str, headers: &[&str]| {
        let bearer = cloud.bearer();
        let headers = [headers, &[&*bearer]].concat();
        cloud
            .request("GET", &format!("/repo/<project id>{path}"), &headers, b"")
            .await
    };
    let timestamp = get("/metadata/timestamp.json", &[]).await;
    assert_eq!(timestamp.ok()["signed"]["_type"], "timestamp");
    let etag = timestamp.header("etag").expect("an etag").to_owned();
    assert_eq!(
        get("/metadata/timestamp.json", &[&format!("If-None-Match: {etag}")])
            .await
            .status,
        304
    );

    let targets = get("/metadata/2.targets.json", &[]).await.ok();
    let (path, target) = targets["signed"]["targets"]
        .as_object()
        .expect("targets")
        .iter()
        .next()
        .expect("a target");
    let (folder, name) = path.rsplit_once('/').expect("a folder");
    let served = format!(
        "/targets/{folder}/{}.{name}",
        target["hashes"]["sha256"].as_str().expect("a digest")
    );
    let whole = get(&served, &[]).await;
    assert!(whole.text.starts_with("0123456789"), "{}", whole.text);
    let part = get(&served, &["Range: bytes=2-4"]).await;
    assert_eq!((part.status, part.text.as_str()), (206, "234"));
    let length = whole.text.len();
    assert_eq!(
        part.header("content-range"),
        Some(format!("bytes 2-4/{length}").as_str())
    );
    assert_eq!(get(&served, &["Range: bytes=99999-"]).await.status, 416);
    let other = get(&served, &["Range: bytes=2-4", "If-Range: \"another\""]).await;
    assert_eq!((other.status, other.text.len()), (200, length));
    for outside in [
        "/keys/root.key",
        "/metadata/../../keys",
        "/metadata/%2e%2e/seal.key",
        "/metadata/9.root.json",
        "/targets/",
        "/metadata/1.root.json/x",
    ] {
        get(outside, &[]).await.error(404);
    }
    let too_long = format!("/metadata/{}.json", "n".repeat(300));
    get(&too_long, &[]).await.error(404);
    assert!(cloud.data().join("seal.key").exists(), "keys lie sealed beside");
    cloud
        .request(
            "GET",
            "/repo/000000000000000000000000/metadata/timestamp.json",
            &[],
            b"",
        )
        .await
        .error(401);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_takes_releases_over_tls_from_an_authority_it_was_told_of_and_from_no_other() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "0123456789").await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    for name in ["ours", "another"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(file(&format!("{name}.pem")), made.cert.pem()).expect("written");
        std::fs::write(file(&format!("{name}.key")), made.signing_key.serialize_pem()).expect("written");
    }
    assert!(
        http::tls(&file("ours.key"), &file("ours.pem")).is_err(),
        "a key is not a certificate"
    );
    let tls = http::tls(&file("ours.pem"), &file("ours.key")).expect("a certificate and its key");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Server::start_tls(listener, cloud.services.clone(), tls).expect("serves");
    // A client that never sends anything does not delay others.
    let _silent = tokio::net::TcpStream::connect(address).await.expect("connected");
    let place = format!(
        "https://localhost:{}/repo/{}",
        address.port(),
        cloud.tenant.scope.project
    );
    let (ours, another, key) = (file("ours.pem"), file("another.pem"), file("ours.key"));
    let login = login_of(&cloud);
    let read = tokio::task::spawn_blocking(move || {
        let read = |ca: &std::path::Path| {
            let repository = Repository::with_ca(&place, ca).expect("certificates");
            let mut repository = repository.with_login(Arc::clone(&login));
            repository.open(Place::Metadata("timestamp.json")).map(drop)
        };
        (
            read(&ours),
            read(&another),
            Repository::with_ca(&place, &key).is_err(),
        )
    });
    let (ours, another, no_certificate) = read.await.expect("ends");
    assert_eq!(ours, Ok(()));
    assert!(
        matches!(&another, Err(FetchError::Failed(reason)) if reason.contains("certificate")),
        "{another:?}"
    );
    assert!(no_certificate);
    server.shutdown().await;
    cloud.shutdown().await;
}
