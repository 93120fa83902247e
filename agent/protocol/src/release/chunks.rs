use sha2::{Digest, Sha256};

/// The digests of a file's parts, each of `chunk_size` bytes except the last, and their root.
///
/// The root is a binary tree over the parts (leaf: sha256 of 0 and the part; node: sha256 of 1, left and
/// right; a node without a neighbour moves up), so that no list can be passed off as another file's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    leaves: Vec<[u8; 32]>,
}

/// Bytes of a part, unless a manifest says otherwise.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Most parts of a file: 4 GiB of the usual size.
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
    /// Cuts a file into parts.
    ///
    /// # Panics
    /// When `chunk_size` is 0.
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

    /// The list of a file of one part, whose digest is the root.
    #[must_use]
    pub fn single(root: [u8; 32]) -> Self {
        Self { leaves: vec![root] }
    }

    /// Reads a list as it is served: the digests one after another. It is worth nothing until
    /// [`ChunkList::root`] is compared.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (leaves, rest) = bytes.as_chunks::<32>();
        let count = leaves.len() as u64;
        (rest.is_empty() && (1..=MAX_CHUNKS).contains(&count)).then(|| Self {
            leaves: leaves.to_vec(),
        })
    }

    /// The list as it is served.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.leaves.concat()
    }

    /// How many parts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there are no parts; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The root over all parts.
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

    /// Says whether some bytes are the part with this number.
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
