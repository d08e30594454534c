//! Verified tokens, so that the same token is verified once.
//!
//! A token is found by its whole text, so the answer for one token is never given for another. Only successes are kept,
//! never past `exp`, and not beyond a change of keys or a reload of the realm.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::domain::id::RealmName;

/// How many tokens of up to [`TOKEN_BYTES_UNIT`] bytes are kept unless configured otherwise.
pub const TOKENS_MAX_DEFAULT: usize = 100_000;

/// A longer token counts as several, one for each that many bytes begun, so that memory is bounded by the number.
pub const TOKEN_BYTES_UNIT: usize = 2048;

/// A bounded cache of what was found out about verified tokens.
pub struct TokenCache<T> {
    entries: Cache<Key, Entry<T>, ByLength, RandomState>,
    drops: AtomicU64,
    realm_drops: ArcSwap<HashMap<RealmName, u64, RandomState>>,
}

/// A moment in the life of a realm's part of the cache: taken before a token is verified, so that what was verified with
/// keys that have meanwhile been dropped is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    drops: u64,
    realm_drops: u64,
}

struct Entry<T> {
    value: Arc<T>,
    expires_at_seconds: i64,
    generation: Generation,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ..*self }
    }
}

impl<T> TokenCache<T> {
    /// An empty cache for about `tokens_max` tokens; with 0 nothing is kept.
    pub fn new(tokens_max: usize) -> Self {
        let weight = tokens_max as u64;
        let entries = Cache::with(tokens_max, weight, ByLength, RandomState::default(), DefaultLifecycle::default());
        Self { entries, drops: AtomicU64::new(0), realm_drops: ArcSwap::default() }
    }

    /// What is known about a token at `now_seconds` since the epoch. Nothing is allocated.
    pub fn get(&self, realm: &RealmName, token: &str, now_seconds: i64) -> Option<Arc<T>> {
        let key = BorrowedKey { realm, token };
        let entry = self.entries.get(&key)?;
        if now_seconds < entry.expires_at_seconds && entry.generation == self.generation(realm) {
            return Some(entry.value);
        }
        self.entries.remove(&key);
        None
    }

    /// The present generation of a realm's tokens.
    pub fn generation(&self, realm: &RealmName) -> Generation {
        let realm_drops = self.realm_drops.load().get(realm).copied().unwrap_or(0);
        Generation { drops: self.drops.load(Ordering::Acquire), realm_drops }
    }

    /// Keeps what was found out about a token that was verified, until `expires_at_seconds` since the epoch; `generation`
    /// was taken before the keys and the realm were looked up.
    pub fn insert(
        &self,
        realm: &RealmName,
        token: &str,
        value: Arc<T>,
        expires_at_seconds: i64,
        generation: Generation,
    ) {
        if generation == self.generation(realm) {
            let key = Key { realm: realm.clone(), token: token.into() };
            self.entries.insert(key, Entry { value, expires_at_seconds, generation });
        }
    }

    /// Forgets a realm's tokens: its keys or its rules have changed.
    pub fn drop_realm(&self, realm: &RealmName) {
        self.realm_drops.rcu(|drops| {
            let mut drops = HashMap::clone(drops);
            *drops.entry(realm.clone()).or_default() += 1;
            drops
        });
        self.entries.retain(|key, _| key.realm != *realm);
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.drops.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No token is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        Self::new(TOKENS_MAX_DEFAULT)
    }
}

/// Shows how many tokens there are, and none of them.
impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct ByLength;

impl<T> Weighter<Key, Entry<T>> for ByLength {
    fn weight(&self, key: &Key, _: &Entry<T>) -> u64 {
        key.token.len().div_ceil(TOKEN_BYTES_UNIT).max(1) as u64
    }
}

#[derive(PartialEq, Eq)]
struct Key {
    realm: RealmName,
    token: Box<str>,
}

/// A key for looking up; hashes as [`Key`] does.
struct BorrowedKey<'k> {
    realm: &'k RealmName,
    token: &'k str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        BorrowedKey { realm: &self.realm, token: &self.token }.hash(state);
    }
}

impl Hash for BorrowedKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.realm.hash(state);
        self.token.hash(state);
    }
}

impl Equivalent<Key> for BorrowedKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.token == *key.token && *self.realm == key.realm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(name: &str) -> RealmName {
        name.parse().unwrap()
    }

    fn insert(cache: &TokenCache<u32>, realm: &RealmName, token: &str, value: u32) {
        cache.insert(realm, token, Arc::new(value), 100, cache.generation(realm));
    }

    #[test]
    fn a_token_is_known_in_its_realm_until_it_expires() {
        let (cache, one, other) = (TokenCache::default(), realm("one"), realm("other"));
        insert(&cache, &one, "token", 1);
        assert_eq!(cache.get(&one, "token", 99).as_deref(), Some(&1));
        assert_eq!(cache.get(&other, "token", 99), None);
        assert_eq!(cache.get(&one, "token ", 99), None);
        assert_eq!(cache.get(&one, "token", 100), None);
        assert!(cache.is_empty(), "an expired token is not kept");
    }

    #[test]
    fn dropping_a_realm_leaves_the_others() {
        let (cache, one, other) = (TokenCache::default(), realm("one"), realm("other"));
        insert(&cache, &one, "token", 1);
        insert(&cache, &other, "token", 2);
        cache.drop_realm(&one);
        assert_eq!(cache.get(&one, "token", 0), None);
        assert_eq!(cache.get(&other, "token", 0).as_deref(), Some(&2));
        insert(&cache, &one, "token", 3);
        assert_eq!(cache.get(&one, "token", 0).as_deref(), Some(&3));
        cache.clear();
        assert_eq!(cache.get(&one, "token", 0), None);
        assert_eq!(cache.get(&other, "token", 0), None);
    }

    #[test]
    fn what_was_verified_with_dropped_keys_is_not_kept() {
        let (cache, one) = (TokenCache::default(), realm("one"));
        for forget in [TokenCache::clear, |cache: &TokenCache<u32>| cache.drop_realm(&"one".parse().unwrap())] {
            let before = cache.generation(&one);
            forget(&cache);
            cache.insert(&one, "token", Arc::new(1), 100, before);
            assert_eq!(cache.get(&one, "token", 0), None);
        }
    }

    #[test]
    fn the_cache_is_bounded_by_number_and_length() {
        let (cache, one) = (TokenCache::new(1000), realm("one"));
        for number in 0..5000 {
            insert(&cache, &one, &number.to_string(), number);
        }
        assert!((500..=1100).contains(&cache.len()), "{}", cache.len());
        let cache = TokenCache::new(1000);
        for number in 0..5000 {
            insert(&cache, &one, &format!("{number}{}", "x".repeat(8 * TOKEN_BYTES_UNIT)), number);
        }
        assert!(cache.len() <= 250, "{}", cache.len());
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let (cache, one) = (TokenCache::new(0), realm("one"));
        insert(&cache, &one, "token", 1);
        assert_eq!(cache.get(&one, "token", 0), None);
    }

    #[test]
    fn debug_shows_no_token() {
        let cache = TokenCache::default();
        insert(&cache, &realm("one"), "token", 1);
        assert_eq!(format!("{cache:?}"), "TokenCache { len: 1, .. }");
    }
}
