//! Deletion of a project while ingest, alerts, mails and webhooks write: no transaction is a victim of a deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use iottly_core::Sealed;
use iottly_core::alerts::Effect;
use iottly_core::ingest::{Entry, Upload, UploadBody, Write};
use iottly_core::model::{
    AlertRule, AlertRuleId, AlertSubject, AlertTarget, Change, Condition, MailResult, Scope, UnixMs, Webhook,
    WebhookId, WebhookKey, WebhookKind,
};
use iottly_protocol::{DeviceId, MessageKind, ProjectId, StreamId};
use iottly_store::{Store, StoreError};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::task::JoinSet;

use super::{Setup, device, principal, project};

/// Number of projects that are deleted one after the other.
const ROUNDS: u8 = 6;
/// Number of devices of a project.
const DEVICES: u8 = 8;
/// Time for which everything writes before the deletion, and after it.
const LOAD: Duration = Duration::from_millis(250);

/// Returns the id of a project's device.
fn id(project: ProjectId, n: u8) -> DeviceId {
    let mut bytes = [project.as_bytes()[0]; 16];
    bytes[15] = 100 + n;
    DeviceId::from_bytes(bytes)
}

/// Writers to a project, which run until `ends` is set.
#[derive(Clone)]
struct Load {
    store: Arc<dyn Store>,
    project: ProjectId,
    rules: [AlertRuleId; 2],
    ends: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    /// Notes a transaction. Only faults of the database count: the project may be gone.
    fn note<T>(&self, what: &str, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(done) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Some(done)
            }
            Err(StoreError::Database(error)) => panic!("{what}: {error:?}"),
            Err(_) => None,
        }
    }

    fn scope(&self, n: u8) -> Scope {
        Scope {
            project: self.project,
            device: id(self.project, n),
        }
    }

    async fn ingest(self, first: u8) {
        let stream = StreamId::random();
        for seq in 1_u64.. {
            if !self.goes_on() {
                return;
            }
            // Values above and below the limit, so that each message raises or clears.
            let temp = if seq % 2 == 0 { 10 } else { 40 };
            let writes = (0..DEVICES / 2).map(|n| {
                let entry = Entry::Message {
                    kind: MessageKind::UserDefined,
                    at: 7,
                    channel: None,
                    payload: to_raw_value(&json!({"temp": temp})).expect("json"),
                    firmware: None,
                };
                Write::Upload(Upload {
                    scope: self.scope((first + n * 2) % DEVICES),
                    stream,
                    received: UnixMs::try_from(seq).expect("a time"),
                    body: UploadBody::Records {
                        first: seq,
                        records: vec![Ok(entry)],
                    },
                })
            });
            let result = self.store.commit(writes.collect()).await;
            self.note("ingest", result);
        }
    }

    async fn evaluate(self) {
        for n in 0_u64.. {
            if !self.goes_on() {
                return;
            }
            let effects = (0..DEVICES).flat_map(|device| {
                let subject = AlertSubject::Device(id(self.project, DEVICES - 1 - device));
                self.rules.map(|rule| match n % 2 {
                    0 => Effect::Raise {
                        rule,
                        subject,
                        detail: "d".into(),
                    },
                    _ => Effect::Clear { rule, subject },
                })
            });
            let result = self.store.apply_alerts(self.project, effects.collect(), 1).await;
            self.note("alerts", result);
        }
    }

    async fn mail(self) {
        while self.goes_on() {
            let claimed = self.store.claim_alert_mails(10_000, 20_000, 5).await;
            let Some(mails) = self.note("claim of mails", claimed) else {
                continue;
            };
            for mail in &mails {
                let retry = MailResult::Retry {
                    due: 10,
                    reason: "451".into(),
                };
                let result = self.store.settle_alert_mail(mail, &retry, 10).await;
                self.note("settling of mails", result);
            }
            let released = self.store.release_alert_mails(10).await;
            self.note("release of mails", released);
            tokio::task::yield_now().await;
        }
    }

    async fn tidy(self) {
        while self.goes_on() {
            let tidied = self.store.tidy_alerts(30_000, (0, 0), 10).await;
            self.note("tidying", tidied);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn hook(project: ProjectId) -> Webhook {
    Webhook {
        key: WebhookKey {
            project,
            hook: WebhookId::random(),
        },
        description: String::new(),
        url: "https://receiver.example/".into(),
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
    }
}

pub(crate) async fn a_project_is_deleted_while_everything_writes_to_it(setup: Setup) {
    for round in 2..2 + ROUNDS {
        let project_id = ProjectId::from_bytes([round; 12]);
        project(setup.store.as_ref(), round).await;
        let scope = |n: u8| Scope {
            project: project_id,
            device: id(project_id, n),
        };
        for n in 0..DEVICES {
            device(setup.store.as_ref(), scope(n)).await.expect("created");
        }
        let by = principal(scope(0));
        let value = Condition::Value {
            filter: r#"{"temp":{"$gt":30}}"#.into(),
            clear: Some(r#"{"temp":{"$lt":28}}"#.into()),
        };
        let rules = [value, Condition::Offline(1000)].map(|condition| AlertRule {
            id: AlertRuleId::random(),
            project: project_id,
            name: "r".into(),
            condition,
            target: AlertTarget::Project,
            mails: vec!["a@example.org".into(), "b@example.org".into()],
            muted_until: None,
            created: 1,
            unexamined: 0,
        });
        let ids = [rules[0].id, rules[1].id];
        let store = &setup.store;
        for rule in rules {
            let change = Change::CreateAlertRule(Box::new(rule));
            store.change(project_id, &by, change, 1).await.expect("added");
        }
        let change = Change::CreateWebhook(Box::new(hook(project_id)));
        store.change(project_id, &by, change, 1).await.expect("added");
        let load = Load {
            store: Arc::clone(&setup.store),
            project: project_id,
            rules: ids,
            ends: Arc::default(),
            done: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(load.clone().ingest(0));
        tasks.spawn(load.clone().ingest(1));
        tasks.spawn(load.clone().evaluate());
        tasks.spawn(load.clone().evaluate());
        tasks.spawn(load.clone().mail());
        tasks.spawn(load.clone().tidy());
        tokio::time::sleep(LOAD).await;
        let before = load.done.load(Ordering::Relaxed);
        let deleted = store.change(project_id, &by, Change::DeleteProject, 2).await;
        deleted.expect("deleted, whatever else runs");
        tokio::time::sleep(LOAD).await;
        load.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no transaction fails");
        }
        assert!(before > 0, "nothing ran");
        let left = store.alert_mails(project_id, 10).await.expect("reads");
        assert!(left.is_empty(), "{left:?}");
    }
}
