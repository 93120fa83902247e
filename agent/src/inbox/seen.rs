//! Memory of ended commands, bounded.

use std::collections::{HashSet, VecDeque};

use iottly_protocol::CommandId;

/// Maximum number of ids kept; the cloud repeats a command only until its result, long before 10,000 others.
const MAX_SEEN: usize = 10_000;

/// Ids of the latest commands that have ended.
#[derive(Debug, Default)]
pub(super) struct Seen {
    order: VecDeque<CommandId>,
    ids: HashSet<CommandId>,
}

impl Seen {
    pub(super) fn contains(&self, id: CommandId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn insert(&mut self, id: CommandId) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Returns the ids, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = CommandId> {
        self.order.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut seen = Seen::default();
        let ids: Vec<_> = (0..=MAX_SEEN).map(|_| CommandId::random()).collect();
        for id in &ids {
            seen.insert(*id);
            seen.insert(*id);
        }
        assert_eq!(seen.iter().count(), MAX_SEEN);
        assert!(!seen.contains(ids[0]));
        assert!(seen.contains(ids[1]) && seen.contains(ids[MAX_SEEN]));
    }
}
