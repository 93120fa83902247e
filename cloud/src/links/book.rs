//! Knowledge of the devices' links and of what they sent, in memory. Neither reads nor writes the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_protocol::ProjectId;

use super::link::Link;
use iottly_core::model::{Device, Proof, Scope, UnixMs};
use iottly_core::presence::{Facts, Pauses, View};

/// Maximum number of devices with notes; above, those without a connection are forgotten. The number of connections has
/// its own limit.
const DEVICES: usize = 100_000;

/// Notes about devices.
#[derive(Debug, Default)]
pub(crate) struct Book {
    devices: Mutex<HashMap<Scope, Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    link: Option<Arc<Link>>,
    pauses: Pauses,
    /// Time since which the device is online; none while it is offline.
    online: Option<UnixMs>,
    /// True if the history was searched for messages of before this process.
    looked_back: bool,
    /// True if watchers were told that the device is silent.
    silent: bool,
}

impl Notes {
    /// Returns true if a device that is online since `since` has sent nothing for three usual pauses.
    fn is_silent(&self, since: UnixMs, now: Moment) -> bool {
        self.pauses.silent_at().is_some_and(|at| at <= now.date) && self.pauses.last() >= Some(since)
    }
}

/// Times of the steady clock and of receipt that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Time of [`clock::steady_ms`](crate::clock::steady_ms).
    pub(crate) steady: i64,
    /// Time of receipt.
    pub(crate) date: UnixMs,
}

impl Moment {
    fn date_of(self, steady: i64) -> UnixMs {
        self.date.saturating_sub(self.steady.saturating_sub(steady))
    }
}

impl Book {
    /// Notes the link of a device that has logged in.
    pub(crate) fn linked(&self, scope: Scope, link: Arc<Link>) {
        self.with(scope, |notes| notes.link = Some(link));
    }

    /// Notes messages of a device's firmware.
    pub(crate) fn sent(&self, scope: Scope, at: UnixMs) {
        self.with(scope, |notes| notes.pauses.sent(at));
    }

    /// Notes sendings of before this process, oldest first, unless the device has sent since.
    pub(crate) fn sent_before(&self, scope: Scope, times: &[UnixMs]) {
        self.with(scope, |notes| {
            let since: Option<UnixMs> = notes.pauses.last();
            let mut pauses = Pauses::default();
            times.iter().for_each(|at| pauses.sent(*at));
            if since.is_none() {
                notes.pauses = pauses;
            }
            notes.looked_back = true;
        });
    }

    /// Notes that a device is online since `at`, or offline.
    pub(crate) fn changed(&self, scope: Scope, online: Option<UnixMs>) {
        self.with(scope, |notes| {
            notes.online = online;
            notes.silent = false;
        });
    }

    /// Returns the last packet of a device, if it came in this process.
    pub(crate) fn proof(&self, scope: Scope, now: Moment) -> Option<Proof> {
        let (packet, at) = self.all().get(&scope)?.link.as_ref()?.last()?;
        Some(Proof {
            packet,
            at: now.date_of(at),
        })
    }

    /// Returns the time of the last message of a device's firmware, or its absence; `None` if neither is known.
    pub(crate) fn last_sent(&self, scope: Scope) -> Option<Option<UnixMs>> {
        let all = self.all();
        let notes = all.get(&scope)?;
        let last = notes.pauses.last();
        (last.is_some() || notes.looked_back).then_some(last)
    }

    /// Returns the presence of a device.
    pub(crate) fn view(&self, device: &Device, now: Moment) -> View {
        let proof = self.proof(device.scope, now).or(device.proof);
        let all = self.all();
        let pauses = all.get(&device.scope).map(|notes| &notes.pauses);
        let facts = Facts {
            online: device.online,
            changed: device.online_since,
            proof,
            pauses,
            absence: device.absence.as_ref(),
        };
        View::of(facts, now.date)
    }

    /// Returns the number of a project's connected devices that have sent nothing for three usual pauses.
    pub(crate) fn silent(&self, project: ProjectId, now: Moment) -> usize {
        let all = self.all();
        let silent = all.iter().filter(|(scope, notes)| {
            scope.project == project && notes.online.is_some_and(|since| notes.is_silent(since, now))
        });
        silent.count()
    }

    /// Returns the devices that became silent or send again since the last call, and those whose link is overdue.
    pub(crate) fn sweep(&self, now: Moment) -> (Vec<Scope>, Vec<Scope>) {
        let (mut turned, mut overdue) = (Vec::new(), Vec::new());
        for (scope, notes) in self.all().iter_mut() {
            if notes
                .link
                .as_ref()
                .is_some_and(|link| link.is_overdue(now.steady))
            {
                overdue.push(*scope);
            }
            let Some(since) = notes.online else { continue };
            let silent = notes.is_silent(since, now);
            if silent != notes.silent {
                notes.silent = silent;
                turned.push(*scope);
            }
        }
        (turned, overdue)
    }

    fn with(&self, scope: Scope, change: impl FnOnce(&mut Notes)) {
        let mut all = self.all();
        if all.len() >= DEVICES && !all.contains_key(&scope) {
            all.retain(|_, notes| {
                notes.online.is_some() || notes.link.as_ref().is_some_and(|link| !link.is_ended())
            });
        }
        change(all.entry(scope).or_default());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Scope, Notes>> {
        // Every change of the map is complete or was not begun.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, ProjectId};

    use super::*;

    fn scope(n: u32) -> Scope {
        let mut device = [0; 16];
        device[..4].copy_from_slice(&n.to_le_bytes());
        Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::from_bytes(device),
        }
    }

    fn moment(date: UnixMs) -> Moment {
        Moment { steady: date, date }
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let book = Book::default();
        book.changed(scope(1), Some(0));
        for n in 0..5 {
            book.sent(scope(1), n * 20_000);
        }
        assert_eq!(book.sweep(moment(139_999)).0, []);
        assert_eq!(book.sweep(moment(140_000)).0, [scope(1)]);
        assert_eq!(book.sweep(moment(141_000)).0, []);
        book.sent(scope(1), 142_000);
        assert_eq!(book.sweep(moment(142_000)).0, [scope(1)]);
        book.changed(scope(1), None);
        assert_eq!(book.sweep(moment(900_000)).0, [], "offline is not silent");
    }

    #[test]
    fn what_was_sent_before_the_start_counts_until_something_is_sent() {
        let book = Book::default();
        book.sent_before(scope(1), &[1, 2000]);
        assert_eq!(book.last_sent(scope(1)), Some(Some(2000)));
        book.sent(scope(2), 9000);
        book.sent_before(scope(2), &[1, 2000]);
        assert_eq!(book.last_sent(scope(2)), Some(Some(9000)));
        book.sent_before(scope(3), &[]);
        assert_eq!(
            (book.last_sent(scope(3)), book.last_sent(scope(4))),
            (Some(None), None)
        );
    }

    #[test]
    fn the_notes_are_bounded() {
        let book = Book::default();
        book.changed(scope(0), Some(0));
        for n in 1..DEVICES as u32 + 50 {
            book.sent(scope(n), 1);
        }
        assert!(book.all().len() <= DEVICES);
        assert!(book.all().contains_key(&scope(0)), "an online device is kept");
    }
}
