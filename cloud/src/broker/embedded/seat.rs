//! Place of a connection: among those without a login at first, and among the devices of its project after
//! the login.

use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::ProjectId;
use tokio::sync::Notify;

use crate::edge::{AddressKey, Place};

/// Place of a connection.
#[derive(Debug)]
pub(super) struct Seat {
    /// Key under which the client's address is counted; `None` behind a trusted proxy that does not name the
    /// client.
    pub(super) address: Option<AddressKey>,
    state: Mutex<State>,
    lost: Arc<Notify>,
}

#[derive(Debug)]
enum State {
    Waiting(Place<AddressKey>),
    Device { _place: Place<ProjectId> },
    Gone,
}

impl Seat {
    pub(super) fn new(address: Option<AddressKey>, place: Place<AddressKey>) -> Self {
        Self {
            address,
            lost: place.signal(),
            state: Mutex::new(State::Waiting(place)),
        }
    }

    /// Resolves when the connection has to make room for another, which only happens before its login.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Exchanges the place for one of a device. Returns false when the connection had to make room for
    /// another in the meantime.
    pub(super) fn sit_down(&self, device: Place<ProjectId>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Waiting(place) if place.keep() => {
                *state = State::Device { _place: device };
                true
            }
            State::Device { .. } => true,
            State::Waiting(_) | State::Gone => false,
        }
    }

    /// Frees the place, although other parts may still refer to this seat.
    pub(super) fn leave(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Gone;
    }
}
