//! Proofs about a tree: that an entry is in it, and that an earlier tree is its beginning (RFC 9162 section 2.1).

use super::{Hash, node_hash};

/// What proves that an entry is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry's place in the tree, from 0: its sequence number less one.
    pub leaf_index: u64,
    /// How many entries the tree has.
    pub tree_size: u64,
    /// The hash of the entry's stored bytes.
    pub leaf_hash: Hash,
    /// The hashes beside the way up, the lowest first.
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// Whether it proves that its leaf is in the tree with this root.
    #[must_use]
    pub fn verifies(&self, root: &Hash) -> bool {
        verifies_inclusion(&self.leaf_hash, self.leaf_index, self.tree_size, &self.path, root)
    }
}

/// What proves that a tree is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// How many entries the earlier tree has; at least 1.
    pub first_size: u64,
    /// How many entries the later tree has.
    pub second_size: u64,
    /// The hashes.
    pub path: Vec<Hash>,
}

impl ConsistencyProof {
    /// Whether it proves that the tree with the first root is the beginning of the one with the second.
    #[must_use]
    pub fn verifies(&self, first_root: &Hash, second_root: &Hash) -> bool {
        verifies_consistency(self.first_size, first_root, self.second_size, second_root, &self.path)
    }
}

/// Proves that the entry `index` (from 0) is in the tree of `size` entries: the hashes beside its way up, the lowest
/// first. `node` reads the hash of the perfect subtree at a level (0 for leaves) and an index in that level; only
/// subtrees that lie within `size` are asked for.
///
/// `None` unless `index < size`.
///
/// # Errors
/// Whatever `node` fails with.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Option<Vec<Hash>>, E> {
    if index >= size {
        return Ok(None);
    }
    let (mut begin, mut end, mut path) = (0, size, Vec::new());
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(root_of(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(root_of(begin, middle, &mut node)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// Proves that the tree of `old` entries is the beginning of the tree of `new` ones. `node` is as for [`inclusion`].
/// The proof is empty when the sizes are the same, and when `old` is 0.
///
/// `None` unless `old <= new`.
///
/// # Errors
/// Whatever `node` fails with.
pub fn consistency<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Option<Vec<Hash>>, E> {
    if old > new {
        return Ok(None);
    }
    let (mut begin, mut end, mut path) = (0, new, Vec::new());
    // Of an empty tree everything is a continuation.
    while old > 0 && old < end {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(root_of(middle, end, &mut node)?);
            end = middle;
        } else {
            path.push(root_of(begin, middle, &mut node)?);
            begin = middle;
        }
    }
    // The subtree that is the same in both, unless that is all of the old tree, which who verifies knows.
    if old > 0 && begin > 0 {
        path.push(root_of(begin, end, &mut node)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// Returns the root of the tree of `size` entries, by the hashes of its perfect subtrees.
///
/// # Errors
/// Whatever `node` fails with.
pub fn root<E>(size: u64, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(super::empty_root()) } else { root_of(0, size, &mut node) }
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The root over the leaves `begin..end`, of which there is one at least; `begin` is a multiple of a power of two that
/// is not smaller than the range.
fn root_of<E>(begin: u64, end: u64, node: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let (mut at, mut roots) = (begin, Vec::new());
    while at < end {
        let level = (end - at).ilog2();
        roots.push(node(u8::try_from(level).unwrap_or(u8::MAX), at >> level)?);
        at += 1 << level;
    }
    Ok(roots.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(super::empty_root))
}

/// Says whether `path` proves that the entry with the hash `leaf` stands at `index` (from 0) in the tree of `size`
/// entries with this root (RFC 9162 section 2.1.3.2).
#[must_use]
pub fn verifies_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for beside in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(beside, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Says whether `path` proves that the tree of `old` entries with the root `old_root` is the beginning of the tree of
/// `new` entries with the root `new_root` (RFC 9162 section 2.1.4.2).
///
/// The tree without entries is the beginning of every tree: the path must be empty and its root that of nothing.
#[must_use]
pub fn verifies_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, path: &[Hash]) -> bool {
    if old > new || (old == 0 && *old_root != super::empty_root()) {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty();
    }
    // A tree that is one perfect subtree is not in the path, because who verifies knows it.
    let (first, rest) = match path {
        [] => return false,
        path if old.is_power_of_two() => (old_root, path),
        [first, rest @ ..] => (first, rest),
    };
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut of_old, mut of_new) = (*first, *first);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            (of_old, of_new) = (node_hash(beside, &of_old), node_hash(beside, &of_new));
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            of_new = node_hash(&of_new, beside);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests;
