//! Places for connections, with limits in total and per key (an address, a project). Unauthenticated holders
//! make room for newcomers.
//!
//! The holder that has been idle for the longest time is removed first, once it is one second old. While all
//! are younger and most have not been active, the youngest is removed: under a flood of silent connections, the earlier
//! ones are served, and a client that comes after the flood is served at once. While most are at work, as when a fleet
//! returns, a newcomer is turned away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Age from which the oldest holder is removed first. Younger holders may just be waiting for their first
/// bytes to arrive.
const KEPT: Duration = Duration::from_secs(1);
/// Maximum number of removed holders that have not closed yet; beyond it, no further holder is admitted.
const MAX_LEAVING: usize = 64;
/// Pause before the next check whether they have closed.
const LEAVING_PAUSE: Duration = Duration::from_millis(5);

/// Places with their limits.
#[derive(Debug)]
pub struct Places<K> {
    all: usize,
    per_key: usize,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    next: u64,
    /// Holders in the order in which they were last active.
    holders: BTreeMap<u64, Holder<K>>,
    shares: HashMap<K, Share>,
    /// All holders.
    total: Share,
    leaving: usize,
}

/// Holders of a key, or all of them.
#[derive(Debug, Default)]
struct Share {
    count: usize,
    /// Holders that make room, in the order in which they were last active.
    yielding: BTreeSet<u64>,
    /// Number of those among them that have not been active yet.
    silent: usize,
}

impl Share {
    fn add<K>(&mut self, id: u64, holder: &Holder<K>) {
        self.count += 1;
        if holder.yields {
            self.yielding.insert(id);
            self.silent += usize::from(holder.fresh);
        }
    }

    fn remove<K>(&mut self, id: u64, holder: &Holder<K>) {
        self.count -= 1;
        self.keep(id, holder);
    }

    /// Takes a holder that yielded until now out of those that do.
    fn keep<K>(&mut self, id: u64, holder: &Holder<K>) {
        if holder.yields {
            self.yielding.remove(&id);
            self.silent -= usize::from(holder.fresh);
        }
    }
}

#[derive(Debug)]
struct Holder<K> {
    key: Option<K>,
    since: Instant,
    yields: bool,
    /// True while the holder has not been active.
    fresh: bool,
    go: Arc<Notify>,
}

/// Place in the table; freed when dropped.
#[derive(Debug)]
pub struct Place<K: Copy + Eq + Hash> {
    id: AtomicU64,
    go: Arc<Notify>,
    places: Arc<Places<K>>,
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// Creates `all` places, `per_key` of them for one key.
    pub fn new(all: usize, per_key: usize) -> Arc<Self> {
        let table = Table {
            next: 0,
            holders: BTreeMap::new(),
            shares: HashMap::new(),
            total: Share::default(),
            leaving: 0,
        };
        Arc::new(Self {
            all,
            per_key,
            table: Mutex::new(table),
        })
    }

    /// Takes a place under a key; without a key only the total limit applies. While no place is free, a
    /// yielding holder is removed, if there is one: of the same key when its share is used up, otherwise of
    /// the key with the most places.
    pub fn take(self: &Arc<Self>, key: Option<K>, yields: bool, now: Instant) -> Option<Place<K>> {
        let mut table = self.lock();
        self.make_room(&mut table, key, now).then(|| {
            let go = Arc::new(Notify::new());
            let id = table.add(Holder {
                key,
                since: now,
                yields,
                fresh: true,
                go: Arc::clone(&go),
            });
            Place {
                id: AtomicU64::new(id),
                go,
                places: Arc::clone(self),
            }
        })
    }

    /// Returns true if a place is free.
    pub fn has_room(&self) -> bool {
        self.lock().holders.len() < self.all
    }

    /// Waits while many removed holders have not closed yet, so that their number never exceeds the limits by
    /// much.
    pub async fn calm(&self) {
        while self.lock().leaving > MAX_LEAVING {
            tokio::time::sleep(LEAVING_PAUSE).await;
        }
    }

    fn make_room(&self, table: &mut Table<K>, key: Option<K>, now: Instant) -> bool {
        let own = key.and_then(|key| table.shares.get(&key));
        let leaves = if let Some(own) = own.filter(|own| own.count >= self.per_key) {
            table.first_to_go(own, now)
        } else if table.holders.len() >= self.all {
            let most = table.shares.values().max_by_key(|share| share.count);
            let of_most = most.and_then(|share| table.first_to_go(share, now));
            of_most.or_else(|| table.first_to_go(&table.total, now))
        } else {
            return true;
        };
        let Some(holder) = leaves.and_then(|id| table.remove(id)) else {
            return false;
        };
        table.leaving += 1;
        holder.go.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        self.lock().holders.len()
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn add(&mut self, holder: Holder<K>) -> u64 {
        let id = self.next;
        self.next += 1;
        if let Some(key) = holder.key {
            self.shares.entry(key).or_default().add(id, &holder);
        }
        self.total.add(id, &holder);
        self.holders.insert(id, holder);
        id
    }

    fn remove(&mut self, id: u64) -> Option<Holder<K>> {
        let holder = self.holders.remove(&id)?;
        self.total.remove(id, &holder);
        if let Some(key) = holder.key
            && let Some(share) = self.shares.get_mut(&key)
        {
            share.remove(id, &holder);
            if share.count == 0 {
                self.shares.remove(&key);
            }
        }
        Some(holder)
    }

    /// Keeps a holder from now on. Returns false if there is none with this number.
    fn keep(&mut self, id: u64) -> bool {
        let Some(holder) = self.holders.get_mut(&id) else {
            return false;
        };
        let own = holder.key.and_then(|key| self.shares.get_mut(&key));
        for share in own.into_iter().chain([&mut self.total]) {
            share.keep(id, holder);
        }
        holder.yields = false;
        true
    }

    /// Returns the holder of a share that makes room for a newcomer.
    fn first_to_go(&self, share: &Share, now: Instant) -> Option<u64> {
        let holder = |id: &u64| self.holders.get(id);
        let first = share.yielding.first().copied()?;
        if holder(&first).is_some_and(|holder| now.saturating_duration_since(holder.since) >= KEPT) {
            return Some(first);
        }
        // Where most are at work, a newcomer that drove out another one would get no further than that one did.
        if 2 * share.silent < share.count {
            return None;
        }
        let mut latest = share.yielding.iter().rev();
        latest
            .find(|id| holder(id).is_some_and(|holder| holder.fresh))
            .copied()
    }
}

impl<K: Copy + Eq + Hash> Place<K> {
    /// Keeps the place from now on, also when others need it. Returns false if it is already lost.
    pub fn keep(&self) -> bool {
        self.places.lock().keep(self.id())
    }

    /// Yields the place from now on, after all holders that have waited longer. Returns false if it is
    /// already lost.
    pub fn idle(&self, now: Instant) -> bool {
        let mut table = self.places.lock();
        let Some(holder) = table.remove(self.id()) else {
            return false;
        };
        let id = table.add(Holder {
            since: now,
            yields: true,
            fresh: false,
            ..holder
        });
        self.id.store(id, Ordering::Relaxed);
        true
    }

    /// Counts the place under another key. Returns false if that key's share is used up, or the place is
    /// already lost.
    pub fn count_as(&self, key: Option<K>, now: Instant) -> bool {
        let mut table = self.places.lock();
        let Some(holder) = table.remove(self.id()) else {
            return false;
        };
        // This place itself is free at this point, so only the new key's share can be used up.
        let room = self.places.make_room(&mut table, key, now);
        let id = table.add(Holder { key, ..holder });
        self.id.store(id, Ordering::Relaxed);
        room
    }

    /// Returns the signal that [`lost`](Self::lost) waits for.
    pub fn signal(&self) -> Arc<Notify> {
        Arc::clone(&self.go)
    }

    /// Resolves when the place is lost and its holder has to close.
    pub async fn lost(&self) {
        self.go.notified().await;
    }

    fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        if table.remove(self.id()).is_none() {
            table.leaving = table.leaving.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolves at once when the place was lost.
    async fn is_lost(place: &Place<u8>) -> bool {
        tokio::time::timeout(Duration::from_millis(1), place.lost())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_key_that_uses_up_its_share_drives_out_its_own_only() {
        let (places, start) = (Places::new(10, 3), Instant::now());
        let other = places.take(Some(2), true, start).expect("free");
        let mut held: Vec<_> = (0..3)
            .map(|_| places.take(Some(1), true, start).expect("free"))
            .collect();
        held.push(places.take(Some(1), true, start).expect("the youngest goes"));
        assert!(is_lost(&held[2]).await && !is_lost(&held[0]).await);
        let newest = places.take(Some(1), true, start + KEPT).expect("the oldest goes");
        assert!(
            is_lost(&held[0]).await
                && !is_lost(&held[1]).await
                && !is_lost(&held[3]).await
                && !is_lost(&other).await
        );
        assert!(!held[0].keep() && !held[0].idle(start), "lost is lost");
        assert_eq!(places.taken(), 4);
        drop(held);
        assert_eq!(places.taken(), 2);
        drop((newest, other));
        let table = places.lock();
        assert_eq!(
            (
                table.holders.len(),
                table.shares.len(),
                table.total.count,
                table.leaving
            ),
            (0, 0, 0, 0)
        );
    }

    #[tokio::test]
    async fn when_all_are_taken_the_key_with_most_makes_room() {
        let (places, start) = (Places::new(4, 3), Instant::now());
        let lone = places.take(Some(1), true, start).expect("free");
        let many: Vec<_> = (0..3)
            .map(|_| places.take(Some(2), true, start).expect("free"))
            .collect();
        let late = start + KEPT;
        let third = places.take(Some(3), true, late).expect("room is made");
        assert!(is_lost(&many[0]).await && !is_lost(&lone).await);
        assert!(many[1].keep() && many[2].keep() && third.keep());
        let fourth = places.take(Some(4), false, late).expect("the lone one goes now");
        assert!(is_lost(&lone).await);
        assert!(
            places.take(Some(5), true, late + KEPT).is_none(),
            "all keep their places"
        );
        assert!(
            places.take(None, true, late + KEPT).is_none(),
            "without a key as well"
        );
        drop(fourth);
        assert!(places.take(None, true, late).is_some());
    }

    #[tokio::test]
    async fn who_was_of_use_goes_last() {
        let (places, start) = (Places::new(2, 2), Instant::now());
        let (a, b) = (
            places.take(Some(1), true, start).expect("free"),
            places.take(Some(2), true, start).expect("free"),
        );
        assert!(a.keep() && a.idle(start + KEPT));
        let _c = places.take(Some(3), true, start + KEPT).expect("room");
        assert!(is_lost(&b).await && !is_lost(&a).await);
        let _d = places
            .take(Some(4), true, start + KEPT)
            .expect("a newcomer goes while all are young");
        assert!(!is_lost(&a).await, "who was of use stays");
    }

    #[tokio::test]
    async fn newcomers_leave_each_other_in_peace_while_most_are_at_work() {
        let (places, start) = (Places::new(10, 4), Instant::now());
        let held: Vec<_> = (0..4)
            .map(|_| places.take(Some(1), true, start).expect("free"))
            .collect();
        assert!(held[..3].iter().all(Place::keep), "three are at work");
        assert!(places.take(Some(1), true, start).is_none());
        assert!(!is_lost(&held[3]).await, "the fourth has time to say something");
        let late = places.take(Some(1), true, start + KEPT);
        assert!(
            late.is_some() && is_lost(&held[3]).await,
            "it was silent for too long"
        );
    }

    #[tokio::test]
    async fn a_place_is_counted_under_the_key_that_a_proxy_names() {
        let (places, start) = (Places::new(10, 1), Instant::now());
        let a = places.take(None, true, start).expect("free");
        let b = places.take(None, true, start).expect("free");
        assert!(a.count_as(Some(1), start));
        assert!(a.keep() && !b.count_as(Some(1), start), "its share is used up");
        assert!(b.count_as(Some(2), start));
        drop((a, b));
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn nobody_new_comes_while_many_leave() {
        let (places, start) = (Places::new(1000, 1000), Instant::now());
        let held: Vec<_> = (0..1000)
            .map(|_| places.take(Some(1), true, start).expect("free"))
            .collect();
        let next: Vec<_> = (0..=MAX_LEAVING)
            .map(|_| places.take(Some(1), true, start + KEPT).expect("room"))
            .collect();
        assert!(
            tokio::time::timeout(Duration::from_millis(20), places.calm())
                .await
                .is_err()
        );
        drop(held);
        tokio::time::timeout(Duration::from_secs(10), places.calm())
            .await
            .expect("they have gone");
        drop(next);
    }
}
