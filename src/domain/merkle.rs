//! The Merkle tree over the entries of a log (RFC 6962 section 2.1, SHA-256): hashes, and roots that grow with the log.

pub mod proof;

use sha2::{Digest, Sha256};

/// The hash of a leaf, of a node, or of a whole tree.
pub type Hash = [u8; 32];

/// What a leaf's bytes are hashed behind, so that no leaf can pass for a node.
const LEAF: [u8; 1] = [0];
/// What a node's two hashes are hashed behind.
const NODE: [u8; 1] = [1];

/// Returns the hash of an entry: SHA-256 of a zero byte and the entry's bytes.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update(LEAF).chain_update(entry).finalize().into()
}

/// Returns the hash of the node above two others: SHA-256 of a byte 1 and the two hashes.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update(NODE).chain_update(left).chain_update(right).finalize().into()
}

/// Returns the root of the tree without entries: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a tree: the roots of the perfect subtrees that it consists of. All that is needed to append to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots, of the largest subtree first.
    hashes: Vec<Hash>,
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// The tree without entries.
    pub fn new() -> Self {
        Self { size: 0, hashes: Vec::with_capacity(64) }
    }

    /// Takes a frontier up again; `None` unless there are as many hashes as `size` has bits set.
    pub fn from_hashes(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (u32::try_from(hashes.len()) == Ok(size.count_ones())).then_some(Self { size, hashes })
    }

    /// Appends an entry by its [`leaf_hash`].
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _, _| ());
    }

    /// Appends an entry by its [`leaf_hash`], and hands over each node that is complete with it, from the leaf up, as
    /// level (0 for the leaf), index in the level, and hash.
    pub fn append_with(&mut self, leaf: Hash, mut complete: impl FnMut(u8, u64, &Hash)) {
        let (mut hash, mut level) = (leaf, 0_u8);
        complete(0, self.size, &hash);
        // Each bit that is set at the end of the size is a subtree that the new one stands beside.
        let mut size = self.size;
        while size & 1 == 1 {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            (size, level) = (size >> 1, level.saturating_add(1));
            complete(level, size, &hash);
        }
        self.hashes.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, of the largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        let joined = self.hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: Hash) -> String {
        use std::fmt::Write as _;
        hash.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    /// The root as RFC 6962 section 2.1 defines it.
    fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let leaves: Vec<Hash> = (0..300_u32).map(|number| leaf_hash(&number.to_le_bytes())).collect();
        let mut frontier = Frontier::new();
        for size in 0..=leaves.len() {
            assert_eq!(frontier.root(), root_by_definition(&leaves[..size]), "{size}");
            assert_eq!(frontier.size(), size as u64);
            let again = Frontier::from_hashes(size as u64, frontier.hashes().to_vec());
            assert_eq!(again.as_ref(), Some(&frontier));
            assert_eq!(Frontier::from_hashes(size as u64 ^ 1, frontier.hashes().to_vec()), None);
            if let Some(leaf) = leaves.get(size) {
                frontier.append(*leaf);
            }
        }
    }

    #[test]
    fn known_trees_have_their_known_roots() {
        // The empty tree and the tree of one empty entry: SHA-256 of nothing and of one zero byte.
        let mut frontier = Frontier::new();
        assert_eq!(hex(frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        frontier.append(leaf_hash(b""));
        assert_eq!(hex(frontier.root()), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_complete_node_is_handed_over_once_with_its_place() {
        let leaves: Vec<Hash> = (0..64_u8).map(|number| leaf_hash(&[number])).collect();
        let mut frontier = Frontier::new();
        let mut nodes = std::collections::BTreeMap::new();
        for leaf in &leaves {
            frontier.append_with(*leaf, |level, index, hash| {
                assert!(nodes.insert((level, index), *hash).is_none());
            });
        }
        assert_eq!(nodes.len(), 127);
        for ((level, index), hash) in nodes {
            let (width, index) = (1_usize << level, usize::try_from(index).unwrap());
            assert_eq!(hash, root_by_definition(&leaves[index * width..(index + 1) * width]), "{level} {index}");
        }
    }
}
