//! Ends of rollouts: deleted groups, devices and projects, late devices, and the reasons that are shown.

use crate::board;
use crate::device;
use crate::support;
use board::{Board, act, cloud, devices, group, save, until};
use device::eventually;
use iottly_protocol::release::Action;
use iottly_protocol::{Down, FirmwareReport, FirmwareState, Level, LogLine, Record, Report};
use serde_json::{Value, json};
use support::TestCloud;

async fn shown(cloud: &TestCloud, rollout: &Value) -> Value {
    let id = rollout.as_str().expect("an id");
    cloud
        .get(&format!("/v1.0/project/<project id>/rollouts/{id}"))
        .await
        .ok()["rollout"]
        .take()
}

async fn ends_as(cloud: &TestCloud, rollout: &Value, status: &str) -> Value {
    eventually(status, async || shown(cloud, rollout).await["status"] == status).await;
    shown(cloud, rollout).await
}

async fn delete(cloud: &TestCloud, path: &str) -> support::Answer {
    cloud
        .request(
            "DELETE",
            &format!("/v1.0/project/<project id>{path}"),
            &[&cloud.bearer()],
            b"",
        )
        .await
}

#[tokio::test]
async fn a_rollout_whose_group_is_deleted_is_cancelled_and_says_whom_it_told() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 3).await;
    save(&cloud, "one").await;
    let mut boards = Vec::new();
    for id in &ids {
        boards.push(Board::connect(&cloud, *id).await);
    }
    let begun = act(&cloud, &group, "flashfw", "").await.ok();
    let told = board::canary(&cloud, &begun["rollout"]).await;
    let at = ids.iter().position(|id| json!(id) == told).expect("ours");
    let canary = &mut boards[at];
    let directive = canary.directive(&cloud).await;
    canary.tell(&directive, "downloading", None).await;

    delete(&cloud, &format!("/deploymentgroups/{group}")).await.ok();
    let ended = ends_as(&cloud, &begun["rollout"], "cancelled").await;
    assert!(
        ended["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("group was deleted")),
        "{ended}"
    );
    assert_eq!(ended["devices"], 3);
    let withdrawn = canary.directive(&cloud).await;
    assert_eq!(
        (withdrawn.action, withdrawn.target.clone()),
        (Action::Cancel, directive.target.clone())
    );
    let states = devices(&cloud, &begun["rollout"]).await;
    assert_eq!(
        states.len(),
        1,
        "who was never told is not among them: {states:?}"
    );
    assert_eq!(
        (states[0]["device"].clone(), states[0]["state"].clone()),
        (told, json!("downloading"))
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_canary_that_is_moved_away_is_waited_for() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let begun = act(&cloud, &group, "flashfw", "").await.ok();
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "trial", None).await;
    delete(&cloud, &format!("/deploymentgroups/{group}/devices/{}", ids[0]))
        .await
        .ok();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(
        shown(&cloud, &begun["rollout"]).await["status"],
        "deploying",
        "it was told and has not ended"
    );
    board.tell(&directive, "committed", None).await;
    ends_as(&cloud, &begun["rollout"], "deployed").await;
    assert_eq!(devices(&cloud, &begun["rollout"]).await[0]["state"], "committed");

    // Cancelled by its own id, and with a device that is deleted.
    save(&cloud, "two").await;
    let body = json!({"devices": [ids[0]]}).to_string();
    cloud
        .post(
            &format!("/v1.0/project/<project id>/deploymentgroups/{group}/devices"),
            &body,
        )
        .await
        .ok();
    let cancelled = act(&cloud, &group, "flashfw", "").await.ok();
    let id = cancelled["rollout"].as_str().expect("an id");
    board.directive(&cloud).await;
    cloud
        .post(&format!("/v1.0/project/<project id>/rollouts/{id}/cancel"), "")
        .await
        .ok();
    assert_eq!(board.directive(&cloud).await.action, Action::Cancel);
    ends_as(&cloud, &cancelled["rollout"], "cancelled").await;
    eventually("it has ended", async || {
        cloud
            .post(&format!("/v1.0/project/<project id>/rollouts/{id}/cancel"), "")
            .await
            .status
            == 409
    })
    .await;
    let gone = act(&cloud, &group, "flashfw", "").await.ok();
    delete(&cloud, &format!("/device/{}", ids[0])).await.ok();
    let ended = ends_as(&cloud, &gone["rollout"], "cancelled").await;
    assert!(
        ended["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("no device is left")),
        "{ended}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_device_that_commits_after_all_clears_the_evidence() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let begun = act(
        &cloud,
        &group,
        "flashfw",
        r#"{"policy": {"silence_s": 1, "grace_ms": 500}}"#,
    )
    .await
    .ok();
    let directive = board.directive(&cloud).await;
    // Outside of its window the device may wait as long as it likes.
    board.tell(&directive, "deferred", Some("window")).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(
        shown(&cloud, &begun["rollout"]).await["status"],
        "deploying",
        "waiting for a window does not count as silence"
    );
    board.tell(&directive, "offered", None).await;
    let halted = ends_as(&cloud, &begun["rollout"], "halted").await;
    assert_eq!(halted["evidence"]["failures"][0]["reason"], "timeout", "{halted}");
    board.tell(&directive, "committed", None).await;
    eventually("the evidence is cleared", async || {
        shown(&cloud, &begun["rollout"]).await["evidence"]["failures"] == json!([])
    })
    .await;
    let cleared = shown(&cloud, &begun["rollout"]).await;
    assert!(
        cleared["evidence"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("resume")),
        "{cleared}"
    );
    assert_eq!(cleared["status"], "halted", "its owner decides");
    act(&cloud, &group, "resume", "").await.ok();
    until(&cloud, &group, "deployed").await;
    let audit = cloud
        .get("/v1.0/project/<project id>/auditlog")
        .await
        .ok()
        .to_string();
    assert_eq!(audit.matches("rollout.halt").count(), 1, "{audit}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn failures_in_a_trial_are_shown_and_wrong_dates_are_no_failure() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    let begun = act(&cloud, &group, "flashfw", "").await.ok();
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "rejected", Some("expired")).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let rollout = shown(&cloud, &begun["rollout"]).await;
    assert_eq!(
        rollout["status"], "deploying",
        "the release is not to blame for a clock: {rollout}"
    );
    assert_eq!(devices(&cloud, &begun["rollout"]).await[0]["failures"], 0);

    let begun = act(&cloud, &group, "flashfw", r#"{"force": true}"#).await.ok();
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "trial", None).await;
    for level in [Level::Error, Level::Info] {
        board
            .record(Record::Log(LogLine {
                level,
                text: "ReferenceError: x".into(),
                at_ms: 1,
                firmware: None,
            }))
            .await;
    }
    let detail = Some("unreachable".to_owned());
    board
        .say(Report::Firmware(FirmwareReport {
            state: FirmwareState::Restarting,
            digest: String::new(),
            detail,
            at_ms: 1,
        }))
        .await;
    let state = devices(&cloud, &begun["rollout"]).await[0].clone();
    assert_eq!(
        (state["faults"].clone(), state["fault"].clone()),
        (json!(2), json!("unreachable")),
        "{state}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_project_that_is_deleted_withdraws_what_is_being_deployed() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    act(&cloud, &group, "flashfw", "").await.ok();
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "downloading", None).await;
    delete(&cloud, "").await.ok();
    let withdrawn = loop {
        if let Down::Directive(directive) = board.raw.down().await {
            break directive.document.get().to_owned();
        }
    };
    let withdrawn: Value = serde_json::from_str(&withdrawn).expect("JSON");
    assert_eq!(withdrawn["signed"]["action"], "cancel", "{withdrawn}");
    cloud.shutdown().await;
}
