//! Presence of devices, and rate limits for their hellos and presence changes. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Pace, PaceLimits};
use iottly_core::clones::{Boots, Seen};
use iottly_core::model::{Scope, UnixMs};
use iottly_core::presence::{Event, Presence};

/// Rate limit of answered hellos per device. A hello beyond it is answered later; of several, only the
/// newest.
const HELLOS: PaceLimits = PaceLimits {
    burst: 4,
    every: Duration::from_secs(1),
};
/// Rate limit of presence changes in a device's history. A change beyond it is written later, if it still
/// applies then.
const CHANGES: PaceLimits = PaceLimits {
    burst: 10,
    every: Duration::from_secs(10),
};
/// Time for which an offline device is remembered, so that late events of its former connections are ignored.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Maximum number of remembered devices. Above, offline devices are forgotten immediately; the number of
/// online ones is bounded by the connections.
const DEVICES: usize = 100_000;

/// State of devices that are online or were recently.
#[derive(Debug, Default)]
pub(super) struct Presences {
    devices: HashMap<Scope, Known>,
    /// Devices whose presence is written later, with the time.
    late: BTreeSet<(Instant, Scope)>,
}

#[derive(Debug)]
struct Known {
    presence: Presence,
    /// Presence that was stored last.
    written: bool,
    late: bool,
    hellos: Pace,
    changes: Pace,
    heard: Instant,
    boots: Boots,
}

impl Presences {
    /// Adds a device that was online when the cloud stopped.
    pub(super) fn assume_online(&mut self, scope: Scope, now: Instant) {
        let known = Known {
            presence: Presence::assumed_online(),
            written: true,
            ..Known::new(now)
        };
        self.devices.insert(scope, known);
    }

    /// Applies an event. Returns the device's presence if it has to be written now.
    pub(super) fn handle(&mut self, scope: Scope, event: Event, now: Instant) -> Option<bool> {
        self.known(scope, now).presence.handle(event);
        self.change(scope, now)
    }

    /// Uses the allowance for one hello of a device.
    ///
    /// # Errors
    /// The time from which the device's next hello may be answered.
    pub(super) fn hello(&mut self, scope: Scope, now: Instant) -> Result<(), Instant> {
        self.known(scope, now).hellos.ask(now, HELLOS)
    }

    /// Takes the boot id of a device's hello. Returns two boards if it is certain that they share the device's keys.
    /// `now_ms` is of a clock that does not jump.
    pub(super) fn boot(
        &mut self,
        scope: Scope,
        seen: Seen,
        now: Instant,
        now_ms: UnixMs,
    ) -> Option<[Seen; 2]> {
        self.known(scope, now).boots.hello(seen, now_ms)
    }

    /// Returns the presence of devices whose postponed change is due, at most `most` of them.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<(Scope, bool)> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(&(at, scope)) = self.late.first()
            && at <= now
        {
            self.late.pop_first();
            if let Some(known) = self.devices.get_mut(&scope) {
                known.late = false;
            }
            due.extend(self.change(scope, now).map(|online| (scope, online)));
        }
        due
    }

    /// Returns the next time at which [`due`](Self::due) returns something.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.late.first().map(|(at, _)| *at)
    }

    /// Returns the devices that are considered online.
    pub(super) fn online(&self) -> Vec<Scope> {
        self.devices
            .iter()
            .filter(|(_, known)| known.presence.is_online())
            .map(|(scope, _)| *scope)
            .collect()
    }

    /// Forgets devices that have been offline for long.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.devices.retain(|_, known| !known.is_over(now, REMEMBERED));
    }

    fn known(&mut self, scope: Scope, now: Instant) -> &mut Known {
        if self.devices.len() >= DEVICES && !self.devices.contains_key(&scope) {
            self.devices
                .retain(|_, known| !known.is_over(now, Duration::ZERO));
        }
        let known = self.devices.entry(scope).or_insert_with(|| Known::new(now));
        known.heard = now;
        known
    }

    fn change(&mut self, scope: Scope, now: Instant) -> Option<bool> {
        let known = self.devices.get_mut(&scope)?;
        let online = known.presence.is_online();
        if known.late || online == known.written {
            return None;
        }
        match known.changes.ask(now, CHANGES) {
            Ok(()) => {
                known.written = online;
                Some(online)
            }
            Err(at) => {
                known.late = true;
                self.late.insert((at, scope));
                None
            }
        }
    }
}

impl Known {
    fn new(now: Instant) -> Self {
        let (hellos, changes) = (Pace::default(), Pace::default());
        Self {
            presence: Presence::default(),
            written: false,
            late: false,
            hellos,
            changes,
            heard: now,
            boots: Boots::default(),
        }
    }

    fn is_over(&self, now: Instant, away: Duration) -> bool {
        let idle = !self.presence.is_online() && !self.written && !self.late && self.hellos.is_fresh(now);
        idle && now.saturating_duration_since(self.heard) >= away
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{ConnId, DeviceId, ProjectId};

    use super::*;

    fn scope(n: u32) -> Scope {
        let mut device = [0; 16];
        device[..4].copy_from_slice(&n.to_le_bytes());
        Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::from_bytes(device),
        }
    }

    fn up() -> Event {
        Event::Hello(ConnId::random())
    }

    #[test]
    fn a_device_that_comes_and_goes_all_the_time_is_written_now_and_then_and_rightly_in_the_end() {
        let (mut presences, start) = (Presences::default(), Instant::now());
        let (mut now, mut written) = (start, Vec::new());
        for _ in 0..600 {
            now += Duration::from_millis(50);
            written.extend(presences.handle(scope(1), up(), now));
            written.extend(presences.handle(scope(1), Event::Disconnected, now));
            written.extend(presences.due(now, 9).into_iter().map(|(_, online)| online));
        }
        written.extend(presences.handle(scope(1), up(), now));
        assert!((10..=14).contains(&written.len()), "{written:?}");
        while let Some(at) = presences.next_due() {
            written.extend(presences.due(at, 9).into_iter().map(|(_, online)| online));
        }
        assert!(
            written.windows(2).all(|pair| pair[0] != pair[1]) && written.last() == Some(&true),
            "{written:?}"
        );
    }

    #[test]
    fn devices_of_the_past_are_forgotten_and_those_that_are_there_are_not() {
        let (mut presences, start) = (Presences::default(), Instant::now());
        presences.assume_online(scope(0), start);
        for n in 1..DEVICES as u32 + 50 {
            presences.handle(scope(n), up(), start);
            presences.handle(scope(n), Event::Disconnected, start);
        }
        assert!(presences.devices.len() <= DEVICES);
        presences.tidy(start + REMEMBERED);
        assert_eq!(presences.online(), [scope(0)]);
        assert_eq!(presences.devices.len(), 1);
    }

    #[test]
    fn hellos_have_a_pace_for_each_device() {
        let (mut presences, start) = (Presences::default(), Instant::now());
        let allowed = (0..100)
            .filter(|_| presences.hello(scope(1), start).is_ok())
            .count();
        assert_eq!(allowed, 4);
        assert!(presences.hello(scope(2), start).is_ok());
        assert_eq!(
            presences.hello(scope(1), start),
            Err(start + Duration::from_secs(1))
        );
    }
}
