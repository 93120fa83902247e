//! Boards that a person approves.

use iottly_core::enrol::{Admission, FETCH_MS, Refusal};
use iottly_core::model::{
    Approval, Change, EnrolmentKey, EnrolmentKeyId, NewEnrolmentKey, Scope, SecretHash, UnixMs,
};
use iottly_protocol::DeviceId;
use iottly_protocol::enroll::{
    BoardFacts, DeviceSigner, EnrollRequest, PairCode, ProvenEnrollment, SealingSecret,
};
use iottly_store::{Enrolment, Grant, NewSecret, Store, StoreError};

use super::{Setup, principal};

const NOW: UnixMs = 1_800_000_000_000;

fn request(code: Option<PairCode>, key: u8) -> ProvenEnrollment {
    EnrollRequest::signed(
        code,
        &DeviceSigner::from_secret(&[key; 32]),
        &SealingSecret::from_secret([key; 32]),
        BoardFacts {
            name: Some(format!("board {key}")),
            ..BoardFacts::default()
        },
        None,
    )
    .proven()
    .expect("signed")
}

fn hash(code: PairCode) -> SecretHash {
    SecretHash::of(code.to_string().as_bytes())
}

async fn enrol(store: &dyn Store, request: &ProvenEnrollment, now: UnixMs) -> Result<Enrolment, Refusal> {
    let grant = Grant {
        device: DeviceId::random(),
        secret: NewSecret {
            hash: SecretHash([1; 32]),
            nonce: *DeviceId::random().as_bytes(),
            expires: now + 1,
        },
        from: "192.0.2.1".into(),
    };
    let code = request.code().map(hash);
    store.enrol(request, code, &grant, now).await.expect("decides")
}

/// Approves a board as the device with this id.
async fn approve(
    store: &dyn Store,
    scope: Scope,
    request: &ProvenEnrollment,
    device: u8,
) -> Result<Scope, StoreError> {
    let device = DeviceId::from_bytes([device; 16]);
    let approval = Approval {
        device,
        request: request.clone(),
        key: request.code().map(hash),
        name: None,
        group: None,
    };
    let change = Change::ApproveBoard(Box::new(approval));
    store
        .change(scope.project, &principal(scope), change, NOW)
        .await?;
    Ok(Scope {
        project: scope.project,
        device,
    })
}

pub(crate) async fn a_board_without_a_code_waits_and_fetches_its_secret(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let board = request(None, 1);
    assert_eq!(enrol(store, &board, NOW).await, Ok(Enrolment::Waiting(None)));
    assert_eq!(
        store.device_of_key(board.device_key()).await.expect("reads"),
        None
    );
    let made = approve(store, scope, &board, 9).await.expect("approved");
    assert_eq!(
        store.device_of_key(board.device_key()).await.expect("reads"),
        Some(made)
    );
    let device = store.device(made).await.expect("reads").expect("known");
    assert_eq!(device.name, "board 1");
    let (_, secrets) = store
        .login_secrets(made.device, NOW)
        .await
        .expect("reads")
        .expect("known");
    assert!(
        secrets.is_empty(),
        "nothing logs in before the board has fetched its secret"
    );
    let late = enrol(store, &board, NOW + FETCH_MS + 1).await;
    assert_eq!(late, Err(Refusal::Enrolled));
    let fetched = enrol(store, &board, NOW + FETCH_MS).await;
    assert_eq!(fetched, Ok(Enrolment::Admitted(made, Admission::Fetch(made))));
    // Another project cannot approve the same board once more.
    let twice = approve(store, scope, &board, 10).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })), "{twice:?}");
    let log = store.audit(scope.project, None, 10).await.expect("reads");
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert!(
        actions.contains(&"device.approve") && actions.contains(&"device.enrol"),
        "{actions:?}"
    );
}

pub(crate) async fn a_waiting_key_lets_boards_in_by_approval_only(setup: Setup) {
    let Setup { store, scope, .. } = setup;
    let store = store.as_ref();
    let code = PairCode::from_bytes([9; 16]);
    let new = NewEnrolmentKey {
        hash: hash(code),
        key: EnrolmentKey {
            id: EnrolmentKeyId::from_bytes([7; 16]),
            name: "line 3".into(),
            prefix: "090909".into(),
            created: NOW,
            expires: None,
            uses: 0,
            max_uses: 1,
            group: None,
            tags: vec!["fleet".into()],
            ephemeral_ms: Some(5),
            waiting: true,
        },
    };
    let change = Change::CreateEnrolmentKey(Box::new(new));
    store
        .change(scope.project, &principal(scope), change, NOW)
        .await
        .expect("made");
    assert!(store.enrolment_keys(scope.project).await.expect("reads")[0].waiting);
    let (one, two) = (request(Some(code), 1), request(Some(code), 2));
    for board in [&one, &two] {
        let waits = enrol(store, board, NOW).await;
        assert!(
            matches!(&waits, Ok(Enrolment::Waiting(Some(key))) if key.waiting),
            "{waits:?}"
        );
    }
    let made = approve(store, scope, &one, 11).await.expect("approved");
    let device = store.device(made).await.expect("reads").expect("known");
    assert_eq!(device.tags, ["fleet"]);
    let fetched = enrol(store, &one, NOW).await;
    assert_eq!(fetched, Ok(Enrolment::Admitted(made, Admission::Fetch(made))));
    let full = approve(store, scope, &two, 12).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert_eq!(
        store.enrolment_keys(scope.project).await.expect("reads")[0].uses,
        1
    );
}
