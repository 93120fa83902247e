//! Boards that wait for a person's approval. Decides nothing: the rules are in `iottly_core::enrol::waiting`.
//!
//! Before a person has approved a board it belongs to no project. People see it only if they know its short code, which
//! is on the board's screen. A board with an enrolment key that waits is also in the list of the key's project.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_core::enrol::waiting::{Guesses, KEYED, STRANGERS, Told, WaitingBoard, WaitingList};
use iottly_core::model::{Actor, Approval, Change, Device, Principal, Scope, UnixMs};
use iottly_core::rate::RateLimit;
use iottly_protocol::enroll::{DeviceKey, EnrollAnswer, PairCode, ProvenEnrollment, ShortCode, Waiting};
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::{Enrolment, EnrolmentError, random};
use crate::live::{LiveHub, Parts};
use crate::{clock, edge::AddressKey};

/// Maximum number of requests without a code of an address per minute: more than 32 boards make that wait there.
const ASKS: NonZeroU32 = NonZeroU32::new(600).expect("600 is not zero");

/// Lists of the boards that wait at this cloud.
pub(super) struct WaitingBoards {
    strangers: Mutex<WaitingList<AddressKey>>,
    keyed: Mutex<WaitingList<ProjectId>>,
    guesses: Mutex<Guesses<Actor>>,
    asks: RateLimit<AddressKey>,
    live: Arc<LiveHub>,
}

impl WaitingBoards {
    pub(super) fn new(live: Arc<LiveHub>) -> Self {
        Self {
            live,
            strangers: Mutex::new(WaitingList::new(STRANGERS)),
            keyed: Mutex::new(WaitingList::new(KEYED)),
            guesses: Mutex::default(),
            asks: RateLimit::per_minute(ASKS),
        }
    }
}

/// Board that waits, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownBoard {
    /// Code by which people name it.
    pub code: ShortCode,
    /// Request of the board, with proofs that were checked.
    pub request: ProvenEnrollment,
    /// Address that it asks from.
    pub from: String,
    /// Time since its first request, in milliseconds.
    pub waits_ms: UnixMs,
    /// True if it came with an enrolment key of the project.
    pub has_key: bool,
}

/// Place that a person gives a board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Name; none for the one that the board wants.
    pub name: Option<String>,
    /// Group; none for the one of its enrolment key, or `_orphaned`.
    pub group: Option<GroupId>,
}

impl WaitingBoards {
    /// Returns the project and the code of the keyed board with this device key.
    pub(super) fn keyed(&self, key: &DeviceKey) -> Option<(ProjectId, Option<PairCode>)> {
        let list = self.keyed.lock().unwrap_or_else(PoisonError::into_inner);
        list.board(key).map(|board| (board.share, board.request.code()))
    }

    /// Removes a board that has its place.
    pub(super) fn remove(&self, key: &DeviceKey) {
        let (mut strangers, mut keyed) = (lock(&self.strangers), lock(&self.keyed));
        strangers.remove(key);
        keyed.remove(key);
    }

    /// Answers a board without a code.
    pub(super) fn ask_stranger(
        &self,
        request: &ProvenEnrollment,
        from: IpAddr,
    ) -> Result<EnrollAnswer, EnrolmentError> {
        let fresh = ShortCode::from_bytes(random()?);
        let mut list = lock(&self.strangers);
        let told = list.ask(
            AddressKey::of(from),
            request,
            from.to_string(),
            fresh,
            clock::steady_ms(),
        );
        answer(told)
    }

    /// Answers a board with an enrolment key of a project.
    pub(super) fn ask_keyed(
        &self,
        project: ProjectId,
        request: &ProvenEnrollment,
        from: IpAddr,
    ) -> Result<EnrollAnswer, EnrolmentError> {
        let fresh = ShortCode::from_bytes(random()?);
        let is_new = self.keyed(&request.device_key()).is_none();
        let told = lock(&self.keyed).ask(project, request, from.to_string(), fresh, clock::steady_ms());
        if is_new {
            self.live.changed(project, None, Parts::WAITING);
        }
        answer(told)
    }

    /// Refuses requests without a code of an address that sends too many.
    pub(super) fn admit(&self, from: IpAddr) -> Result<(), EnrolmentError> {
        let verdict = self.asks.ask(AddressKey::of(from), clock::steady_ms());
        if verdict.allowed {
            Ok(())
        } else {
            Err(EnrolmentError::TooMany { wait_s: verdict.wait })
        }
    }

    fn of(&self, project: ProjectId) -> Vec<ShownBoard> {
        let (list, now) = (lock(&self.keyed), clock::steady_ms());
        list.of(&project, now)
            .into_iter()
            .map(|board| shown(board, true, now))
            .collect()
    }

    fn find(&self, project: ProjectId, code: ShortCode) -> Option<ShownBoard> {
        let now = clock::steady_ms();
        let keyed = lock(&self.keyed)
            .find(code, now)
            .filter(|board| board.share == project)
            .map(|board| shown(board, true, now));
        keyed.or_else(|| {
            lock(&self.strangers)
                .find(code, now)
                .map(|board| shown(board, false, now))
        })
    }

    fn deny(&self, key: &DeviceKey) {
        let now = clock::steady_ms();
        lock(&self.strangers).deny(key, now);
        lock(&self.keyed).deny(key, now);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shown<K>(board: &WaitingBoard<K>, has_key: bool, now: UnixMs) -> ShownBoard {
    ShownBoard {
        code: board.code,
        request: board.request.clone(),
        from: board.from.clone(),
        waits_ms: now.saturating_sub(board.since),
        has_key,
    }
}

fn answer(told: Told) -> Result<EnrollAnswer, EnrolmentError> {
    match told {
        Told::Wait {
            code,
            poll_ms,
            expires_ms,
            slow_down,
        } => {
            let waiting = Waiting {
                short_code: code,
                poll_ms: poll_ms.unsigned_abs(),
                expires_ms: expires_ms.unsigned_abs(),
            };
            Ok(if slow_down {
                EnrollAnswer::SlowDown(waiting)
            } else {
                EnrollAnswer::Waiting(waiting)
            })
        }
        Told::Denied => Ok(EnrollAnswer::Denied),
        Told::Expired => Ok(EnrollAnswer::Expired),
        Told::Full => Err(EnrolmentError::Full),
    }
}

impl Enrolment {
    /// Returns the boards that wait with enrolment keys of a project, those that wait longest first.
    #[must_use]
    pub fn waiting(&self, project: ProjectId) -> Vec<ShownBoard> {
        self.waiting.of(project)
    }

    /// Returns the board that shows a code: one without an enrolment key, or one with a key of the principal's project. A
    /// code that no board shows counts as a guess of the principal.
    ///
    /// # Errors
    /// [`EnrolmentError::UnknownBoard`], [`EnrolmentError::TooManyGuesses`].
    pub fn waiting_board(&self, by: &Principal, code: ShortCode) -> Result<ShownBoard, EnrolmentError> {
        let now = clock::steady_ms();
        let mut guesses = lock(&self.waiting.guesses);
        guesses
            .admit(&by.actor, now)
            .map_err(EnrolmentError::too_many_guesses)?;
        self.waiting.find(by.project, code).ok_or_else(|| {
            guesses.wrong(by.actor, now);
            EnrolmentError::UnknownBoard
        })
    }

    /// Makes the board that shows a code a device of the principal's project. The board fetches its secret when it asks
    /// again.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub async fn approve(
        &self,
        by: &Principal,
        code: ShortCode,
        placement: Placement,
    ) -> Result<Device, EnrolmentError> {
        let board = self.waiting_board(by, code)?;
        let key = board.request.code().map(super::hash);
        let device_key = board.request.device_key();
        let scope = Scope {
            project: by.project,
            device: DeviceId::random(),
        };
        let approval = Approval {
            device: scope.device,
            request: board.request,
            key,
            name: placement.name,
            group: placement.group,
        };
        let change = Change::ApproveBoard(Box::new(approval));
        self.store.change(by.project, by, change, clock::now()).await?;
        self.waiting.remove(&device_key);
        self.tell(by.project);
        tracing::info!(device.id = %scope.device, project.id = %scope.project, peer.address = board.from, "approved a board");
        let device = self.store.device(scope).await?;
        device.ok_or(EnrolmentError::UnknownBoard)
    }

    /// Rejects the board that shows a code.
    ///
    /// # Errors
    /// See [`EnrolmentError`].
    pub async fn reject(&self, by: &Principal, code: ShortCode) -> Result<(), EnrolmentError> {
        let board = self.waiting_board(by, code)?;
        let key = board.request.device_key();
        let change = Change::RejectBoard(key);
        self.store.change(by.project, by, change, clock::now()).await?;
        self.waiting.deny(&key);
        self.tell(by.project);
        Ok(())
    }

    /// Notifies pages that the boards that wait have changed.
    fn tell(&self, project: ProjectId) {
        self.waiting.live.changed(project, None, Parts::WAITING);
    }
}
