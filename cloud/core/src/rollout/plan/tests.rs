//! Tests of the plan: canary, waves, retries, evidence, pause and cancel.

use super::*;
use crate::model::Wave;

const START: RolloutProgress = RolloutProgress {
    intent: RolloutIntent::Run,
    halted: false,
    soaking: None,
};

fn members(progresses: &[DeviceProgress]) -> Vec<Member> {
    let member = |(at, progress): (usize, &DeviceProgress)| Member {
        device: DeviceId::from_bytes([u8::try_from(at).expect("few"); 16]),
        rank: at as u64,
        online: true,
        progress: *progress,
    };
    progresses.iter().enumerate().map(member).collect()
}

fn sent(plan: &Plan) -> Vec<u8> {
    let number = |step: &Step| match step {
        Step::Install(device) | Step::Cancel(device) => device.as_bytes()[0],
    };
    plan.steps.iter().map(number).collect()
}

const FAILED: DeviceProgress = DeviceProgress::Failed {
    reason: Reason::CrashLoop,
    times: 1,
};
const UNDER_WAY: DeviceProgress = DeviceProgress::UnderWay {
    since: 0,
    cancellable: true,
    failures: 0,
};

#[test]
fn the_canary_comes_first_and_its_success_opens_the_rest() {
    let policy = Policy::default();
    let mut all = members(&[DeviceProgress::Pending; 5]);
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [0]);
    all[0].progress = UNDER_WAY;
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [0u8; 0]);
    all[0].progress = DeviceProgress::Committed;
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [1, 2, 3, 4]);
    // Planning again, after the executor stopped in between, notifies no device twice.
    all[1].progress = UNDER_WAY;
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [2, 3, 4]);
    all.iter_mut()
        .for_each(|member| member.progress = DeviceProgress::Committed);
    assert_eq!(plan(&policy, &all, &START, 0).status, RolloutStatus::Deployed);
}

#[test]
fn a_failed_canary_halts_with_evidence_and_stays_halted() {
    let mut all = members(&[DeviceProgress::Pending; 3]);
    all[0].progress = FAILED;
    let halted = plan(&Policy::default(), &all, &START, 0);
    assert_eq!((halted.status, halted.steps.len()), (RolloutStatus::Halted, 0));
    let evidence = halted.evidence.expect("evidence");
    assert_eq!(evidence.failures, [(all[0].device, Reason::CrashLoop)]);
    all[0].progress = DeviceProgress::Committed;
    assert_eq!(
        plan(&Policy::default(), &all, &halted.progress, 0).status,
        RolloutStatus::Halted
    );
}

#[test]
fn evidence_is_cleared_by_a_device_that_commits_after_all_and_a_resume_goes_on() {
    let mut all = members(&[UNDER_WAY, DeviceProgress::Pending]);
    let halted = plan(&Policy::default(), &all, &START, 7201);
    assert_eq!(halted.evidence.expect("evidence").failures.len(), 1);
    all[0].progress = DeviceProgress::Committed;
    let late = plan(&Policy::default(), &all, &halted.progress, 7300);
    let evidence = late.evidence.expect("still says why");
    assert_eq!(
        (late.status, late.steps.len(), evidence.failures.len()),
        (RolloutStatus::Halted, 0, 0)
    );
    assert!(evidence.detail.contains("resume"), "{}", evidence.detail);
    assert_eq!(
        sent(&plan(&Policy::default(), &all, &START, 7300)),
        [1],
        "a resumed rollout continues"
    );
}

#[test]
fn retries_come_before_a_failure_counts() {
    let policy = Policy {
        retries: 1,
        ..Policy::default()
    };
    let mut all = members(&[FAILED, DeviceProgress::Pending]);
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [0]);
    all[0].progress = DeviceProgress::Failed {
        reason: Reason::Timeout,
        times: 2,
    };
    assert_eq!(plan(&policy, &all, &START, 0).status, RolloutStatus::Halted);
}

#[test]
fn waves_wait_for_each_other_and_soak() {
    let policy = Policy {
        canary: 1,
        waves: vec![Wave::Count(2)],
        soak_s: 60,
        ..Policy::default()
    };
    let mut all = members(&[DeviceProgress::Pending; 6]);
    all[0].progress = DeviceProgress::Committed;
    let first = plan(&policy, &all, &START, 100);
    assert_eq!(sent(&first), [0u8; 0]);
    assert_eq!(sent(&plan(&policy, &all, &first.progress, 159)), [0u8; 0]);
    let second = plan(&policy, &all, &first.progress, 160);
    assert_eq!(sent(&second), [1, 2]);
    all[1].progress = DeviceProgress::Committed;
    all[2].progress = DeviceProgress::Committed;
    let third = plan(&policy, &all, &second.progress, 200);
    assert_eq!(sent(&third), [0u8; 0]);
    assert_eq!(sent(&plan(&policy, &all, &third.progress, 260)), [3, 4, 5]);
}

#[test]
fn limits_pins_and_absence_are_kept() {
    let mut all = members(&[
        DeviceProgress::Committed,
        UNDER_WAY,
        DeviceProgress::Pending,
        DeviceProgress::Pending,
        DeviceProgress::Pending,
    ]);
    let policy = Policy {
        concurrency: 2,
        pins: vec![all[3].device],
        ..Policy::default()
    };
    all[2].online = false;
    assert_eq!(
        sent(&plan(&policy, &all, &START, 0)),
        [4],
        "one place is free; 2 is away and 3 is pinned"
    );
    all[1].progress = DeviceProgress::Committed;
    all[4].progress = DeviceProgress::Committed;
    let waiting = plan(&policy, &all, &START, 0);
    assert_eq!(
        (waiting.status, sent(&waiting)),
        (RolloutStatus::Deploying, vec![])
    );
    all[2].online = true;
    assert_eq!(sent(&plan(&policy, &all, &START, 0)), [2]);
}

#[test]
fn silence_is_a_failure() {
    let all = members(&[UNDER_WAY, DeviceProgress::Pending]);
    assert_eq!(
        plan(&Policy::default(), &all, &START, 7200).status,
        RolloutStatus::Deploying
    );
    let halted = plan(&Policy::default(), &all, &START, 7201);
    assert_eq!(halted.evidence.expect("evidence").failures[0].1, Reason::Timeout);
}

#[test]
fn pause_tells_nobody_and_cancel_withdraws_what_can_be() {
    let mut all = members(&[UNDER_WAY, UNDER_WAY, DeviceProgress::Pending]);
    all[1].progress = DeviceProgress::UnderWay {
        since: 0,
        cancellable: false,
        failures: 0,
    };
    let paused = plan(
        &Policy::default(),
        &all,
        &RolloutProgress {
            intent: RolloutIntent::Pause,
            ..START
        },
        0,
    );
    assert_eq!((paused.status, paused.steps.len()), (RolloutStatus::Paused, 0));
    let cancelled = plan(
        &Policy::default(),
        &all,
        &RolloutProgress {
            intent: RolloutIntent::Cancel,
            ..START
        },
        0,
    );
    assert_eq!(
        (cancelled.status, cancelled.steps),
        (RolloutStatus::Cancelled, vec![Step::Cancel(all[0].device)])
    );
}

#[test]
fn an_order_is_kept_within_a_rollout_and_another_in_the_next() {
    let devices: Vec<_> = (0..50u8).map(|n| DeviceId::from_bytes([n; 16])).collect();
    let order = |rollout: &str| {
        let mut ranked: Vec<_> = devices
            .iter()
            .map(|device| (rank(rollout, *device), *device))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, device)| device).collect::<Vec<_>>()
    };
    assert_eq!(order("r1"), order("r1"));
    assert_ne!(order("r1"), order("r2"));
}
