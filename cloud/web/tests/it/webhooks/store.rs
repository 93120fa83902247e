//! The queue on both databases: written with its message, claimed once, bounded, erased.

use std::collections::HashSet;
use std::sync::Arc;

use iottly_core::Sealed;
use iottly_core::command::seeded_definitions;
use iottly_core::ingest::{Entry, Upload, UploadBody};
use iottly_core::model::{
    Change, MessageId, Principal, Project, Replay, Scope, Scopes, SecretHash, UnixMs, Webhook,
    WebhookAttempt, WebhookId, WebhookKey, WebhookKind,
};
use iottly_core::webhooks::Health;
use iottly_core::webhooks::{KEPT_MS, MAX_WAITING};
use iottly_protocol::{DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use iottly_store as store;
use iottly_store::webhooks::{ClaimQuery, DeliveryResult, Disposition, WorkerId};
use iottly_store::{Database, NewDevice, Store};
use iottly_web::auth;
use serde_json::value::to_raw_value;

use crate::cluster;

const NOW: UnixMs = 1_492_597_597_019;
const WORKERS: [WorkerId; 2] = [WorkerId(1), WorkerId(2)];

struct Setup {
    store: Arc<dyn Store>,
    database: Database,
    scope: Scope,
    by: Principal,
    _folder: Option<tempfile::TempDir>,
}

impl Setup {
    async fn new(database: Database, folder: Option<tempfile::TempDir>) -> Self {
        let (store, _) = store::open(&database).await.expect("opens");
        let scope = Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::from_bytes([1; 16]),
        };
        let project = Project {
            id: scope.project,
            name: "p".into(),
            created: 0,
            retention_days: None,
        };
        let group = GroupId::from_bytes([1; 16]);
        store
            .create_project(&project, group, &seeded_definitions())
            .await
            .expect("created");
        store
            .create_device(&NewDevice {
                scope,
                name: "d".into(),
                group,
                secret: SecretHash::of(b"s"),
            })
            .await
            .expect("created");
        let by = auth::mint_token(scope.project, "t", Scopes::PROJECT, None, 1)
            .expect("randomness")
            .token
            .into();
        Self {
            store,
            database,
            scope,
            by,
            _folder: folder,
        }
    }

    async fn hook(&self, change: impl FnOnce(&mut Webhook)) -> WebhookKey {
        let key = WebhookKey {
            project: self.scope.project,
            hook: WebhookId::random(),
        };
        let mut hook = Webhook {
            key,
            description: String::new(),
            url: "http://example.com/".into(),
            kind: WebhookKind::All,
            channel: None,
            filter: None,
            payload_only: false,
            ordered: false,
            enabled: true,
            reason: String::new(),
            headers: Sealed(vec![1]),
            secret: Sealed(vec![2]),
            former: None,
            created: 1,
            changed: 1,
        };
        change(&mut hook);
        self.change(Change::CreateWebhook(Box::new(hook))).await;
        key
    }

    async fn change(&self, change: Change) -> u64 {
        self.store
            .change(self.scope.project, &self.by, change, NOW)
            .await
            .expect("applies")
            .affected
    }

    /// Stores messages in groups of a thousand.
    async fn say(&self, stream: u8, count: u64) {
        for first in (1..=count).step_by(1000) {
            let message = |n: u64| {
                let payload = to_raw_value(&n).expect("a number");
                Ok(Entry::Message {
                    kind: MessageKind::UserDefined,
                    at: 7,
                    channel: None,
                    payload,
                    firmware: None,
                })
            };
            let body = UploadBody::Records {
                first,
                records: (first..=count.min(first + 999)).map(message).collect(),
            };
            let stream = StreamId::from_bytes([stream; 16]);
            self.store
                .ingest(vec![Upload {
                    scope: self.scope,
                    stream,
                    received: NOW,
                    body,
                }])
                .await
                .expect("commits");
        }
    }

    async fn queue(&self, key: WebhookKey) -> iottly_core::model::WebhookQueue {
        self.store
            .webhook(key)
            .await
            .expect("reads")
            .expect("is there")
            .queue
    }
}

fn query(key: WebhookKey, worker: WorkerId, now: UnixMs, limit: usize) -> ClaimQuery {
    ClaimQuery {
        key,
        worker,
        now,
        until: now + 60_000,
        limit,
        ordered: false,
    }
}

fn result_of(key: WebhookKey, message: MessageId, disposition: Disposition) -> DeliveryResult {
    let attempt = WebhookAttempt {
        number: 0,
        at: NOW,
        message,
        device: None,
        attempt: 1,
        result: "http_200".into(),
        millis: 5,
        bytes: 10,
        answer: "a\0b".into(),
    };
    let device = Some(DeviceId::from_bytes([1; 16]));
    DeliveryResult {
        key,
        message,
        device,
        timestamp: NOW,
        disposition,
        attempt: Some(attempt),
        health: None,
        announce: false,
    }
}

async fn deliveries_are_written_with_their_messages(setup: Setup) {
    let Setup { store, scope, .. } = &setup;
    let other = Scope {
        project: ProjectId::from_bytes([9; 12]),
        ..*scope
    };
    setup.say(1, 3).await;
    assert!(
        store.due_webhooks(NOW, 10).await.expect("reads").is_empty(),
        "a project without webhooks writes none"
    );
    let (all, user) = (
        setup.hook(|_| {}).await,
        setup.hook(|hook| hook.kind = WebhookKind::User).await,
    );
    setup.say(2, 70).await;
    store.set_presence(*scope, true, None, NOW).await.expect("writes");
    store
        .add_agent_message(*scope, to_raw_value(&1).expect("JSON"), NOW)
        .await
        .expect("writes");
    assert_eq!(
        (setup.queue(all).await.waiting, setup.queue(user).await.waiting),
        (72, 70)
    );
    assert_eq!(
        store.pending_webhooks().take().await,
        [all, user].into_iter().collect()
    );
    assert_eq!(store.due_webhooks(NOW, 10).await.expect("reads").len(), 2);
    let claims = store
        .claim(&query(all, WORKERS[0], NOW, 1000))
        .await
        .expect("claims");
    assert_eq!(claims.len(), 72);
    assert!(claims.is_sorted_by_key(|claim| claim.message));
    assert!(
        claims
            .iter()
            .all(|claim| claim.body.as_ref().is_some_and(|body| body.id == claim.message))
    );
    assert!(store.webhooks(other.project).await.expect("reads").is_empty());
    let foreign = WebhookKey {
        project: other.project,
        ..all
    };
    assert!(store.webhook(foreign).await.expect("reads").is_none());
    assert!(
        store
            .claim(&query(foreign, WORKERS[0], i64::MAX / 2, 10))
            .await
            .expect("claims")
            .is_empty()
    );
}

async fn a_change_counts_from_the_next_message_on_in_every_process(setup: Setup) {
    let another = store::open(&setup.database).await.expect("opens").0;
    let key = setup.hook(|_| {}).await;
    setup.say(1, 1).await;
    // The other process still has the earlier webhooks in memory when they change here.
    let say_there = async |stream: u8| {
        let entry = Entry::Message {
            kind: MessageKind::UserDefined,
            at: 7,
            channel: None,
            payload: to_raw_value(&1).expect("JSON"),
            firmware: None,
        };
        let body = UploadBody::Records {
            first: 1,
            records: vec![Ok(entry)],
        };
        let upload = Upload {
            scope: setup.scope,
            stream: StreamId::from_bytes([stream; 16]),
            received: NOW,
            body,
        };
        another.ingest(vec![upload]).await.expect("commits");
    };
    say_there(2).await;
    assert_eq!(setup.queue(key).await.waiting, 2);
    setup
        .change(Change::DisableWebhook {
            id: key.hook,
            reason: "test".into(),
        })
        .await;
    say_there(3).await;
    let queue = setup.queue(key).await;
    assert_eq!((queue.waiting, queue.skipped, queue.failed), (2, 1, 1));
    assert_eq!(
        setup
            .change(Change::DisableWebhook {
                id: key.hook,
                reason: "again".into()
            })
            .await,
        0
    );
    assert!(
        another
            .claim(&query(key, WORKERS[0], NOW, 10))
            .await
            .expect("claims")
            .is_empty(),
        "waiting deliveries keep waiting"
    );
    another.close().await;
}

async fn two_workers_never_claim_the_same(setup: Setup) {
    let key = setup.hook(|_| {}).await;
    setup.say(1, 2000).await;
    let other = store::open(&setup.database).await.expect("opens").0;
    let claim_all = |store: Arc<dyn Store>, worker| async move {
        let mut mine = Vec::new();
        loop {
            let claims = store.claim(&query(key, worker, NOW, 37)).await.expect("claims");
            if claims.is_empty() {
                return mine;
            }
            mine.extend(claims.into_iter().map(|claim| claim.message));
        }
    };
    let one = tokio::spawn(claim_all(setup.store.clone(), WORKERS[0]));
    let two = tokio::spawn(claim_all(other.clone(), WORKERS[1]));
    let (one, two) = (one.await.expect("ends"), two.await.expect("ends"));
    let both: HashSet<_> = one.iter().chain(&two).collect();
    assert_eq!((both.len(), one.len() + two.len()), (2000, 2000));
    // After a lease has ended, any process may claim; the outcome of its former holder changes nothing.
    let again = setup
        .store
        .claim(&query(key, WORKERS[0], NOW + 60_001, 5000))
        .await
        .expect("claims");
    assert_eq!(again.len(), 2000);
    let late = result_of(key, again[0].message, Disposition::Done);
    setup.store.settle(WORKERS[1], &[late]).await.expect("settles");
    assert_eq!(setup.queue(key).await.waiting, 2000);
    assert_eq!(
        setup.store.release(WORKERS[0], NOW).await.expect("releases"),
        2000
    );
    assert_eq!(
        other
            .claim(&query(key, WORKERS[1], NOW, 5000))
            .await
            .expect("claims")
            .len(),
        2000
    );
    other.close().await;
}

async fn what_came_of_deliveries_is_kept_in_bounds(setup: Setup) {
    let Setup { store, .. } = &setup;
    let key = setup.hook(|_| {}).await;
    setup.say(1, 1500).await;
    let claims = store
        .claim(&query(key, WORKERS[0], NOW, 1500))
        .await
        .expect("claims");
    let (waits, fails) = (claims[0].message, claims[1].message);
    let mut outcomes: Vec<_> = claims[2..]
        .iter()
        .map(|claim| result_of(key, claim.message, Disposition::Done))
        .collect();
    outcomes.push(result_of(
        key,
        waits,
        Disposition::Wait {
            due: NOW + 5000,
            attempts: 1,
        },
    ));
    outcomes.push(result_of(
        key,
        fails,
        Disposition::Failed {
            attempts: 8,
            reason: "http_500".into(),
        },
    ));
    let health = Health {
        failures: 3,
        probe_at: Some(NOW + 1),
        failing_since: Some(NOW),
    };
    outcomes.last_mut().expect("is there").health = Some(health);
    store.settle(WORKERS[0], &outcomes).await.expect("settles");
    let queue = setup.queue(key).await;
    assert_eq!(
        (queue.waiting, queue.failed, queue.failures, queue.next_due),
        (1, 1, 3, Some(NOW + 5000))
    );
    assert_eq!(
        (queue.probe_at, queue.failing_since),
        (health.probe_at, health.failing_since)
    );
    let totals = store.webhook_totals().await.expect("reads");
    assert_eq!((totals.waiting, totals.open, totals.oldest), (1, 1, Some(NOW)));
    let log = store.webhook_attempts(key, None, 5000).await.expect("reads");
    assert_eq!((log.len(), log[0].number, log[999].number), (1000, 1500, 501));
    assert_eq!(
        store.webhook_attempts(key, Some(600), 10).await.expect("reads")[0].number,
        599
    );
    assert!(!log[0].answer.contains('\0'));

    assert!(
        store
            .claim(&query(key, WORKERS[0], NOW + 4999, 10))
            .await
            .expect("claims")
            .is_empty()
    );
    assert_eq!(
        setup
            .change(Change::ReplayWebhook(key.hook, Replay::FailedSince(NOW)))
            .await,
        1
    );
    let claims = store
        .claim(&query(key, WORKERS[0], NOW + 5000, 10))
        .await
        .expect("claims");
    let attempts: Vec<_> = claims
        .iter()
        .map(|claim| (claim.message, claim.attempts))
        .collect();
    assert_eq!(attempts, [(waits, 1), (fails, 0)]);
    let failed = claims.iter().map(|claim| {
        result_of(
            key,
            claim.message,
            Disposition::Failed {
                attempts: 8,
                reason: String::new(),
            },
        )
    });
    store
        .settle(WORKERS[0], &failed.collect::<Vec<_>>())
        .await
        .expect("settles");
    assert_eq!(setup.queue(key).await.failed, 2);
    store.tidy_webhooks(NOW + KEPT_MS, 1).await.expect("tidies");
    assert_eq!(setup.queue(key).await.failed, 2);
    while store.tidy_webhooks(NOW + KEPT_MS + 1, 1).await.expect("tidies") > 0 {}
    assert_eq!(
        (
            setup.queue(key).await.failed,
            store.webhook_attempts(key, None, 10).await.expect("reads").len()
        ),
        (0, 0)
    );
}

async fn the_oldest_go_when_too_many_wait(setup: Setup) {
    let key = setup.hook(|_| {}).await;
    setup.say(1, MAX_WAITING as u64).await;
    let oldest = setup
        .store
        .claim(&query(key, WORKERS[0], NOW, 1))
        .await
        .expect("claims")[0]
        .message;
    assert_eq!(setup.queue(key).await.dropped, 0);
    setup.say(2, 1500).await;
    let queue = setup.queue(key).await;
    assert_eq!((queue.waiting, queue.dropped), (MAX_WAITING as u64, 1500));
    assert_eq!(setup.store.pending_webhooks().dropped(), 1500);
    let next = setup
        .store
        .claim(&query(key, WORKERS[0], NOW, 1))
        .await
        .expect("claims")[0]
        .message;
    assert!(next > oldest);
    setup
        .store
        .settle(WORKERS[0], &[result_of(key, oldest, Disposition::Done)])
        .await
        .expect("settles");
    assert_eq!(
        setup.queue(key).await.waiting,
        MAX_WAITING as u64,
        "one that was dropped on its way is not counted twice"
    );
}

async fn ordered_claims_stop_at_what_is_under_way(setup: Setup) {
    let key = setup.hook(|hook| hook.ordered = true).await;
    setup.say(1, 5).await;
    let ordered = |worker, now, limit| ClaimQuery {
        ordered: true,
        ..query(key, worker, now, limit)
    };
    let first = setup
        .store
        .claim(&ordered(WORKERS[0], NOW, 2))
        .await
        .expect("claims");
    assert_eq!(first.len(), 2);
    assert!(
        setup
            .store
            .claim(&ordered(WORKERS[1], NOW, 2))
            .await
            .expect("claims")
            .is_empty(),
        "one worker at a time"
    );
    let wait = result_of(
        key,
        first[0].message,
        Disposition::Wait {
            due: NOW + 5000,
            attempts: 1,
        },
    );
    let back = result_of(
        key,
        first[1].message,
        Disposition::Wait {
            due: NOW,
            attempts: 0,
        },
    );
    setup
        .store
        .settle(WORKERS[0], &[wait, back])
        .await
        .expect("settles");
    assert!(
        setup
            .store
            .claim(&ordered(WORKERS[1], NOW + 4999, 9))
            .await
            .expect("claims")
            .is_empty()
    );
    let all = setup
        .store
        .claim(&ordered(WORKERS[1], NOW + 5000, 9))
        .await
        .expect("claims");
    assert_eq!((all.len(), all[0].message), (5, first[0].message));
}

async fn a_deleted_webhook_leaves_nothing(setup: Setup) {
    let Setup { store, .. } = &setup;
    let (key, other) = (setup.hook(|_| {}).await, setup.hook(|_| {}).await);
    setup.say(1, 50).await;
    let claims = store
        .claim(&query(key, WORKERS[0], NOW, 10))
        .await
        .expect("claims");
    setup.change(Change::DeleteWebhook(key.hook)).await;
    let late: Vec<_> = claims
        .iter()
        .map(|claim| result_of(key, claim.message, Disposition::Done))
        .collect();
    store.settle(WORKERS[0], &late).await.expect("settles");
    assert!(
        store
            .claim(&query(key, WORKERS[0], NOW, 10))
            .await
            .expect("claims")
            .is_empty()
    );
    setup.say(2, 5).await;
    while store.tidy_webhooks(NOW, 7).await.expect("tidies") > 0 {}
    assert!(
        store
            .webhook_attempts(key, None, 10)
            .await
            .expect("reads")
            .is_empty()
    );
    assert_eq!(setup.queue(other).await.waiting, 55);
    assert_eq!(store.webhook_totals().await.expect("reads").waiting, 55);
    // The messages of a deleted device are gone when it is their turn.
    setup.change(Change::DeleteDevice(setup.scope.device)).await;
    while store.erase_step(NOW + 120_000, 1000).await.expect("erases") {}
    let claims = store
        .claim(&query(other, WORKERS[0], NOW, 100))
        .await
        .expect("claims");
    assert!(claims.len() == 55 && claims.iter().all(|claim| claim.body.is_none()));
    setup.change(Change::DeleteProject).await;
    while store.tidy_webhooks(NOW, 1000).await.expect("tidies") > 0 {}
    assert_eq!(store.webhook_totals().await.expect("reads").waiting, 0);
}

/// A filter that was valid once and is not any more: its messages are kept, and others are not delayed.
async fn a_filter_that_is_none_leaves_its_messages_undecided(setup: Setup) {
    let broken = setup
        .hook(|hook| hook.filter = Some(r#"{"$where":"1"}"#.into()))
        .await;
    let off = setup
        .hook(|hook| (hook.filter, hook.enabled) = (Some(r#"{"$where":"1"}"#.into()), false))
        .await;
    let all = setup.hook(|_| {}).await;
    setup.say(1, 40).await;
    assert_eq!(
        (setup.queue(broken).await.waiting, setup.queue(all).await.waiting),
        (40, 40)
    );
    let claims = setup
        .store
        .claim(&query(broken, WORKERS[0], NOW, 100))
        .await
        .expect("claims");
    assert!(claims.len() == 40 && claims.iter().all(|claim| claim.undecided && claim.body.is_some()));
    let claims = setup
        .store
        .claim(&query(all, WORKERS[0], NOW, 100))
        .await
        .expect("claims");
    assert!(claims.len() == 40 && claims.iter().all(|claim| !claim.undecided));
    // A message that failed undecided is matched when it is replayed, as is one that came while the webhook
    // was off.
    let failed = Disposition::Failed {
        attempts: 0,
        reason: "not matched: filter is not valid any more".into(),
    };
    let claims = setup
        .store
        .claim(&query(broken, WORKERS[0], NOW + 60_001, 1))
        .await
        .expect("claims");
    setup
        .store
        .settle(WORKERS[0], &[result_of(broken, claims[0].message, failed)])
        .await
        .expect("records");
    let replay = Replay::One(claims[0].message);
    assert_eq!(setup.change(Change::ReplayWebhook(broken.hook, replay)).await, 1);
    let replay = Replay::FailedSince(0);
    assert_eq!(setup.change(Change::ReplayWebhook(off.hook, replay)).await, 40);
    let again = setup
        .store
        .claim(&query(broken, WORKERS[0], NOW + 130_000, 100))
        .await
        .expect("claims");
    assert!(again.len() == 40 && again.iter().all(|claim| claim.undecided));
}

/// Claims are bounded by bytes, whatever count was requested.
async fn claims_of_long_messages_are_few(setup: Setup) {
    let all = setup.hook(|_| {}).await;
    let payload = to_raw_value(&"x".repeat(900_000)).expect("JSON");
    let message = |_| {
        Ok(Entry::Message {
            kind: MessageKind::UserDefined,
            at: 7,
            channel: None,
            payload: payload.clone(),
            firmware: None,
        })
    };
    for stream in 1..=3 {
        let body = UploadBody::Records {
            first: 1,
            records: (0..2).map(message).collect(),
        };
        let stream = StreamId::from_bytes([stream; 16]);
        setup
            .store
            .ingest(vec![Upload {
                scope: setup.scope,
                stream,
                received: NOW,
                body,
            }])
            .await
            .expect("commits");
    }
    let claims = setup
        .store
        .claim(&query(all, WORKERS[0], NOW, 256))
        .await
        .expect("claims");
    let (read, unread): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.body.is_some());
    assert_eq!((read.len(), unread.len()), (2, 4));
    assert!(unread.iter().all(|claim| claim.unread) && read.iter().all(|claim| !claim.unread));
}

/// A lease and a wait that were stored while the clock was ten years ahead end when it is set back.
async fn what_was_written_while_the_clock_was_ahead_is_due(setup: Setup) {
    const AHEAD: UnixMs = 10 * 365 * 24 * 60 * 60 * 1000;
    for ordered in [false, true] {
        let key = setup.hook(|hook| hook.ordered = ordered).await;
        setup.say(if ordered { 2 } else { 1 }, 2).await;
        let query = |now| ClaimQuery {
            ordered,
            ..query(key, WORKERS[0], now, 10)
        };
        let claims = setup.store.claim(&query(NOW + AHEAD)).await.expect("claims");
        assert_eq!(claims.len(), 2);
        let wait = Disposition::Wait {
            due: NOW + AHEAD + 5000,
            attempts: 1,
        };
        setup
            .store
            .settle(WORKERS[0], &[result_of(key, claims[0].message, wait)])
            .await
            .expect("records");
        // One delivery waits and one is leased, both for ten years.
        assert!(
            setup
                .store
                .due_webhooks(NOW, 10)
                .await
                .expect("reads")
                .iter()
                .any(|due| due.hook.key == key)
        );
        assert_eq!(setup.store.claim(&query(NOW)).await.expect("claims").len(), 2);
        assert!(
            setup
                .store
                .claim(&query(NOW + 59_999))
                .await
                .expect("claims")
                .is_empty(),
            "a lease of a minute holds"
        );
    }
}

macro_rules! both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().expect("a folder");
                let database = super::Database::File(folder.path().join("cloud.db"));
                super::$test(super::Setup::new(database, Some(folder)).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(url) = super::cluster::database().await {
                    super::$test(super::Setup::new(super::Database::Server(url), None).await).await;
                }
            })+
        }
    };
}

both!(
    deliveries_are_written_with_their_messages,
    a_change_counts_from_the_next_message_on_in_every_process,
    two_workers_never_claim_the_same,
    what_came_of_deliveries_is_kept_in_bounds,
    the_oldest_go_when_too_many_wait,
    ordered_claims_stop_at_what_is_under_way,
    a_deleted_webhook_leaves_nothing,
    a_filter_that_is_none_leaves_its_messages_undecided,
    claims_of_long_messages_are_few,
    what_was_written_while_the_clock_was_ahead_is_due,
);
