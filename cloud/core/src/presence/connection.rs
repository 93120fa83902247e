//! Presence of a device by the events of its connections: connected or not. Pure.

use iottly_protocol::{ConnId, Status};

/// Number of former connections of a device that are remembered, so that their late events are ignored.
const LEFT: usize = 4;

/// Presence of one device and its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    online: bool,
    current: Option<ConnId>,
    left: [Option<ConnId>; LEFT],
}

/// Event that affects a device's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection introduced itself.
    Hello(ConnId),
    /// A connection published its status, or its last will was published.
    Status(Status),
    /// The broker has no connection of the device.
    Disconnected,
}

impl Presence {
    /// Returns the presence of a device that was online when the cloud stopped: it counts as online until it
    /// is certain that it did not reconnect.
    #[must_use]
    pub fn assumed_online() -> Self {
        Self {
            online: true,
            ..Self::default()
        }
    }

    /// Returns true if the device counts as online.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.online
    }

    /// Applies an event; returns the new state if it changed.
    pub fn handle(&mut self, event: Event) -> Option<bool> {
        match event {
            Event::Hello(conn) => self.up(conn),
            Event::Status(status) if status.online => self.up(status.conn),
            Event::Status(status) => self.down(status.conn),
            Event::Disconnected => self.offline(),
        }
    }

    fn up(&mut self, conn: ConnId) -> Option<bool> {
        if self.current == Some(conn) || self.left.contains(&Some(conn)) {
            return None;
        }
        self.leave();
        self.current = Some(conn);
        let changed = !self.online;
        self.online = true;
        changed.then_some(true)
    }

    fn down(&mut self, conn: ConnId) -> Option<bool> {
        match self.current {
            Some(current) if current != conn => None,
            None if self.left.contains(&Some(conn)) => None,
            _ => {
                self.current = Some(conn);
                self.offline()
            }
        }
    }

    fn offline(&mut self) -> Option<bool> {
        self.leave();
        let changed = self.online;
        self.online = false;
        changed.then_some(false)
    }

    fn leave(&mut self) {
        if let Some(conn) = self.current.take() {
            self.left.rotate_right(1);
            self.left[0] = Some(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(n: u8) -> ConnId {
        ConnId::from_bytes([n; 16])
    }

    fn status(n: u8, online: bool) -> Event {
        Event::Status(Status::new(conn(n), online))
    }

    #[test]
    fn a_connection_is_told_once() {
        let mut presence = Presence::default();
        assert_eq!(presence.handle(status(1, true)), Some(true));
        assert_eq!(presence.handle(Event::Hello(conn(1))), None);
        assert_eq!(presence.handle(status(1, false)), Some(false));
        assert_eq!(presence.handle(Event::Disconnected), None);
        assert_eq!(presence.handle(Event::Hello(conn(2))), Some(true));
        assert_eq!(presence.handle(Event::Disconnected), Some(false));
    }

    #[test]
    fn the_late_will_of_an_old_connection_is_ignored() {
        let mut presence = Presence::default();
        presence.handle(Event::Hello(conn(1)));
        assert_eq!(presence.handle(Event::Hello(conn(2))), None);
        assert_eq!(presence.handle(status(1, false)), None);
        assert_eq!(presence.handle(status(1, true)), None);
        assert_eq!(presence.handle(Event::Hello(conn(1))), None);
        assert!(presence.is_online());
        assert_eq!(presence.handle(status(2, false)), Some(false));
        assert_eq!(
            presence.handle(status(2, true)),
            None,
            "the event of a former connection"
        );
    }

    #[test]
    fn a_restart_of_the_cloud_waits_for_the_device() {
        let mut back = Presence::assumed_online();
        assert_eq!(back.handle(Event::Hello(conn(1))), None);
        let mut gone = Presence::assumed_online();
        assert_eq!(gone.handle(Event::Disconnected), Some(false));
        let mut will = Presence::assumed_online();
        assert_eq!(will.handle(status(1, false)), Some(false));
    }

    #[test]
    fn only_changes_are_reported_whatever_happens() {
        let events = [
            Event::Hello(conn(1)),
            Event::Hello(conn(2)),
            status(1, true),
            status(1, false),
            status(2, false),
            Event::Disconnected,
        ];
        // Every sequence of five events.
        for mut code in 0..events.len().pow(5) {
            let mut presence = Presence::default();
            let mut told = false;
            for _ in 0..5 {
                let before = presence.is_online();
                let change = presence.handle(events[code % events.len()]);
                code /= events.len();
                assert_eq!(
                    change,
                    (before != presence.is_online()).then_some(presence.is_online())
                );
                if let Some(online) = change {
                    assert_ne!(online, told);
                    told = online;
                }
            }
        }
    }
}
