//! Machines that ask to act for a person, while they wait for the person. In memory only. Decides nothing: the rules are in
//! `iottly_core::machine_login`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use iottly_cloud::edge::AddressKey;
use iottly_cloud::{clock, random};
use iottly_core::enrol::waiting::Guesses;
use iottly_core::machine_login::{LoginAnswer, LoginRequest, LoginRequests};
use iottly_core::model::{Actor, Principal, Scopes, SecretHash, UnixMs};
use iottly_core::rate::RateLimit;
use iottly_protocol::enroll::ShortCode;
use iottly_protocol::{ProjectId, Secret};
use iottly_store::Author;

/// Maximum number of new requests of an address per minute.
const ASKS: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Reason why the request of a machine is not accepted, found or decided on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    /// The address asks for too many logins.
    #[error("this address asks for too many logins")]
    TooOften {
        /// Time to wait, in seconds.
        wait_s: u32,
    },
    /// No place is free for one more request.
    #[error("too many machines wait for an approval")]
    Full,
    /// No request has this code.
    #[error("no machine waits with the code {0}; a code is valid for ten minutes and is used once")]
    Unknown(ShortCode),
    /// The visitor has named too many wrong codes.
    #[error("too many wrong codes; try again in {} minutes", wait_s.div_ceil(60))]
    TooManyGuesses {
        /// Time to wait, in seconds.
        wait_s: u32,
    },
    /// The system has no randomness.
    #[error("failed to get randomness for a login: {0}")]
    Random(#[from] getrandom::Error),
}

/// Approval of a request.
#[derive(Debug, Clone)]
pub(crate) struct Approval {
    /// Giver of the approval, whose permissions are the limit.
    pub(crate) by: Approver,
    /// Maximum permissions.
    pub(crate) scopes: Scopes,
    /// Validity of the login, from the moment at which the machine fetches it, in milliseconds.
    pub(crate) length: UnixMs,
}

/// Giver of an approval.
#[derive(Debug, Clone)]
pub(crate) enum Approver {
    /// A person: the machine gets a machine login.
    Person {
        /// The person.
        author: Author,
        /// Project that the login is for; none for all projects of the person.
        project: Option<ProjectId>,
        /// Number of times that all logins of the person had been ended.
        round: u64,
    },
    /// The holder of a token with the scope `admin`: the machine gets a token of the same project.
    Token {
        /// The token.
        principal: Principal,
        /// Expiry of the token; none for never.
        expires: Option<UnixMs>,
    },
}

/// Requests of machines that wait for a person.
#[derive(Default)]
pub(crate) struct MachineRequests {
    table: Mutex<LoginRequests<AddressKey, Approval>>,
    guesses: Mutex<Guesses<Actor>>,
    asks: Asks,
}

struct Asks(RateLimit<AddressKey>);

impl Default for Asks {
    fn default() -> Self {
        Self(RateLimit::per_minute(ASKS))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MachineRequests {
    /// Adds the request of a machine. Returns the code for the person, and the secret with which the machine asks again.
    ///
    /// # Errors
    /// [`MachineError::TooOften`], [`MachineError::Full`], [`MachineError::Random`].
    pub(crate) fn add(&self, machine: String, from: IpAddr) -> Result<(ShortCode, Secret), MachineError> {
        let now = clock::steady_ms();
        let share = AddressKey::of(from);
        let verdict = self.asks.0.ask(share, now);
        if !verdict.allowed {
            return Err(MachineError::TooOften { wait_s: verdict.wait });
        }
        let code = ShortCode::from_bytes(random::bytes()?);
        let secret = crate::random::secret()?;
        let request = LoginRequest {
            code,
            machine,
            from: from.to_string(),
            since: now,
        };
        if lock(&self.table).add(share, SecretHash::of(secret.as_bytes()), request, now) {
            return Ok((code, secret.into()));
        }
        Err(MachineError::Full)
    }

    /// Answers a machine that asks again.
    pub(crate) fn poll(&self, secret: &str) -> LoginAnswer<Approval> {
        lock(&self.table).poll(SecretHash::of(secret.as_bytes()), clock::steady_ms())
    }

    /// Returns the request with a code, and the time since it came, in milliseconds. A wrong code counts as a guess of `by`.
    ///
    /// # Errors
    /// [`MachineError::Unknown`], [`MachineError::TooManyGuesses`].
    pub(crate) fn find(&self, code: ShortCode, by: Actor) -> Result<(LoginRequest, UnixMs), MachineError> {
        self.guess(code, by, |table, now| {
            table
                .find(code, now)
                .map(|found| (found.clone(), now.saturating_sub(found.since)))
        })
    }

    /// Approves the request with a code.
    ///
    /// # Errors
    /// [`MachineError::Unknown`], [`MachineError::TooManyGuesses`].
    pub(crate) fn approve(&self, code: ShortCode, by: Actor, approval: Approval) -> Result<(), MachineError> {
        self.guess(code, by, |table, now| {
            table.approve(code, approval, now).then_some(())
        })
    }

    /// Rejects the request with a code.
    ///
    /// # Errors
    /// [`MachineError::Unknown`], [`MachineError::TooManyGuesses`].
    pub(crate) fn deny(&self, code: ShortCode, by: Actor) -> Result<(), MachineError> {
        self.guess(code, by, |table, now| table.deny(code, now).then_some(()))
    }

    fn guess<T>(
        &self,
        code: ShortCode,
        by: Actor,
        look: impl FnOnce(&mut LoginRequests<AddressKey, Approval>, UnixMs) -> Option<T>,
    ) -> Result<T, MachineError> {
        let now = clock::steady_ms();
        let mut guesses = lock(&self.guesses);
        if let Err(wait_ms) = guesses.admit(&by, now) {
            let wait_s = u32::try_from(wait_ms / 1000 + 1).unwrap_or(u32::MAX);
            return Err(MachineError::TooManyGuesses { wait_s });
        }
        if let Some(found) = look(&mut lock(&self.table), now) {
            return Ok(found);
        }
        guesses.wrong(by, now);
        Err(MachineError::Unknown(code))
    }
}
