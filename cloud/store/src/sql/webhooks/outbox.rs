//! Deliveries, written in the transaction that stores their messages.

use std::sync::LazyLock;

use iottly_protocol::ProjectId;

use super::super::db::{self, Conn};
use super::super::{codec, multi_row, senders};
use super::{NOT_MATCHED, ROWS, config};
use crate::Result;
use crate::webhook_cache::WebhookCache;
use iottly_core::model::{StoredMessage, WebhookKey};
use iottly_core::webhooks::MAX_WAITING;
use iottly_core::webhooks::matching::{Matched, Matcher, Matchers, STORING_STEPS_OF_ALL};

const DELIVERY_COLUMNS: usize = 7;
const FAILURE_COLUMNS: usize = 8;

fn insert_deliveries(count: usize) -> String {
    let rows = multi_row::rows(DELIVERY_COLUMNS, count);
    format!(
        "INSERT INTO webhook_deliveries (project, hook, message, device, ts, due, undecided) VALUES {rows}"
    )
}

fn insert_failures(count: usize) -> String {
    let rows = multi_row::rows(FAILURE_COLUMNS, count);
    format!(
        "INSERT INTO webhook_failures (project, hook, at, message, device, ts, attempt, reason) VALUES {rows}"
    )
}

static DELIVERIES: LazyLock<[String; 2]> = LazyLock::new(|| [insert_deliveries(ROWS), insert_deliveries(1)]);
static FAILURES: LazyLock<[String; 2]> = LazyLock::new(|| [insert_failures(ROWS), insert_failures(1)]);
static DROP_OLDEST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM webhook_deliveries WHERE project = $1 AND hook = $2 AND message IN (SELECT message FROM webhook_deliveries \
         WHERE project = $1 AND hook = $2 ORDER BY message LIMIT $3{})",
        db::SKIP_LOCKED
    )
});

/// Webhooks that a transaction wrote deliveries for, and the number of dropped deliveries; announced after
/// the commit.
#[derive(Debug, Default)]
#[must_use = "without `announce` the worker does not notice the deliveries"]
pub(in super::super) struct Enqueued {
    hooks: Vec<WebhookKey>,
    dropped: u64,
    /// Projects of the messages that have alert rules, with the number of changes to them.
    pub(in super::super) alert_versions: Vec<(ProjectId, i64)>,
}

impl Enqueued {
    /// Adds those of further messages.
    pub(in super::super) fn extend(&mut self, more: Self) {
        self.hooks.extend(more.hooks);
        self.dropped += more.dropped;
    }

    pub(in super::super) fn announce(self, cache: &WebhookCache) {
        cache.pending.drop_counted(self.dropped);
        cache.pending.announce(self.hooks);
    }
}

/// Writes the deliveries that these messages cause. `versions` holds the number of webhook changes of each
/// project that has webhooks.
pub(in super::super) async fn enqueue(
    tx: &mut Conn,
    cache: &WebhookCache,
    versions: Vec<(ProjectId, i64)>,
    messages: &[&StoredMessage],
) -> Result<Enqueued> {
    let (mut enqueued, mut steps) = (Enqueued::default(), STORING_STEPS_OF_ALL);
    for (project, version) in versions {
        let hooks = match cache.matchers.get(project, version) {
            Some(hooks) => hooks,
            None => cache.matchers.put(project, version, compiled(tx, project).await?),
        };
        let senders = senders::of(tx, project, &hooks.senders_of(messages)).await?;
        for Matched {
            hook,
            matching,
            undecided,
        } in hooks.split(messages, &senders, &mut steps)
        {
            for (messages, undecided) in [(matching, false), (undecided, true)] {
                match messages.as_slice() {
                    [] => {}
                    messages if hook.enabled => {
                        deliver(tx, hook.key, messages, undecided, &mut enqueued).await?
                    }
                    messages => skip(tx, hook, messages, undecided).await?,
                }
            }
        }
    }
    Ok(enqueued)
}

async fn compiled(tx: &mut Conn, project: ProjectId) -> Result<Matchers> {
    Ok(Matchers::new(
        config::within(tx, project)
            .await?
            .iter()
            .map(Matcher::new)
            .collect(),
    ))
}

async fn deliver(
    tx: &mut Conn,
    key: WebhookKey,
    messages: &[&StoredMessage],
    undecided: bool,
    enqueued: &mut Enqueued,
) -> Result<()> {
    let (project, hook) = (codec::id(&key.project), codec::id(&key.hook));
    let row = sqlx::query(
        "UPDATE webhook_queues SET waiting = waiting + $3 WHERE project = $1 AND hook = $2 RETURNING waiting",
    )
    .bind(project)
    .bind(hook)
    .bind(messages.len() as i64)
    .fetch_optional(&mut *tx)
    .await?;
    // Without a queue the webhook was deleted, and its data is being erased.
    let Some(row) = row else { return Ok(()) };
    for (sql, chunk) in chunks(&DELIVERIES, messages) {
        let mut query = sqlx::query(sql);
        for message in chunk {
            query = query
                .bind(project)
                .bind(hook)
                .bind(&message.id.0[..])
                .bind(codec::id(&message.scope.device))
                .bind(message.timestamp)
                .bind(message.timestamp)
                .bind(undecided);
        }
        query.execute(&mut *tx).await?;
    }
    enqueued.hooks.push(key);
    let over = codec::get::<i64>(&row, "waiting")? - MAX_WAITING;
    if over > 0 {
        let query = sqlx::query(DROP_OLDEST.as_str())
            .bind(project)
            .bind(hook)
            .bind(over);
        let dropped = query.execute(&mut *tx).await?.rows_affected();
        enqueued.dropped += dropped;
        sqlx::query("UPDATE webhook_queues SET waiting = waiting - $3, dropped = dropped + $3 WHERE project = $1 AND hook = $2")
            .bind(project)
            .bind(hook)
            .bind(codec::signed(dropped))
            .execute(tx)
            .await?;
    }
    Ok(())
}

async fn skip(tx: &mut Conn, hook: &Matcher, messages: &[&StoredMessage], undecided: bool) -> Result<()> {
    let (project, id) = (codec::id(&hook.key.project), codec::id(&hook.key.hook));
    let done =
        sqlx::query("UPDATE webhook_queues SET failed = failed + $3, skipped = skipped + $3 WHERE project = $1 AND hook = $2")
            .bind(project)
            .bind(id)
            .bind(messages.len() as i64)
            .execute(&mut *tx)
            .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let reason = format!(
        "{}skipped: {}",
        if undecided { NOT_MATCHED } else { "" },
        hook.reason
    );
    for (sql, chunk) in chunks(&FAILURES, messages) {
        let mut query = sqlx::query(sql);
        for message in chunk {
            query = query
                .bind(project)
                .bind(id)
                .bind(message.timestamp)
                .bind(&message.id.0[..])
                .bind(codec::id(&message.scope.device))
                .bind(message.timestamp)
                .bind(0i64)
                .bind(&reason);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Splits messages into chunks for the multi-row statement and single messages for the rest.
fn chunks<'a, 'm>(
    [many, one]: &'static [String; 2],
    messages: &'a [&'m StoredMessage],
) -> impl Iterator<Item = (&'static str, &'a [&'m StoredMessage])> {
    let (long, rest) = messages.split_at(messages.len() / ROWS * ROWS);
    long.chunks(ROWS)
        .map(|chunk| (many.as_str(), chunk))
        .chain(rest.chunks(1).map(|chunk| (one.as_str(), chunk)))
}
