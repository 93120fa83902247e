//! Choice of the way to the broker: MQTT over TLS, or inside of a WebSocket for networks that let only HTTPS pass. Pure.

use crate::config::Way;

/// Choice of the way for each attempt to connect.
///
/// A device that may choose tries TLS and WebSocket in turn, and begins each time with the way that worked last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    preferred: Way,
    may_choose: bool,
    attempts: u32,
}

impl Ways {
    /// Creates the choice of a device whose address names this way. Only from TLS it may turn to another.
    pub(super) const fn new(named: Way) -> Self {
        Self {
            preferred: named,
            may_choose: matches!(named, Way::Tls),
            attempts: 0,
        }
    }

    /// Returns the way for the next attempt.
    pub(super) fn next(&mut self) -> Way {
        let attempt = self.attempts;
        self.attempts = self.attempts.wrapping_add(1);
        match self.preferred {
            Way::Tls if self.may_choose && attempt % 2 == 1 => Way::WebSocket,
            Way::WebSocket if self.may_choose && attempt % 2 == 1 => Way::Tls,
            way => way,
        }
    }

    /// Notes that a connection came up on this way. Returns true if that is news.
    pub(super) fn worked(&mut self, way: Way) -> bool {
        let news = self.preferred != way;
        (self.preferred, self.attempts) = (way, 0);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_websocket_are_tried_in_turn_until_one_works() {
        let mut ways = Ways::new(Way::Tls);
        let tried: Vec<Way> = (0..4).map(|_| ways.next()).collect();
        assert_eq!(tried, [Way::Tls, Way::WebSocket, Way::Tls, Way::WebSocket]);
        assert!(ways.worked(Way::WebSocket));
        assert!(!ways.worked(Way::WebSocket), "no news");
        let tried: Vec<Way> = (0..3).map(|_| ways.next()).collect();
        assert_eq!(tried, [Way::WebSocket, Way::Tls, Way::WebSocket]);
        assert!(ways.worked(Way::Tls));
        assert_eq!(ways.next(), Way::Tls);
    }

    #[test]
    fn a_way_that_the_owner_chose_stays() {
        for way in [Way::Plain, Way::WebSocket] {
            let mut ways = Ways::new(way);
            assert!((0..5).all(|_| ways.next() == way));
        }
    }
}
