//! Decisions about enrolment: which device a request becomes, and when a new secret is given. Pure; the store applies
//! them in the transaction in which it has read the facts.

use iottly_protocol::enroll::ProvenEnrollment;
use iottly_protocol::{GroupId, ProjectId};

use crate::model::{EnrolmentKeyId, Scope, UnixMs};

mod renewal;
mod typed;
pub mod waiting;

pub use renewal::{
    CHALLENGE_MS, HAND_OVER_MS, MAX_SECRETS, Nonce, RenewalRefusal, SECRET_MS, SecretFacts, challenge,
    checked, renew,
};
pub use typed::{TYPED_ALL, TYPED_EACH, TYPED_MS, TypedCodes};

/// Pair code that a request names, with its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairCodeFacts {
    /// Device that the code pairs.
    pub scope: Scope,
    /// Expiry of the unused code.
    pub expires: UnixMs,
    /// True once a board has used the code.
    pub used: bool,
}

/// Enrolment key that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Project of the key.
    pub project: ProjectId,
    /// Id of the key.
    pub key: EnrolmentKeyId,
    /// Expiry; none if the key does not expire.
    pub expires: Option<UnixMs>,
    /// Number of devices that were created with the key.
    pub uses: u64,
    /// Maximum number of devices.
    pub max_uses: u64,
    /// Group of the devices; none for `_orphaned`.
    pub group: Option<GroupId>,
    /// Tags of the devices.
    pub tags: Vec<String>,
    /// Time without a connection after which a device of the key is deleted, in milliseconds; none for never.
    pub ephemeral_ms: Option<UnixMs>,
    /// True if a person has to approve each board.
    pub waiting: bool,
}

/// Pair code or enrolment key that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A pair code.
    PairCode(PairCodeFacts),
    /// An enrolment key.
    Key(KeyFacts),
}

impl Named {
    /// Returns the project that the code belongs to.
    #[must_use]
    pub const fn project(&self) -> ProjectId {
        match self {
            Self::PairCode(code) => code.scope.project,
            Self::Key(key) => key.project,
        }
    }
}

/// Device that has the key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The device.
    pub scope: Scope,
    /// Time of its enrolment.
    pub enrolled: UnixMs,
    /// True once the board has got a secret; false while a board that was approved has not asked again.
    pub has_secret: bool,
}

/// Time for which a board that was approved may fetch its first secret, in milliseconds: a week.
pub const FETCH_MS: UnixMs = 7 * 24 * 60 * 60 * 1000;

/// Time for which a board that is enrolled may ask again, because the answer was lost: one hour, in milliseconds. Later, a
/// copy of its request would bring a secret to the one who kept it.
pub const AGAIN_MS: UnixMs = 60 * 60 * 1000;

/// Facts about a request, read in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Pair code or enrolment key that the request names, if any.
    pub named: Option<Named>,
    /// Device that has the request's key.
    pub owner: Option<Owner>,
    /// Device that has the earlier key that the sender also holds.
    pub previous: Option<Scope>,
}

/// Decision to admit a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The board becomes this device; a board that was it before cannot log in any more.
    Pair(Scope),
    /// The board is this device already: the answer to its first request was lost.
    Again(Scope),
    /// The board is this device and has made new keys, for which the earlier one vouches.
    Rekey(Scope),
    /// The board becomes a new device of this enrolment key.
    Create(KeyFacts),
    /// The board was approved as this device and gets its first secret.
    Fetch(Scope),
    /// The board is this device of release 0.1, and has a key from now on. Its old secret stays valid until the first
    /// renewal, so that a board that loses the answer can ask again.
    Upgrade(Scope),
}

/// Decision on a request that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The board gets its place.
    Admit(Admission),
    /// A person has to approve the board; with the enrolment key that it has, if it has one.
    Wait(Option<KeyFacts>),
}

/// Reason why a request is refused. Strangers get one text for all of them; the audit log has the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No code of this cloud has this text.
    #[error("the code is unknown")]
    Unknown,
    /// The time of the code is over.
    #[error("the code has expired")]
    Expired,
    /// Another board has used the pair code.
    #[error("the pair code was used by another board")]
    Used,
    /// The enrolment key has as many devices as it may.
    #[error("the enrolment key has created its maximum number of devices")]
    Exhausted,
    /// The key is that of another device.
    #[error("the key belongs to another device")]
    KeyTaken,
    /// The board has been enrolled for longer than [`AGAIN_MS`].
    #[error("the board is enrolled already")]
    Enrolled,
}

/// Decides on a request. A MAC address or another property of the board gives it nothing: the id of a device is kept
/// only by its key, by an earlier key that vouches for the new one, or by a pair code of the operator for this device.
///
/// # Errors
/// The reason of a refusal.
pub fn decide(request: &ProvenEnrollment, facts: Facts, now: UnixMs) -> Result<Decision, Refusal> {
    if request.code().is_none() {
        return match facts.owner {
            Some(owner) => again(owner, now).map(Decision::Admit),
            None => Ok(Decision::Wait(None)),
        };
    }
    let admission = match facts.named.ok_or(Refusal::Unknown)? {
        Named::PairCode(code) => match facts.owner {
            Some(owner) if owner.scope != code.scope => Err(Refusal::KeyTaken),
            Some(owner) if code.used => again(owner, now),
            _ if code.used => Err(Refusal::Used),
            _ if now >= code.expires => Err(Refusal::Expired),
            _ => Ok(Admission::Pair(code.scope)),
        },
        Named::Key(key) => match facts.owner {
            Some(owner) if owner.scope.project == key.project => again(owner, now),
            Some(_) => Err(Refusal::KeyTaken),
            None if key.expires.is_some_and(|expires| now >= expires) => Err(Refusal::Expired),
            None => match facts.previous {
                Some(scope) if scope.project == key.project => Ok(Admission::Rekey(scope)),
                _ if key.uses >= key.max_uses => Err(Refusal::Exhausted),
                _ if key.waiting => return Ok(Decision::Wait(Some(key))),
                _ => Ok(Admission::Create(key)),
            },
        },
    };
    admission.map(Decision::Admit)
}

/// Decides on a request of a device of release 0.1 that has proven the secret of its configuration. `owner` is the device that
/// has the request's key.
///
/// # Errors
/// If the key belongs to another device.
pub fn decide_legacy(scope: Scope, owner: Option<Owner>) -> Result<Admission, Refusal> {
    match owner {
        Some(owner) if owner.scope != scope => Err(Refusal::KeyTaken),
        _ => Ok(Admission::Upgrade(scope)),
    }
}

fn again(owner: Owner, now: UnixMs) -> Result<Admission, Refusal> {
    let age = now.abs_diff(owner.enrolled);
    if !owner.has_secret && age <= FETCH_MS.unsigned_abs() {
        Ok(Admission::Fetch(owner.scope))
    } else if owner.has_secret && age <= AGAIN_MS.unsigned_abs() {
        Ok(Admission::Again(owner.scope))
    } else {
        Err(Refusal::Enrolled)
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::DeviceId;
    use iottly_protocol::enroll::{BoardFacts, DeviceSigner, EnrollRequest, PairCode, SealingSecret};

    use super::*;

    const NOW: UnixMs = 1_800_000_000_000;

    fn scope(project: u8, device: u8) -> Scope {
        Scope {
            project: ProjectId::from_bytes([project; 12]),
            device: DeviceId::from_bytes([device; 16]),
        }
    }

    fn request(code: bool) -> ProvenEnrollment {
        let code = code.then(|| PairCode::from_bytes([1; 16]));
        EnrollRequest::signed(
            code,
            &DeviceSigner::from_secret(&[2; 32]),
            &SealingSecret::from_secret([3; 32]),
            BoardFacts {
                mac: Some("00:00:5E:00:53:01".into()),
                ..BoardFacts::default()
            },
            None,
        )
        .proven()
        .expect("signed")
    }

    fn admitted(admission: Admission) -> Result<Decision, Refusal> {
        Ok(Decision::Admit(admission))
    }

    fn owner_since(scope: Scope) -> Owner {
        Owner {
            scope,
            enrolled: NOW,
            has_secret: true,
        }
    }

    #[test]
    fn a_request_that_was_kept_is_worth_nothing_later() {
        let code = PairCodeFacts {
            scope: scope(1, 1),
            expires: NOW + 1,
            used: true,
        };
        let at = |now| {
            let facts = Facts {
                named: Some(Named::PairCode(code)),
                owner: Some(owner_since(scope(1, 1))),
                previous: None,
            };
            decide(&request(true), facts, now)
        };
        assert_eq!(at(NOW + AGAIN_MS), admitted(Admission::Again(scope(1, 1))));
        assert_eq!(at(NOW + AGAIN_MS + 1), Err(Refusal::Enrolled));
    }

    fn by_code(used: bool, owner: Option<Scope>) -> Result<Decision, Refusal> {
        let code = PairCodeFacts {
            scope: scope(1, 1),
            expires: NOW + 1,
            used,
        };
        let facts = |code| Facts {
            named: Some(Named::PairCode(code)),
            owner: owner.map(owner_since),
            previous: None,
        };
        let over = decide(&request(true), facts(PairCodeFacts { expires: NOW, ..code }), NOW);
        if !used && owner.is_none() {
            assert_eq!(over, Err(Refusal::Expired));
        }
        decide(&request(true), facts(code), NOW)
    }

    #[test]
    fn a_pair_code_works_once_and_again_for_the_board_that_used_it() {
        assert_eq!(by_code(false, None), admitted(Admission::Pair(scope(1, 1))));
        assert_eq!(by_code(true, None), Err(Refusal::Used));
        assert_eq!(
            by_code(true, Some(scope(1, 1))),
            admitted(Admission::Again(scope(1, 1)))
        );
        assert_eq!(by_code(false, Some(scope(1, 2))), Err(Refusal::KeyTaken));
        assert_eq!(by_code(true, Some(scope(2, 1))), Err(Refusal::KeyTaken));
        let nothing = Facts {
            named: None,
            owner: Some(owner_since(scope(1, 1))),
            previous: None,
        };
        assert_eq!(
            decide(&request(true), nothing.clone(), NOW),
            Err(Refusal::Unknown)
        );
        let stranger = Facts {
            owner: None,
            ..nothing
        };
        assert_eq!(decide(&request(false), stranger, NOW), Ok(Decision::Wait(None)));
    }

    #[test]
    fn an_enrolment_key_gives_an_old_id_only_to_an_old_key() {
        let key = KeyFacts {
            project: scope(1, 0).project,
            key: EnrolmentKeyId::from_bytes([5; 16]),
            expires: Some(NOW + 1),
            uses: 9,
            max_uses: 10,
            group: None,
            tags: Vec::new(),
            ephemeral_ms: None,
            waiting: false,
        };
        let with = |key: &KeyFacts, owner: Option<Scope>, previous| {
            let facts = Facts {
                named: Some(Named::Key(key.clone())),
                owner: owner.map(owner_since),
                previous,
            };
            decide(&request(true), facts, NOW)
        };
        // The request has the MAC address of a device of the project; that alone makes it a new device.
        assert_eq!(with(&key, None, None), admitted(Admission::Create(key.clone())));
        assert_eq!(
            with(&key, None, Some(scope(1, 7))),
            admitted(Admission::Rekey(scope(1, 7)))
        );
        assert_eq!(
            with(&key, None, Some(scope(2, 7))),
            admitted(Admission::Create(key.clone())),
            "an id of another project is not taken along"
        );
        assert_eq!(
            with(&key, Some(scope(1, 7)), None),
            admitted(Admission::Again(scope(1, 7)))
        );
        assert_eq!(with(&key, Some(scope(2, 7)), None), Err(Refusal::KeyTaken));
        let full = KeyFacts {
            uses: 10,
            ..key.clone()
        };
        assert_eq!(with(&full, None, None), Err(Refusal::Exhausted));
        assert_eq!(
            with(&full, None, Some(scope(1, 7))),
            admitted(Admission::Rekey(scope(1, 7)))
        );
        let over = KeyFacts {
            expires: Some(NOW),
            ..key
        };
        assert_eq!(with(&over, None, None), Err(Refusal::Expired));
        assert_eq!(
            with(&over, Some(scope(1, 7)), None),
            admitted(Admission::Again(scope(1, 7)))
        );
    }

    #[test]
    fn a_waiting_key_lets_no_board_in_by_itself() {
        let key = KeyFacts {
            project: scope(1, 0).project,
            key: EnrolmentKeyId::from_bytes([5; 16]),
            expires: None,
            uses: 0,
            max_uses: 1,
            group: None,
            tags: Vec::new(),
            ephemeral_ms: None,
            waiting: true,
        };
        let with = |key: &KeyFacts, owner, previous| {
            let facts = Facts {
                named: Some(Named::Key(key.clone())),
                owner,
                previous,
            };
            decide(&request(true), facts, NOW)
        };
        assert_eq!(with(&key, None, None), Ok(Decision::Wait(Some(key.clone()))));
        let old = with(&key, None, Some(scope(1, 7)));
        assert_eq!(
            old,
            admitted(Admission::Rekey(scope(1, 7))),
            "the earlier key is the proof"
        );
        let full = KeyFacts {
            uses: 1,
            ..key.clone()
        };
        assert_eq!(with(&full, None, None), Err(Refusal::Exhausted));
        let approved = Owner {
            has_secret: false,
            ..owner_since(scope(1, 7))
        };
        let fetched = with(&key, Some(approved), None);
        assert_eq!(fetched, admitted(Admission::Fetch(scope(1, 7))));
    }

    #[test]
    fn an_approved_board_fetches_its_secret_within_a_week() {
        let at = |has_secret, now| {
            let facts = Facts {
                named: None,
                owner: Some(Owner {
                    has_secret,
                    ..owner_since(scope(1, 7))
                }),
                previous: None,
            };
            decide(&request(false), facts, now)
        };
        assert_eq!(at(false, NOW + FETCH_MS), admitted(Admission::Fetch(scope(1, 7))));
        assert_eq!(at(false, NOW + FETCH_MS + 1), Err(Refusal::Enrolled));
        assert_eq!(at(true, NOW + AGAIN_MS), admitted(Admission::Again(scope(1, 7))));
        assert_eq!(at(true, NOW + AGAIN_MS + 1), Err(Refusal::Enrolled));
    }
}
