//! Digests of a file's parts, so that each part of a download can be verified alone. Reads no file.

use sha2::{Digest, Sha256};

/// Digests of a file's parts, each of `chunk_size` bytes except the last, and their root.
///
/// The root is a binary tree over the parts (leaf: sha256 of 0 and the part; node: sha256 of 1, left and
/// right; a node without a neighbour moves up), so that no list can pass for a part of another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    leaves: Vec<[u8; 32]>,
}

/// Default size of a part, in bytes.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Maximum number of parts of a file: 4 GiB of the default size.
pub const MAX_CHUNKS: u64 = 4096;

fn leaf(part: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(part);
    hasher.finalize().into()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

impl ChunkList {
    /// Returns the list of a file.
    ///
    /// # Panics
    /// If `chunk_size` is 0.
    #[must_use]
    pub fn of(content: &[u8], chunk_size: usize) -> Self {
        if content.is_empty() {
            return Self {
                leaves: vec![leaf(b"")],
            };
        }
        Self {
            leaves: content.chunks(chunk_size).map(leaf).collect(),
        }
    }

    /// Returns the list of a file of one part, whose digest is the root.
    #[must_use]
    pub fn single(root: [u8; 32]) -> Self {
        Self { leaves: vec![root] }
    }

    /// Parses a list as it is served: the digests one after another. The caller has to compare
    /// [`ChunkList::root`] before it uses the list.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (leaves, rest) = bytes.as_chunks::<32>();
        let count = leaves.len() as u64;
        (rest.is_empty() && (1..=MAX_CHUNKS).contains(&count)).then(|| Self {
            leaves: leaves.to_vec(),
        })
    }

    /// Encodes the list as it is served.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.leaves.concat()
    }

    /// Returns the number of parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Returns false: a list is never empty. (For clippy.)
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Returns the root over all parts.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let mut level = self.leaves.clone();
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node(left, right),
                    _ => pair[0],
                })
                .collect();
        }
        level[0]
    }

    /// Returns true if some bytes are the part with this number.
    #[must_use]
    pub fn matches(&self, number: usize, part: &[u8]) -> bool {
        self.leaves
            .get(number)
            .is_some_and(|expected| leaf(part) == *expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_depends_on_every_part_and_its_place() {
        let content: Vec<u8> = (0..100u8).collect();
        for size in [1, 7, 33, 50, 99, 100, 200] {
            let list = ChunkList::of(&content, size);
            assert_eq!(ChunkList::decode(&list.encode()).as_ref(), Some(&list));
            for (number, part) in content.chunks(size).enumerate() {
                assert!(list.matches(number, part) && !list.matches(number + 1, part));
            }
            for at in 0..content.len() {
                let mut other = content.clone();
                other[at] ^= 1;
                assert_ne!(ChunkList::of(&other, size).root(), list.root());
            }
            let mut swapped = list.clone();
            swapped.leaves.reverse();
            assert!(swapped.len() == 1 || swapped.root() != list.root());
        }
    }

    #[test]
    fn a_list_is_no_part_and_sizes_are_bounded() {
        let list = ChunkList::of(&[1, 2], 1);
        let as_part = [&[1][..], &list.encode()].concat();
        assert_ne!(ChunkList::of(&as_part, 1000).root(), list.root());
        assert_eq!(ChunkList::decode(b""), None);
        assert_eq!(ChunkList::decode(&[0; 33]), None);
        assert_eq!(ChunkList::decode(&vec![0; 32 * 4097]), None);
    }
}
