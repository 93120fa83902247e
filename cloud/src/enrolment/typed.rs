//! Short codes that people type on a board in place of a pair code. Decides nothing: the rules are in `iottly_core::enrol`.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use iottly_core::enrol::TypedCodes;
use iottly_core::enrol::waiting::Guesses;
use iottly_protocol::ProjectId;
use iottly_protocol::enroll::{PairCode, ShortCode};

use super::{Enrolment, EnrolmentError, random};
use crate::{clock, edge::AddressKey};

/// Codes of this cloud, and the addresses that have named wrong ones.
#[derive(Default)]
pub(super) struct Typed {
    codes: Mutex<TypedCodes>,
    guesses: Mutex<Guesses<AddressKey>>,
}

impl Enrolment {
    /// Returns a short code that stands for a pair code of a project; none if the project has too many.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn short_code(
        &self,
        project: ProjectId,
        pair_code: PairCode,
    ) -> Result<Option<ShortCode>, EnrolmentError> {
        let fresh = ShortCode::from_bytes(random()?);
        let mut codes = self.typed.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let added = codes.add(project, pair_code, fresh, clock::steady_ms());
        Ok(added.then_some(fresh))
    }

    /// Returns the pair code that a short code stands for. After five wrong codes within ten minutes an address has to wait.
    ///
    /// # Errors
    /// [`EnrolmentError::Refused`], [`EnrolmentError::TooManyGuesses`].
    pub fn pair_code(&self, code: ShortCode, from: IpAddr) -> Result<PairCode, EnrolmentError> {
        let (now, from) = (clock::steady_ms(), AddressKey::of(from));
        let mut guesses = self.typed.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses
            .admit(&from, now)
            .map_err(EnrolmentError::too_many_guesses)?;
        let codes = self.typed.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.find(code, now).ok_or_else(|| {
            guesses.wrong(from, now);
            EnrolmentError::Refused
        })
    }
}
