//! The place of one connection: among those without a login first, among the devices of its project
//! afterwards.

use std::sync::{Arc, Mutex, PoisonError};

use iottly_protocol::ProjectId;
use tokio::sync::Notify;

use crate::edge::{AddressKey, Place};

/// A connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    /// How the client's address is counted; none behind a trusted proxy that does not name it.
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

    /// Resolves when the connection has to make room for another, which happens before its login only.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Takes the place of a device in exchange. False when the connection had to make room for another in the
    /// meantime.
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

    /// Gives the place back, though others may still know this seat.
    pub(super) fn leave(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Gone;
    }
}
