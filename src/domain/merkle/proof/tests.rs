//! Proofs are those of an independent implementation, and nothing else passes for one.

use std::convert::Infallible;

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::domain::merkle::{Frontier, empty_root, leaf_hash};

/// All nodes of a tree, and the same tree as the other implementation has it.
struct Trees {
    /// The hashes of each level, leaves first.
    levels: Vec<Vec<Hash>>,
    /// The root after each number of leaves.
    roots: Vec<Hash>,
    other: MemoryBackedTree<Sha256, Vec<u8>>,
}

fn entry(number: usize) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

impl Trees {
    fn of(size: usize) -> Self {
        let mut frontier = Frontier::new();
        let mut made = Self { levels: vec![Vec::new(); 64], roots: vec![empty_root()], other: MemoryBackedTree::new() };
        for number in 0..size {
            made.other.push(entry(number));
            let levels = &mut made.levels;
            frontier.append_with(leaf_hash(&entry(number)), |level, index, hash| {
                assert_eq!(levels[usize::from(level)].len() as u64, index);
                levels[usize::from(level)].push(*hash);
            });
            made.roots.push(frontier.root());
        }
        made
    }

    fn node(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
        |level, index| Ok(self.levels[usize::from(level)][usize::try_from(index).unwrap()])
    }

    fn inclusion(&self, index: usize, size: usize) -> Vec<Hash> {
        inclusion(index as u64, size as u64, self.node()).unwrap().unwrap()
    }

    fn consistency(&self, old: usize, new: usize) -> Vec<Hash> {
        consistency(old as u64, new as u64, self.node()).unwrap().unwrap()
    }
}

fn proves(trees: &Trees, index: usize, size: usize, path: &[Hash]) -> bool {
    let leaf = leaf_hash(&entry(index));
    let other = RootHash::<Sha256>::new(trees.roots[size].into(), size as u64).verify_inclusion(
        &entry(index),
        index as u64,
        &InclusionProof::from_bytes(path.concat()),
    );
    let ours = verifies_inclusion(&leaf, index as u64, size as u64, path, &trees.roots[size]);
    assert_eq!(ours, other.is_ok(), "{index} {size}: {other:?}");
    ours
}

fn continues(trees: &Trees, old: usize, new: usize, path: &[Hash]) -> bool {
    let root = |size: usize| RootHash::<Sha256>::new(trees.roots[size].into(), size as u64);
    let ours = verifies_consistency(old as u64, &trees.roots[old], new as u64, &trees.roots[new], path);
    // The other implementation leaves the empty tree out.
    if old > 0 {
        let proof = ConsistencyProof::try_from_bytes(path.concat()).unwrap();
        let other = root(new).verify_consistency(&root(old), &proof);
        assert_eq!(ours, other.is_ok(), "{old} {new}: {other:?}");
    }
    ours
}

#[test]
fn every_proof_of_small_trees_is_that_of_the_other_implementation() {
    for size in 1..=70 {
        let trees = Trees::of(size);
        assert_eq!(trees.other.root().as_bytes()[..], trees.roots[size]);
        assert_eq!(root(size as u64, trees.node()).unwrap(), trees.roots[size]);
        for index in 0..size {
            let path = trees.inclusion(index, size);
            assert_eq!(path.concat(), trees.other.prove_inclusion(index).as_bytes(), "{index} {size}");
            assert!(proves(&trees, index, size, &path), "{index} {size}");
        }
        for old in 1..=size {
            let path = trees.consistency(old, size);
            assert_eq!(path.concat(), trees.other.prove_consistency(size - old).as_bytes(), "{old} {size}");
            assert!(continues(&trees, old, size, &path), "{old} {size}");
        }
        assert!(trees.consistency(0, size).is_empty());
        assert!(continues(&trees, 0, size, &[]));
    }
}

#[test]
fn what_is_outside_the_tree_is_not_proved() {
    let trees = Trees::of(5);
    assert_eq!(inclusion(5, 5, trees.node()), Ok(None));
    assert_eq!(inclusion(0, 0, trees.node()), Ok(None));
    assert_eq!(consistency(5, 4, trees.node()), Ok(None));
    assert!(!verifies_inclusion(&leaf_hash(b"x"), 0, 0, &[], &empty_root()));
    assert!(!verifies_inclusion(&leaf_hash(b"x"), u64::MAX, u64::MAX, &[[0; 32]; 64], &empty_root()));
    assert!(!verifies_consistency(0, &[1; 32], 5, &trees.roots[5], &[]), "the empty tree has one root");
    assert!(!verifies_consistency(4, &trees.roots[4], 3, &trees.roots[3], &[]), "a log does not shrink");
}

#[test]
fn proofs_with_hashes_too_few_too_many_or_in_another_order_fail() {
    let trees = Trees::of(23);
    for index in 0..23 {
        for wrong in wrong_ones(&trees.inclusion(index, 23)) {
            assert!(!proves(&trees, index, 23, &wrong), "{index}");
        }
    }
    for old in 1..23 {
        for wrong in wrong_ones(&trees.consistency(old, 23)) {
            assert!(!continues(&trees, old, 23, &wrong), "{old}");
        }
    }
}

fn wrong_ones(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut wrong = vec![path[..path.len() - 1].to_vec(), [path, &[path[0]]].concat(), [path, path].concat()];
    if path.len() > 1 {
        wrong.push(path.iter().rev().copied().collect());
        wrong.push(path[1..].to_vec());
    }
    for at in 0..path.len() {
        let mut flipped = path.to_vec();
        flipped[at][31] ^= 1;
        wrong.push(flipped);
    }
    wrong
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn proofs_of_larger_trees_are_those_of_the_other_implementation(
        size in 71_usize..1500,
        places in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let trees = Trees::of(size);
        for place in places {
            let index = place.index(size);
            let path = trees.inclusion(index, size);
            let other = trees.other.prove_inclusion(index);
            prop_assert_eq!(path.concat(), other.as_bytes());
            prop_assert!(proves(&trees, index, size, &path));
            let path = trees.consistency(index + 1, size);
            let other = trees.other.prove_consistency(size - index - 1);
            prop_assert_eq!(path.concat(), other.as_bytes());
            prop_assert!(continues(&trees, index + 1, size, &path));
        }
    }

    #[test]
    fn a_proof_for_one_entry_fails_for_another(
        size in 2_usize..300,
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let (trees, a, b) = (Trees::of(size), a.index(size), b.index(size));
        prop_assume!(a != b);
        let path = trees.inclusion(a, size);
        prop_assert!(!proves(&trees, b, size, &path));
    }
}
