//! Delegations: which other roles may describe which paths. Pure; the search through them is in `trusted`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::key::Key;
use super::role::{RoleKeys, check_keys};
use super::{hex, limits};

/// Delegations of a targets role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delegations {
    /// Keys of the roles, by id.
    pub keys: BTreeMap<String, Key>,
    /// Roles in the order of the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<DelegatedRole>>,
    /// Roles that each have an equal share of all paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succinct_roles: Option<SuccinctRoles>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Role that may describe files whose paths match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// Name of the role; any characters.
    pub name: String,
    /// Ids of the role's keys.
    pub keyids: Vec<String>,
    /// Number of distinct keys that must have signed.
    pub threshold: u64,
    /// True if roles after this one are not searched for a path that matches.
    pub terminating: bool,
    /// Patterns of paths: `*`, `?` and `[…]` within a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Prefixes of the sha256 of paths, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// `2^bit_length` roles named `{name_prefix}-{share}`; the first bits of a path's sha256 name its role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuccinctRoles {
    /// Ids of the keys of all these roles.
    pub keyids: Vec<String>,
    /// Number of distinct keys that must have signed.
    pub threshold: u64,
    /// Number of bits, 1 to 32.
    pub bit_length: u32,
    /// Prefix of the roles' names.
    pub name_prefix: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Role to search for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) terminating: bool,
}

impl Delegations {
    /// Checks names, keys and patterns.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.roles.is_some() == self.succinct_roles.is_some() {
            return Err("delegations need either roles or succinct_roles".to_owned());
        }
        let mut names = BTreeSet::new();
        for role in self.roles.iter().flatten() {
            let name = crate::limits::clip(&role.name, 64);
            if role.name.is_empty()
                || role.name.len() > limits::NAME_BYTES
                || TOP_LEVEL.contains(&role.name.as_str())
            {
                return Err(format!("a delegated role cannot be named {name:?}"));
            }
            if !names.insert(&role.name) {
                return Err(format!("role {name:?} is delegated twice"));
            }
            if role.paths.is_some() == role.path_hash_prefixes.is_some() {
                return Err(format!("role {name:?} needs either paths or path_hash_prefixes"));
            }
            check_keys(&role.keyids, role.threshold)?;
        }
        if let Some(roles) = &self.succinct_roles {
            if !(1..=32).contains(&roles.bit_length) || roles.name_prefix.len() > limits::NAME_BYTES {
                return Err(format!(
                    "succinct_roles: bit_length {} is not 1 to 32, or the prefix is too long",
                    roles.bit_length
                ));
            }
            check_keys(&roles.keyids, roles.threshold)?;
        }
        Ok(())
    }

    /// Returns keys and threshold of a delegated role; none if it is not delegated here.
    pub(super) fn role_keys(&self, name: &str) -> Option<RoleKeys> {
        if let Some(role) = self.roles.iter().flatten().find(|role| role.name == name) {
            return Some(RoleKeys::new(role.keyids.clone(), role.threshold));
        }
        let roles = self.succinct_roles.as_ref()?;
        roles
            .has(name)
            .then(|| RoleKeys::new(roles.keyids.clone(), roles.threshold))
    }

    /// Returns the roles to search for a path, in order, up to the first terminating one.
    pub(super) fn for_path(&self, path: &str) -> Vec<Asked> {
        if let Some(roles) = &self.succinct_roles {
            return vec![Asked {
                name: roles.name_for(path),
                terminating: true,
            }];
        }
        let mut asked = Vec::new();
        for role in self.roles.iter().flatten().filter(|role| role.matches(path)) {
            asked.push(Asked {
                name: role.name.clone(),
                terminating: role.terminating,
            });
            if role.terminating {
                break;
            }
        }
        asked
    }
}

const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

impl DelegatedRole {
    fn matches(&self, path: &str) -> bool {
        if let Some(prefixes) = &self.path_hash_prefixes {
            let digest = hex::encode(&Sha256::digest(path.as_bytes()));
            return prefixes.iter().any(|prefix| digest.starts_with(prefix.as_str()));
        }
        self.paths
            .iter()
            .flatten()
            .any(|pattern| path_matches(pattern, path))
    }
}

impl SuccinctRoles {
    fn digits(&self) -> usize {
        self.bit_length.div_ceil(4) as usize
    }

    fn name_for(&self, path: &str) -> String {
        let digest = Sha256::digest(path.as_bytes());
        let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let share = first >> (32 - self.bit_length);
        format!("{}-{share:0width$x}", self.name_prefix, width = self.digits())
    }

    fn has(&self, name: &str) -> bool {
        let Some(digits) = name
            .strip_prefix(&self.name_prefix)
            .and_then(|rest| rest.strip_prefix('-'))
        else {
            return false;
        };
        let canonical =
            digits.len() == self.digits() && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        canonical && u64::from_str_radix(digits, 16).is_ok_and(|share| share >> self.bit_length == 0)
    }
}

/// Returns true if a path has the pattern's parts: wildcards never match a `/`.
fn path_matches(pattern: &str, path: &str) -> bool {
    let patterns = pattern.split('/');
    let parts = path.split('/');
    pattern.matches('/').count() == path.matches('/').count()
        && patterns.zip(parts).all(|(pattern, part)| {
            let pattern: Vec<char> = pattern.chars().collect();
            let part: Vec<char> = part.chars().collect();
            part_matches(&pattern, &part)
        })
}

/// Matches shell wildcards in one part; time is at most the product of the lengths.
fn part_matches(pattern: &[char], text: &[char]) -> bool {
    let mut p = 0;
    let mut t = 0;
    // Place to continue at if the characters after the last `*` do not fit: the `*` takes one more.
    let mut retry = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(len) = one_matches(&pattern[p..], text[t]) {
            p += len;
            t += 1;
            continue;
        }
        let Some((after_star, taken)) = retry else {
            return false;
        };
        retry = Some((after_star, taken + 1));
        (p, t) = (after_star, taken + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Returns the length of the pattern's first element if it matches the character.
fn one_matches(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(set) = char_set(pattern) else {
                return (c == '[').then_some(1);
            };
            let (len, negated, members) = set;
            let mut inside = false;
            let mut at = 0;
            while at < members.len() {
                if at + 2 < members.len() && members[at + 1] == '-' {
                    inside |= members[at] <= c && c <= members[at + 2];
                    at += 3;
                } else {
                    inside |= members[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(len)
        }
        literal => (literal == c).then_some(1),
    }
}

/// Returns length, negation and members of a set `[…]`; none if it is not closed.
fn char_set(pattern: &[char]) -> Option<(usize, bool, &[char])> {
    let negated = pattern.get(1) == Some(&'!');
    let from = if negated { 2 } else { 1 };
    // A `]` in the first place is a member.
    let close = pattern.iter().skip(from + 1).position(|c| *c == ']')? + from + 1;
    Some((close + 1, negated, &pattern[from..close]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_part_by_part() {
        for (pattern, path) in [
            ("*", "a"),
            ("*", ""),
            ("prod/*", "prod/x.wasm"),
            ("*.tgz", "a.b.tgz"),
            ("foo-?.txt", "foo-a.txt"),
            ("a*b*c", "aXbYbZc"),
            ("a/*/c", "a/b/c"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]x", "]x"),
            ("[x", "[x"),
            ("é?", "éü"),
        ] {
            assert!(path_matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*", "a/b"),
            ("prod/*", "dev/x"),
            ("prod/*", "prod/x/y"),
            ("foo-?.txt", "foo-.txt"),
            ("a?c", "a/c"),
            ("[a-c]x", "dx"),
            ("[!a-c]x", "ax"),
            ("a*b", "abc"),
            ("", "a"),
        ] {
            assert!(!path_matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = "*a".repeat(500);
        assert!(!path_matches(&pattern, &"a".repeat(499)));
        assert!(!path_matches(&format!("{pattern}b"), &"a".repeat(1000)));
    }

    #[test]
    fn every_path_has_its_bin() {
        let roles = SuccinctRoles {
            keyids: vec![],
            threshold: 1,
            bit_length: 5,
            name_prefix: "bin".into(),
            extra: BTreeMap::new(),
        };
        for n in 0..200 {
            let name = roles.name_for(&format!("path {n}"));
            assert!(roles.has(&name) && name.len() == "bin-00".len(), "{name}");
        }
        for bad in [
            "bin-20", "bin-1", "bin-001", "bin", "bin-1F", "bin-+1", "other-01",
        ] {
            assert!(!roles.has(bad), "{bad}");
        }
    }
}
