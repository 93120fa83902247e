//! Dates and versions that signatures vouch for, and a refresh that enforces them. Reads no clock.
//!
//! A board's clock is a guess, and the cloud's time arrives over a plain line: neither may decide for good
//! that a moment has passed. The date that a signer has written into accepted metadata does. It is a floor
//! for the time, so that a clock that was set back does not make expired metadata valid again. Only a newer
//! document of the same signer moves the floor back.

use serde::{Deserialize, Serialize};

use super::client::{Client, Fetch, Store};
use super::instant::Instant;
use super::key::Schemes;
use super::{Trusted, TufError};

/// Versions and date that the last accepted metadata vouched for; to be stored where it survives a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Version of the trusted root.
    pub root: u64,
    /// Version of the trusted timestamp.
    pub timestamp: u64,
    /// Unix seconds that have passed according to the signers; 0 for none.
    pub unix: u64,
}

impl Vouched {
    /// Returns what holds after something else was vouched for: versions only rise, and within one version
    /// the later date counts.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let order = (next.root, next.timestamp).cmp(&(self.root, self.timestamp));
        match order {
            std::cmp::Ordering::Less => self,
            std::cmp::Ordering::Equal => Self {
                unix: self.unix.max(next.unix),
                ..self
            },
            std::cmp::Ordering::Greater => next,
        }
    }
}

/// Input of a refresh: the clock, and what is known from before.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Date by the best clock available.
    pub clock: Instant,
    /// Versions and date that were vouched for before.
    pub vouched: Option<Vouched>,
    /// Root that the device was set up with, for a store that has none or a damaged one.
    pub first_root: &'a [u8],
    /// Schemes whose keys count.
    pub schemes: Schemes,
}

/// Client with fresh metadata.
pub struct Refreshed<F, S> {
    /// Client after its refresh.
    pub client: Client<F, S>,
    /// Time for what follows: the clock's, and not before what was vouched for.
    pub now: Instant,
    /// Versions and date that are vouched for from now on.
    pub vouched: Vouched,
}

/// Client whose store was checked and, if necessary, repaired.
struct Opened<F, S> {
    client: Client<F, S>,
    /// Reason for which the stored root was replaced.
    mended: Option<String>,
}

/// Brings metadata up to date, at the clock's time or at what is vouched for, whichever is later. Calls
/// `mended` after a damaged root in the store was replaced by the first one, from which the chain was
/// followed again.
///
/// # Errors
/// As [`Client::refresh`], and when the repository offers less than what was trusted before.
pub fn refresh<F: Fetch + Clone, S: Store + Clone>(
    fetch: &F,
    store: &S,
    start: &Start<'_>,
    mut mended: impl FnMut(String),
) -> Result<Refreshed<F, S>, TufError> {
    let floor = start.vouched.map_or(0, |vouched| vouched.unix);
    let now = start.clock.max(Instant::from_unix(floor));
    let opened = open(fetch, store, start, now)?;
    if let Some(reason) = opened.mended {
        mended(reason);
    }
    let mut client = opened.client;
    match client.refresh() {
        Ok(()) => {
            check(start.vouched.as_ref(), client.trusted())?;
            let signed = signed_at(client.trusted()).unwrap_or(0);
            Ok(refreshed(client, start.clock, floor.max(signed)))
        }
        // A timestamp that expired before the floor: a replay, unless the same signer has moved the floor
        // back.
        Err(first @ TufError::Expired { .. }) if is_timestamp(&first) && start.clock < now => {
            let mut client = open(fetch, store, start, start.clock)?.client;
            if client.refresh().is_err()
                || !start
                    .vouched
                    .is_some_and(|earlier| is_newer(&earlier, client.trusted()))
            {
                return Err(first);
            }
            let signed = signed_at(client.trusted()).unwrap_or(0);
            Ok(refreshed(client, start.clock, signed))
        }
        Err(error) => Err(error),
    }
}

fn is_timestamp(error: &TufError) -> bool {
    matches!(error, TufError::Expired { role, .. } if role == "timestamp")
}

fn refreshed<F: Fetch, S: Store>(client: Client<F, S>, clock: Instant, unix: u64) -> Refreshed<F, S> {
    let (root, timestamp) = versions(client.trusted());
    Refreshed {
        client,
        now: clock.max(Instant::from_unix(unix)),
        vouched: Vouched {
            root,
            timestamp,
            unix,
        },
    }
}

impl<F, S> Refreshed<F, S> {
    /// Accepts the date of a signed document. It is before the expiry of the timestamp under which it was
    /// accepted, so that the next timestamp has never expired before the floor.
    pub fn accept(&mut self, date: Instant)
    where
        F: Fetch,
        S: Store,
    {
        let end = self
            .client
            .trusted()
            .timestamp()
            .map_or(0, |timestamp| timestamp.header.expires.unix());
        self.vouched.unix = self.vouched.unix.max(date.unix().min(end.saturating_sub(1)));
    }
}

fn open<F: Fetch + Clone, S: Store + Clone>(
    fetch: &F,
    store: &S,
    start: &Start<'_>,
    now: Instant,
) -> Result<Opened<F, S>, TufError> {
    let client = |store: S| Client::open(fetch.clone(), store, now, start.schemes);
    let reason = match store.clone().get("root") {
        Ok(None) if start.vouched.is_none_or(|vouched| vouched.root == 0) => None,
        Ok(None) => Some("it is gone".to_owned()),
        Err(error) => Some(error.to_string()),
        Ok(Some(_)) => match client(store.clone()) {
            Ok(client) => return Ok(Opened { client, mended: None }),
            Err(error) => Some(error.to_string()),
        },
    };
    // Only a root that can be trusted replaces one that cannot.
    Trusted::new(start.first_root, now, start.schemes)?;
    let mut kept = store.clone();
    kept.put("root", start.first_root)
        .map_err(|reason| TufError::Store {
            role: "root".to_owned(),
            reason,
        })?;
    Ok(Opened {
        client: client(kept)?,
        mended: reason,
    })
}

/// Returns the moment at which the trusted timestamp was signed, if it names one.
fn signed_at(trusted: &Trusted) -> Option<u64> {
    trusted
        .timestamp()
        .and_then(|timestamp| timestamp.signed_at())
        .map(Instant::unix)
}

fn versions(trusted: &Trusted) -> (u64, u64) {
    (
        trusted.root().header.version,
        trusted
            .timestamp()
            .map_or(0, |timestamp| timestamp.header.version),
    )
}

/// Returns true if metadata comes after what was vouched for; a new root may restart the numbers of
/// timestamps.
fn is_newer(earlier: &Vouched, trusted: &Trusted) -> bool {
    versions(trusted) > (earlier.root, earlier.timestamp)
}

/// Checks the versions against those that were trusted before, also if the store was lost in between.
fn check(earlier: Option<&Vouched>, trusted: &Trusted) -> Result<(), TufError> {
    let Some(earlier) = earlier else { return Ok(()) };
    let (root, timestamp) = versions(trusted);
    let rollback = |role: &str, trusted, got| {
        Err(TufError::Rollback {
            role: role.to_owned(),
            trusted,
            got,
        })
    };
    if root < earlier.root {
        return rollback("root", earlier.root, root);
    }
    if root == earlier.root && timestamp < earlier.timestamp {
        return rollback("timestamp", earlier.timestamp, timestamp);
    }
    Ok(())
}
