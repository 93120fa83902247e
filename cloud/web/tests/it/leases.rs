//! Developer leases over the API, with connected devices that report: what reaches which device, and when.

use std::collections::BTreeMap;
use std::time::Instant;

use iottly_manifest::Script;
use iottly_protocol::release::{
    DeveloperOrder, DeveloperReport, DeveloperState, LeaseId, OrderAction, Place, Reason,
};
use iottly_protocol::tuf::{Root, Schemes, sha256_hex};
use iottly_protocol::{DeviceId, Down, FirmwareMark, Level, LogLine, Record, Report};
use serde_json::{Value, json};

use crate::board::{Board, cloud, group};
use crate::support::TestCloud;

const LEASES: &str = "/v1.0/project/<project id>/leases";

/// Returns a script as a component.
fn script(code: &str) -> Vec<u8> {
    let script = Script {
        engine: "script 1".to_owned(),
        exact: None,
        files: BTreeMap::from([("main.js".to_owned(), code.to_owned())]),
        sections: Vec::new(),
    };
    script.component("name = \"a\"\n").expect("a component")
}

async fn open(cloud: &TestCloud, devices: &[DeviceId], hours: u32) -> crate::support::Answer {
    let body = json!({"devices": devices, "hours": hours, "approve": ["pwm"]});
    cloud.post(LEASES, &body.to_string()).await
}

async fn opened(cloud: &TestCloud, devices: &[DeviceId]) -> String {
    let answer = open(cloud, devices, 8).await.ok();
    answer["lease"]["id"].as_str().expect("an id").to_owned()
}

async fn run(cloud: &TestCloud, lease: &str, component: &[u8]) -> crate::support::Answer {
    let path = format!("{LEASES}/{lease}/script");
    let bearer = cloud.bearer();
    cloud.request("PUT", &path, &[&bearer], component).await
}

async fn end(cloud: &TestCloud, lease: &str) -> Value {
    let bearer = cloud.bearer();
    let answer = cloud
        .request("DELETE", &format!("{LEASES}/{lease}"), &[&bearer], b"")
        .await;
    answer.ok()["lease"].clone()
}

/// Returns the next order to a device, verified as the device verifies it, and its script.
async fn order(cloud: &TestCloud, board: &mut Board) -> (DeveloperOrder, Option<Vec<u8>>) {
    let signed = loop {
        if let Down::Developer(signed) = board.raw.down().await {
            break signed;
        }
    };
    let repositories = cloud.services.rollouts.repositories();
    let path = repositories.first_root(cloud.tenant.scope.project);
    let root: Value = serde_json::from_slice(&std::fs::read(path).expect("a root")).expect("json");
    let root: Root = serde_json::from_value(root["signed"].clone()).expect("a root");
    let order = DeveloperOrder::verify(signed.document.get().as_bytes(), &root, Schemes::ED25519)
        .expect("signed by the project's key");
    (order, signed.script().expect("base64"))
}

fn report(order: &DeveloperOrder, state: DeveloperState) -> DeveloperReport {
    DeveloperReport {
        order: order.id.clone(),
        lease: Some(order.lease),
        sha256: order.sha256.clone(),
        state,
        reason: None,
        detail: None,
        place: None,
        ms: Some(3),
        at_ms: 5,
    }
}

#[expect(clippy::print_stdout, reason = "the test prints what it measured")]
#[tokio::test]
async fn a_script_reaches_the_devices_of_the_lease_at_once_and_its_end_too() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 2).await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let lease = opened(&cloud, &ids[..1]).await;
    let component = script("send_msg({});");
    run(&cloud, &lease, &component).await.ok();
    let (first, bytes) = order(&cloud, &mut board).await;
    assert_eq!(
        (first.action, first.devices.as_slice()),
        (OrderAction::Run, &ids[..1])
    );
    assert_eq!(bytes.as_deref(), Some(component.as_slice()));
    assert_eq!(
        (first.sha256.clone(), first.size),
        (sha256_hex(&component), component.len() as u64)
    );
    assert_eq!(first.approved, ["pwm"]);
    board
        .say(Report::Developer(Box::new(report(
            &first,
            DeveloperState::Running,
        ))))
        .await;
    run(&cloud, &lease, &script("broken(")).await.ok();
    let (second, _) = order(&cloud, &mut board).await;
    assert!(second.counter > first.counter);
    let failure = DeveloperReport {
        reason: Some(Reason::Invalid),
        detail: Some("unexpected end of input".into()),
        place: Some(Place {
            file: "main.js".into(),
            line: 1,
            column: 8,
        }),
        ..report(&second, DeveloperState::Failed)
    };
    board.say(Report::Developer(Box::new(failure))).await;
    let shown = cloud.get(&format!("{LEASES}/{lease}")).await.ok();
    let known = &shown["lease"]["devices"][0]["report"];
    assert_eq!(
        (&known["state"], &known["reason"], &known["line"], &known["file"]),
        (&json!("failed"), &json!("invalid"), &json!(1), &json!("main.js"))
    );
    let asked = Instant::now();
    assert_eq!(end(&cloud, &lease).await["state"], "revoked");
    let (last, bytes) = order(&cloud, &mut board).await;
    println!("end of the lease at the device after {:?}", asked.elapsed());
    assert_eq!((last.action, bytes), (OrderAction::End, None));
    assert!(last.counter > second.counter);
    assert_eq!(end(&cloud, &lease).await["state"], "revoked", "ended once");
    let error = run(&cloud, &lease, &component).await.error(409);
    assert!(error.contains("has ended"), "{error}");
    let audit = cloud
        .services
        .store
        .audit(cloud.tenant.scope.project, None, 50)
        .await;
    let audit = format!("{:?}", audit.expect("reads"));
    for action in ["lease.open", "lease.run", "lease.end"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    assert!(!audit.contains("send_msg"), "no code in the audit log");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_that_connects_is_sent_the_newest_order_under_a_new_counter() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 2).await;
    let lease = opened(&cloud, &ids).await;
    run(&cloud, &lease, &script("1")).await.ok();
    let newest = script("2");
    let sent = run(&cloud, &lease, &newest).await.ok();
    let mut board = Board::connect(&cloud, ids[0]).await;
    let (first, bytes) = order(&cloud, &mut board).await;
    assert_eq!(bytes.as_deref(), Some(newest.as_slice()), "not an older one");
    assert_ne!(json!(first.id), sent["lease"]["order"]["id"]);
    // A device that was restarted has forgotten the script, and follows no counter twice.
    let mut board = Board::connect(&cloud, ids[0]).await;
    let (again, _) = order(&cloud, &mut board).await;
    assert!(again.counter > first.counter);
    assert_eq!(again.sha256, first.sha256);
    end(&cloud, &lease).await;
    assert_eq!(order(&cloud, &mut board).await.0.action, OrderAction::End);
    board
        .say(Report::Developer(Box::new(report(&again, DeveloperState::Ended))))
        .await;
    // The other device was offline at the end.
    let mut other = Board::connect(&cloud, ids[1]).await;
    assert_eq!(order(&cloud, &mut other).await.0.action, OrderAction::End);
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_bounds_of_a_lease_are_enforced_by_name() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 17).await;
    for (devices, hours, reason) in [
        (&ids[..0], 8, "1 to 16 devices, not 0"),
        (&ids[..17], 8, "1 to 16 devices, not 17"),
        (&ids[..1], 9, "1 to 8 hours, not 9"),
        (&ids[..1], 0, "1 to 8 hours, not 0"),
    ] {
        let error = open(&cloud, devices, hours).await.error(400);
        assert!(error.contains(reason), "{error}");
    }
    let error = open(&cloud, &[ids[0], ids[0]], 8).await.error(400);
    assert!(error.contains("twice"), "{error}");
    open(&cloud, &[DeviceId::random()], 8).await.error(404);
    let lease = opened(&cloud, &ids[..1]).await;
    let error = open(&cloud, &ids[..2], 8).await.error(409);
    assert!(error.contains(&lease), "{error}");
    for device in &ids[1..16] {
        opened(&cloud, &[*device]).await;
    }
    let error = open(&cloud, &ids[16..], 8).await.error(409);
    assert!(error.contains("limit of 16"), "{error}");
    run(&cloud, &lease, b"\0asm\x0d\0\x01\0").await.error(400);
    run(&cloud, &lease, &script(&"x".repeat(1 << 20)))
        .await
        .error(413);
    let unknown = LeaseId::random().to_string();
    run(&cloud, &unknown, &script("1")).await.error(404);
    end(&cloud, &lease).await;
    opened(&cloud, &ids[16..]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_events_of_a_lease_are_those_of_its_devices_with_the_code_that_made_them() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 2).await;
    let (mut board, mut other) = (
        Board::connect(&cloud, ids[0]).await,
        Board::connect(&cloud, ids[1]).await,
    );
    let lease = opened(&cloud, &ids[..1]).await;
    let path = format!("{LEASES}/{lease}/events");
    let bearer = cloud.bearer();
    let mut events = cloud.listen(&path, &[&bearer]).await;
    events.read_until("watching").await;
    let component = script("1");
    run(&cloud, &lease, &component).await.ok();
    let (order, _) = order(&cloud, &mut board).await;
    let firmware = FirmwareMark::of(&order.sha256);
    let line = |text: &str| {
        Record::Log(LogLine {
            level: Level::Warn,
            text: text.into(),
            at_ms: 5,
            firmware,
        })
    };
    other.record(line("of another device")).await;
    board.record(line("two\nlines")).await;
    board
        .say(Report::Developer(Box::new(report(
            &order,
            DeveloperState::Running,
        ))))
        .await;
    let mark = firmware.expect("a mark").to_string();
    let seen = events.read_until(r#""state":"running""#).await;
    assert!(
        seen.contains(&format!(
            r#""firmware":"{mark}","level":"warn","text":"two\nlines""#
        )),
        "{seen}"
    );
    assert!(
        seen.contains(&format!(
            r#""sha256":"{}","state":"running","ms":3"#,
            order.sha256
        )),
        "{seen}"
    );
    assert!(!seen.contains("of another device"), "{seen}");
    cloud
        .store(
            iottly_core::model::Scope {
                project: cloud.tenant.scope.project,
                device: ids[0],
            },
            1_492_597_597_019,
            &["{\"n\":\n 1.50}"],
        )
        .await;
    let seen = events.read_until("event: message").await;
    assert!(!seen.contains("event: lagged"), "{seen}");
    events.read_until(r#""payload":{"n":  1.50}"#).await;
    drop(events);
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_project_without_the_key_is_told_the_command() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 1).await;
    let project = cloud.tenant.scope.project;
    // The root of a project from before there were leases.
    let repositories = cloud.services.rollouts.repositories();
    cloud.services.rollouts.prepare(project).await.expect("made");
    let path = repositories.first_root(project);
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).expect("a root")).expect("json");
    root["signed"]["x-iottly-roles"]
        .as_object_mut()
        .expect("roles")
        .remove("developer");
    std::fs::write(&path, root.to_string()).expect("written");
    let error = open(&cloud, &ids, 8).await.error(409);
    assert!(error.contains("iottly lease allow"), "{error}");
    let key = "/v1.0/project/<project id>/leasekey";
    assert_eq!(cloud.post(key, "").await.ok()["added"], true);
    assert_eq!(cloud.post(key, "").await.ok()["added"], false);
    opened(&cloud, &ids).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_end_is_noted_when_nothing_was_run_and_a_device_that_knows_no_lease_is_done() {
    let cloud = cloud().await;
    let (_, ids) = group(&cloud, 1).await;
    let lease = opened(&cloud, &ids).await;
    assert_eq!(
        end(&cloud, &lease).await["order"],
        Value::Null,
        "there was nothing to end"
    );
    let lease = opened(&cloud, &ids).await;
    run(&cloud, &lease, &script("1")).await.ok();
    end(&cloud, &lease).await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let (last, _) = order(&cloud, &mut board).await;
    let refused = DeveloperReport {
        reason: Some(Reason::NotLeased),
        ..report(&last, DeveloperState::Refused)
    };
    board.say(Report::Developer(Box::new(refused))).await;
    let shown = cloud.get(&format!("{LEASES}/{lease}")).await.ok();
    assert_eq!(shown["lease"]["devices"][0]["report"]["state"], "ended");
    // It is not sent the order again: the next that arrives is of another lease.
    let mut board = Board::connect(&cloud, ids[0]).await;
    let next = opened(&cloud, &ids).await;
    run(&cloud, &next, &script("2")).await.ok();
    assert_eq!(order(&cloud, &mut board).await.0.lease.to_string(), next);
    cloud.shutdown().await;
}
