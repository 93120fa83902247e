//! Enrolment: codes, keys of devices, and the secrets of broker logins.

use iottly_core::enrol::{AGAIN_MS, Admission, HAND_OVER_MS, Refusal, RenewalRefusal, SECRET_MS};
use iottly_core::model::{Change, EnrolmentKey, EnrolmentKeyId, NewEnrolmentKey, Scope, SecretHash, UnixMs};
use iottly_protocol::enroll::{
    BoardFacts, DeviceKey, DeviceSigner, EnrollRequest, PairCode, ProvenEnrollment, SealingSecret,
};
use iottly_protocol::{DeviceId, ProjectId};
use iottly_store::{Enrolment, Grant, NewSecret, Result, Store};

use super::{Setup, principal, project};

const NOW: UnixMs = 1_800_000_000_000;
const DAY: UnixMs = 24 * 60 * 60 * 1000;

fn code(byte: u8) -> PairCode {
    PairCode::from_bytes([byte; 16])
}

fn signer(byte: u8) -> DeviceSigner {
    DeviceSigner::from_secret(&[byte; 32])
}

/// Request of the board with this key, which has the same MAC address as all others here.
fn request(code: PairCode, key: u8, previous: Option<u8>) -> ProvenEnrollment {
    let board = BoardFacts {
        name: Some(format!("board {key}")),
        mac: Some("00:00:5E:00:53:01".into()),
        hardware: Some("ab".repeat(32)),
        profile: "generic".into(),
        agent: "0.2.0".into(),
    };
    let previous = previous.map(signer);
    EnrollRequest::signed(
        Some(code),
        &signer(key),
        &SealingSecret::from_secret([key; 32]),
        board,
        previous.as_ref(),
    )
    .proven()
    .expect("signed")
}

fn secret(byte: u8, now: UnixMs) -> NewSecret {
    NewSecret {
        hash: SecretHash::of(&[byte]),
        nonce: [byte; 16],
        expires: now + SECRET_MS,
    }
}

/// Posts a request; its secret and the id of a new device are made of `byte`.
async fn enrol(
    store: &dyn Store,
    request: &ProvenEnrollment,
    byte: u8,
    now: UnixMs,
) -> Result<std::result::Result<(Scope, Admission), Refusal>> {
    let hash = request
        .code()
        .map(|code| SecretHash::of(code.to_string().as_bytes()));
    let grant = Grant {
        device: DeviceId::from_bytes([byte; 16]),
        secret: secret(byte, now),
        from: "192.0.2.1".into(),
    };
    let decided = store.enrol(request, hash, &grant, now).await?;
    Ok(decided.map(|enrolment| match enrolment {
        Enrolment::Admitted(scope, admission) => (scope, admission),
        Enrolment::Waiting(_) => panic!("a person has to decide"),
    }))
}

/// Returns true if the device can log in with the secret that was made of `byte`.
async fn logs_in(store: &dyn Store, device: DeviceId, byte: u8, now: UnixMs) -> bool {
    let found = store.login_secrets(device, now).await.expect("reads");
    found.is_some_and(|(_, hashes)| hashes.contains(&SecretHash::of(&[byte])))
}

async fn with_code(store: &dyn Store, scope: Scope, given: PairCode, expires: UnixMs) {
    let change = Change::ReplaceDevice {
        device: scope.device,
        code: given.to_string().into(),
        expires,
    };
    store
        .change(scope.project, &principal(scope), change, NOW)
        .await
        .expect("made");
}

fn key(given: PairCode, max_uses: u64) -> NewEnrolmentKey {
    NewEnrolmentKey {
        hash: SecretHash::of(given.to_string().as_bytes()),
        key: EnrolmentKey {
            id: EnrolmentKeyId::from_bytes([7; 16]),
            name: "line 3".into(),
            prefix: given.to_string()[..6].to_owned(),
            created: NOW,
            expires: Some(NOW + 90 * DAY),
            uses: 0,
            max_uses,
            group: None,
            tags: vec!["fleet".into()],
            ephemeral_ms: None,
            waiting: false,
        },
    }
}

async fn audited(store: &dyn Store, project: ProjectId) -> Vec<(String, String)> {
    let entries = store.audit(project, None, 100).await.expect("reads");
    entries
        .into_iter()
        .filter(|entry| entry.action.starts_with("device.enrol"))
        .map(|entry| (entry.action, entry.detail))
        .collect()
}

pub(crate) async fn a_pair_code_is_used_once_and_by_one_board(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let device = scope.device;
    with_code(store, scope, code(1), NOW + DAY).await;
    let wrong = enrol(store, &request(code(2), 1, None), 1, NOW)
        .await
        .expect("decides");
    assert_eq!(wrong, Err(Refusal::Unknown));
    let late = enrol(store, &request(code(1), 1, None), 1, NOW + DAY)
        .await
        .expect("decides");
    assert_eq!(late, Err(Refusal::Expired));
    assert!(store.device_identity(device).await.expect("reads").is_none());

    let paired = enrol(store, &request(code(1), 1, None), 1, NOW)
        .await
        .expect("decides");
    assert_eq!(paired, Ok((scope, Admission::Pair(scope))));
    assert!(logs_in(store, device, 1, NOW).await);
    let (_, hashes) = store
        .login_secrets(device, NOW)
        .await
        .expect("reads")
        .expect("known");
    assert_eq!(hashes, [SecretHash::of(&[1])], "the secret from before is over");
    let identity = store
        .device_identity(device)
        .await
        .expect("reads")
        .expect("enrolled");
    assert_eq!((identity.scope, identity.device_key), (scope, signer(1).key()));
    let shown = store.device(scope).await.expect("reads").expect("known");
    assert_eq!(
        (shown.mac_address.as_deref(), shown.pair_code),
        (Some("00:00:5E:00:53:01"), Some(code(1).to_string()))
    );

    let again = enrol(store, &request(code(1), 1, None), 2, NOW + AGAIN_MS)
        .await
        .expect("decides");
    assert_eq!(again, Ok((scope, Admission::Again(scope))), "its answer was lost");
    assert!(logs_in(store, device, 2, NOW + AGAIN_MS).await && !logs_in(store, device, 1, NOW).await);
    let kept = enrol(store, &request(code(1), 1, None), 4, NOW + AGAIN_MS + 1)
        .await
        .expect("decides");
    assert_eq!(kept, Err(Refusal::Enrolled), "a request that was kept for later");
    let other = enrol(store, &request(code(1), 3, None), 3, NOW)
        .await
        .expect("decides");
    assert_eq!(other, Err(Refusal::Used));
    let log = audited(store, scope.project).await;
    let reasons: Vec<_> = log
        .iter()
        .map(|(action, detail)| format!("{action}: {detail}"))
        .collect();
    assert!(
        reasons
            .iter()
            .any(|entry| entry.contains("used by another board"))
            && reasons.iter().any(|entry| entry.contains("has expired"))
            && reasons
                .iter()
                .any(|entry| entry.starts_with("device.enrol: paired")),
        "{reasons:?}"
    );
    assert!(
        !reasons.concat().contains(&code(1).to_string()),
        "no code in the log"
    );
}

pub(crate) async fn a_replaced_board_is_locked_out(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    with_code(store, scope, code(1), NOW + DAY).await;
    enrol(store, &request(code(1), 1, None), 1, NOW)
        .await
        .expect("decides")
        .expect("paired");
    with_code(store, scope, code(2), NOW + DAY).await;
    assert!(
        logs_in(store, scope.device, 1, NOW).await,
        "until the new board is there"
    );
    let new = enrol(store, &request(code(2), 2, None), 2, NOW)
        .await
        .expect("decides");
    assert_eq!(new, Ok((scope, Admission::Pair(scope))));
    assert!(!logs_in(store, scope.device, 1, NOW).await && logs_in(store, scope.device, 2, NOW).await);
    let identity = store
        .device_identity(scope.device)
        .await
        .expect("reads")
        .expect("enrolled");
    assert_eq!(identity.device_key, signer(2).key());
    let old = enrol(store, &request(code(1), 1, None), 3, NOW)
        .await
        .expect("decides");
    assert_eq!(old, Err(Refusal::Unknown));
}

pub(crate) async fn devices_outlive_their_enrolment_key(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let new = key(code(9), 2);
    let id = new.key.id;
    store
        .change(
            scope.project,
            &principal(scope),
            Change::CreateEnrolmentKey(Box::new(new)),
            NOW,
        )
        .await
        .expect("made");
    let mut devices = Vec::new();
    for byte in [11, 12] {
        let (made, admission) = enrol(store, &request(code(9), byte, None), byte, NOW)
            .await
            .expect("decides")
            .expect("created");
        assert!(matches!(admission, Admission::Create(_)));
        devices.push(made);
    }
    assert_ne!(
        devices[0], devices[1],
        "the same MAC address does not make it the same device"
    );
    let made = store.device(devices[0]).await.expect("reads").expect("known");
    assert_eq!(
        (made.name.as_str(), &made.tags[..]),
        ("board 11", &["fleet".to_owned()][..])
    );
    let full = enrol(store, &request(code(9), 13, None), 13, NOW)
        .await
        .expect("decides");
    assert_eq!(full, Err(Refusal::Exhausted));
    assert_eq!(
        store.enrolment_keys(scope.project).await.expect("reads")[0].uses,
        2
    );

    // Day 91: the key is over, and its devices renew their secrets as before.
    let later = NOW + 91 * DAY;
    let over = enrol(store, &request(code(9), 13, None), 13, later)
        .await
        .expect("decides");
    assert_eq!(over, Err(Refusal::Expired));
    let renewed = store
        .renew_secret(
            devices[0],
            key_of(store, devices[0]).await,
            &secret(20, later),
            later,
        )
        .await
        .expect("renews");
    assert_eq!(renewed, Ok(()));
    assert!(logs_in(store, devices[0].device, 20, later).await);
    store
        .change(
            scope.project,
            &principal(scope),
            Change::DeleteEnrolmentKey(id),
            later,
        )
        .await
        .expect("deleted");
    let renewed = store
        .renew_secret(
            devices[1],
            key_of(store, devices[1]).await,
            &secret(21, later),
            later,
        )
        .await
        .expect("renews");
    assert_eq!(renewed, Ok(()));
    assert!(logs_in(store, devices[1].device, 21, later).await);
    assert!(
        store
            .device_identity(devices[1].device)
            .await
            .expect("reads")
            .is_some()
    );
}

pub(crate) async fn an_id_is_kept_by_an_earlier_key_and_by_nothing_else(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let new = key(code(9), 10);
    store
        .change(
            scope.project,
            &principal(scope),
            Change::CreateEnrolmentKey(Box::new(new)),
            NOW,
        )
        .await
        .expect("made");
    let first = enrol(store, &request(code(9), 11, None), 11, NOW)
        .await
        .expect("decides")
        .expect("created")
        .0;
    // The attacker knows the MAC address, the hardware hash and the name, and holds the key of the fleet.
    let stranger = enrol(store, &request(code(9), 66, None), 66, NOW)
        .await
        .expect("decides")
        .expect("created")
        .0;
    assert_ne!(stranger.device, first.device);
    assert!(
        logs_in(store, first.device, 11, NOW).await,
        "the device is not disturbed"
    );
    let rekeyed = enrol(store, &request(code(9), 12, Some(11)), 12, NOW)
        .await
        .expect("decides");
    assert_eq!(rekeyed, Ok((first, Admission::Rekey(first))));
    assert!(logs_in(store, first.device, 12, NOW).await && !logs_in(store, first.device, 11, NOW).await);

    // A key of one project is nothing in another.
    project(store, 2).await;
    let foreign = Scope {
        project: ProjectId::from_bytes([2; 12]),
        device: DeviceId::from_bytes([2; 16]),
    };
    super::device(store, foreign).await.expect("created");
    with_code(store, foreign, code(5), NOW + DAY).await;
    let taken = enrol(store, &request(code(5), 12, None), 30, NOW)
        .await
        .expect("decides");
    assert_eq!(taken, Err(Refusal::KeyTaken), "a key is that of one device");
    let moved = enrol(store, &request(code(5), 31, Some(12)), 31, NOW)
        .await
        .expect("decides");
    assert_eq!(
        moved,
        Ok((foreign, Admission::Pair(foreign))),
        "the code says which device"
    );
    assert!(logs_in(store, first.device, 12, NOW).await);
}

async fn key_of(store: &dyn Store, scope: Scope) -> DeviceKey {
    let identity = store.device_identity(scope.device).await.expect("reads");
    identity.expect("enrolled").device_key
}

pub(crate) async fn a_former_secret_ends_after_the_hand_over(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    with_code(store, scope, code(1), NOW + DAY).await;
    enrol(store, &request(code(1), 1, None), 1, NOW)
        .await
        .expect("decides")
        .expect("paired");
    let half = NOW + SECRET_MS / 2;
    let renew = async |byte, at| {
        store
            .renew_secret(scope, signer(1).key(), &secret(byte, at), at)
            .await
            .expect("renews")
    };
    let valid = async |byte, at| logs_in(store, scope.device, byte, at).await;
    let replaced = store
        .renew_secret(scope, signer(2).key(), &secret(9, half), half)
        .await
        .expect("decides");
    assert_eq!(
        replaced,
        Err(RenewalRefusal::Replaced),
        "another board has taken the place since the proof was checked"
    );
    assert_eq!(renew(2, half).await, Ok(()));
    assert!(
        valid(1, half).await && valid(2, half).await,
        "both during the hand-over"
    );
    let after = half + HAND_OVER_MS;
    assert!(
        !valid(1, after).await && valid(2, after).await,
        "a stolen copy of the former one is worthless"
    );
    assert_eq!(renew(2, after).await, Err(RenewalRefusal::Replayed));
    assert_eq!(renew(3, after).await, Ok(()));
    assert_eq!(renew(4, after + 1).await, Ok(()));
    assert_eq!(renew(5, after + 2).await, Err(RenewalRefusal::TooOften));
    assert!(!valid(2, after + 2).await && valid(3, after + 2).await && valid(4, after + 2).await);
    assert!(
        !valid(4, after + 1 + SECRET_MS).await,
        "a secret ends without a renewal as well"
    );

    store
        .change(
            scope.project,
            &principal(scope),
            Change::DeleteDevice(scope.device),
            after,
        )
        .await
        .expect("deleted");
    assert_eq!(
        store.login_secrets(scope.device, after).await.expect("reads"),
        None
    );
    assert!(
        store
            .device_identity(scope.device)
            .await
            .expect("reads")
            .is_none()
    );
}

pub(crate) async fn devices_of_an_ephemeral_key_are_found_when_abandoned(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let mut new = key(code(9), 10);
    new.key.ephemeral_ms = Some(DAY);
    store
        .change(
            scope.project,
            &principal(scope),
            Change::CreateEnrolmentKey(Box::new(new)),
            NOW,
        )
        .await
        .expect("made");
    let made = enrol(store, &request(code(9), 11, None), 11, NOW)
        .await
        .expect("decides")
        .expect("created")
        .0;
    assert!(
        store
            .abandoned_devices(NOW + DAY - 1, 10)
            .await
            .expect("reads")
            .is_empty()
    );
    assert_eq!(
        store.abandoned_devices(NOW + DAY, 10).await.expect("reads"),
        [made]
    );
    assert!(
        store
            .abandoned_devices(NOW + DAY, 0)
            .await
            .expect("reads")
            .is_empty()
    );
    // The list may be old: the deletion looks again.
    let delete = async |now| {
        let change = Change::DeleteAbandoned(made.device);
        let changed = store.change(made.project, &principal(made), change, now).await;
        changed.expect("decides").affected
    };
    assert_eq!(delete(NOW + DAY - 1).await, 0);
    assert!(store.device(made).await.expect("reads").is_some());
    assert!(delete(NOW + DAY).await > 0);
    assert!(store.device(made).await.expect("reads").is_none());
}

pub(crate) async fn a_key_of_the_cloud_is_made_once(setup: Setup) {
    let one = setup.store.cloud_key("challenges", [1; 32]).await.expect("made");
    let two = setup
        .another()
        .await
        .cloud_key("challenges", [2; 32])
        .await
        .expect("read");
    assert_eq!((one, two), ([1; 32], [1; 32]));
}
