//! Limits for simultaneous requests, so that a receiver cannot delay the others. Pure.

use std::collections::HashMap;

/// Maximum number of requests of a webhook.
pub const PER_HOOK: usize = 5;
/// Maximum number of requests of a webhook that has not succeeded since it was idle or failed.
pub const PER_UNPROVEN_HOOK: usize = 2;
/// Maximum number of requests to a host and port, of all webhooks.
const PER_HOST: usize = 10;
/// Maximum number of such requests of unproven webhooks: the burst that an unknown receiver gets.
const PER_HOST_UNPROVEN: usize = 2;
/// Maximum number of requests in total.
const GLOBAL: usize = 256;
/// Maximum number of requests of unproven webhooks in total, so that dead receivers never take all slots.
const GLOBAL_UNPROVEN: usize = 128;

/// Slot of a request; must be given back as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    host: String,
    proven: bool,
}

/// Slots in use.
#[derive(Debug, Default)]
pub struct Slots {
    taken: usize,
    unproven: usize,
    hosts: HashMap<String, usize>,
}

impl Slots {
    /// Takes a slot for a request to `host`; `None` when none is free.
    pub fn take(&mut self, host: &str, proven: bool) -> Option<Slot> {
        let at_host = self.hosts.get(host).copied().unwrap_or_default();
        let free = self.taken < GLOBAL && at_host < PER_HOST;
        if !free || !proven && (self.unproven >= GLOBAL_UNPROVEN || at_host >= PER_HOST_UNPROVEN) {
            return None;
        }
        self.taken += 1;
        self.unproven += usize::from(!proven);
        *self.hosts.entry(host.to_owned()).or_default() += 1;
        Some(Slot {
            host: host.to_owned(),
            proven,
        })
    }

    /// Frees a slot.
    pub fn give(&mut self, slot: Slot) {
        self.taken -= 1;
        self.unproven -= usize::from(!slot.proven);
        if let Some(count) = self.hosts.get_mut(&slot.host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&slot.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_has_not_answered_gets_two() {
        let mut slots = Slots::default();
        let held: Vec<_> = std::iter::repeat_with(|| slots.take("a:80", false))
            .map_while(|slot| slot)
            .collect();
        assert_eq!(held.len(), PER_HOST_UNPROVEN);
        assert!(
            slots.take("b:80", false).is_some(),
            "another host is not concerned"
        );
        let more: Vec<_> = std::iter::repeat_with(|| slots.take("a:80", true))
            .map_while(|slot| slot)
            .collect();
        assert_eq!(more.len(), PER_HOST - PER_HOST_UNPROVEN);
        held.into_iter().chain(more).for_each(|slot| slots.give(slot));
        assert_eq!((slots.taken, slots.unproven, slots.hosts.len()), (1, 1, 1));
    }

    #[test]
    fn dead_hosts_never_take_all_places() {
        let mut slots = Slots::default();
        let dead = (0..1000)
            .filter(|n| slots.take(&format!("dead{n}:80"), false).is_some())
            .count();
        assert_eq!(dead, GLOBAL_UNPROVEN);
        let alive = (0..1000)
            .filter(|n| slots.take(&format!("alive{n}:80"), true).is_some())
            .count();
        assert_eq!(alive, GLOBAL - GLOBAL_UNPROVEN);
    }
}
