//! Short codes that stand for pair codes, so that people can type them. Pure; the codes live in the memory of the cloud.

use std::collections::HashMap;

use iottly_protocol::ProjectId;
use iottly_protocol::enroll::{PairCode, ShortCode};

use super::waiting::WAIT_MS;
use crate::model::UnixMs;

/// Validity of a short code, in milliseconds: ten minutes.
pub const TYPED_MS: UnixMs = WAIT_MS;
/// Maximum number of codes of a project.
pub const TYPED_EACH: usize = 256;
/// Maximum number of codes in all.
pub const TYPED_ALL: usize = 8_192;

/// Pair code that a short code stands for.
#[derive(Debug, Clone, Copy)]
struct Typed {
    pair_code: PairCode,
    project: ProjectId,
    /// End of its validity.
    end: UnixMs,
}

/// Short codes with their pair codes. A code may be asked for again within its time, because an answer can be lost; the pair
/// code works once.
#[derive(Debug, Default)]
pub struct TypedCodes(HashMap<ShortCode, Typed>);

impl TypedCodes {
    /// Makes `fresh` stand for a pair code of a project. Returns false if the project, or all of them, have too many, or
    /// if the code is taken. `now` is of a clock that does not jump.
    pub fn add(&mut self, project: ProjectId, pair_code: PairCode, fresh: ShortCode, now: UnixMs) -> bool {
        self.0.retain(|_, typed| now < typed.end);
        let own = self.0.values().filter(|typed| typed.project == project).count();
        if self.0.len() >= TYPED_ALL || own >= TYPED_EACH || self.0.contains_key(&fresh) {
            return false;
        }
        let typed = Typed {
            pair_code,
            project,
            end: now.saturating_add(TYPED_MS),
        };
        self.0.insert(fresh, typed);
        true
    }

    /// Returns the pair code that a short code stands for.
    #[must_use]
    pub fn find(&self, code: ShortCode, now: UnixMs) -> Option<PairCode> {
        let typed = self.0.get(&code).filter(|typed| now < typed.end)?;
        Some(typed.pair_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(n: u32) -> ShortCode {
        let [a, b, c, d] = n.to_be_bytes();
        ShortCode::from_bytes([a, b, c, d, 7])
    }

    #[test]
    fn a_short_code_is_valid_for_ten_minutes() {
        let (mut codes, project) = (TypedCodes::default(), ProjectId::from_bytes([1; 12]));
        let pair_code = PairCode::from_bytes([2; 16]);
        assert!(codes.add(project, pair_code, short(1), 5));
        assert_eq!(codes.find(short(1), 5 + TYPED_MS - 1), Some(pair_code));
        assert_eq!(codes.find(short(1), 5 + TYPED_MS), None);
        assert_eq!(codes.find(short(2), 5), None);
        let other = PairCode::from_bytes([3; 16]);
        assert!(!codes.add(project, other, short(1), 6), "the code is taken");
        assert!(codes.add(project, other, short(1), 5 + TYPED_MS));
        assert_eq!(codes.find(short(1), 5 + TYPED_MS), Some(other));
    }

    #[test]
    fn a_project_leaves_codes_for_others() {
        let mut codes = TypedCodes::default();
        let pair_code = PairCode::from_bytes([2; 16]);
        let mut given = 0;
        for n in 0..u32::try_from(TYPED_ALL + 100).expect("small") {
            let project = ProjectId::from_bytes([u8::try_from(n % 8).expect("small"); 12]);
            given += usize::from(codes.add(project, pair_code, short(n), 0));
        }
        assert_eq!(given, 8 * TYPED_EACH);
        assert!(codes.add(ProjectId::from_bytes([9; 12]), pair_code, short(u32::MAX), 0));
        assert!(codes.add(ProjectId::from_bytes([1; 12]), pair_code, short(0), TYPED_MS));
        assert_eq!(codes.0.len(), 1, "codes that are over take no room");
    }
}
