//! The applications of a realm in memory: found by id and by token, read without a lock, swapped whole.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use imbl::{HashMap, OrdMap, OrdSet};
use tokio::sync::Mutex;

use crate::{
    app::{
        error::Error,
        ports::{ApplicationChange, ApplicationStore},
    },
    domain::{
        application::{Application, ApplicationToken, SecretHash, TokenDigest},
        id::RealmName,
    },
};

/// The applications of a realm and their tokens at one moment. A copy costs a few pointers.
#[derive(Clone, Debug, Default)]
pub struct ApplicationIndex {
    applications: OrdMap<Arc<str>, Arc<Application>>,
    tokens: HashMap<TokenDigest, Arc<ApplicationToken>>,
    /// INVARIANT: this and `ends` name the tokens of `tokens` and no others.
    of_application: OrdSet<(Arc<str>, TokenDigest)>,
    ends: OrdSet<(i64, TokenDigest)>,
    /// Seeded anew at every start.
    chance: RandomState,
}

impl ApplicationIndex {
    /// Reads the applications of a realm.
    pub(crate) async fn load(store: &dyn ApplicationStore, realm: &RealmName) -> Result<Self, Error> {
        let (applications, tokens) = store.load_applications(realm).await?;
        let mut index = Self::default();
        applications.into_iter().map(ApplicationChange::Put).for_each(|change| index.apply(change));
        tokens.into_iter().map(ApplicationChange::PutToken).for_each(|change| index.apply(change));
        Ok(index)
    }

    /// Makes a change. A token without its application is left out.
    pub(crate) fn apply(&mut self, change: ApplicationChange) {
        match change {
            ApplicationChange::Put(application) => {
                self.applications.insert(Arc::clone(&application.id), Arc::new(application));
            }
            ApplicationChange::Delete(id) => {
                self.tokens_of(&id).for_each(|token| self.remove_token(&token.digest));
                self.applications.remove(&id);
            }
            ApplicationChange::PutToken(token) => {
                self.remove_token(&token.digest);
                if self.applications.contains_key(&token.application) {
                    self.of_application.insert((Arc::clone(&token.application), token.digest));
                    self.ends.insert((token.expires_at_seconds, token.digest));
                    self.tokens.insert(token.digest, Arc::new(token));
                }
            }
            ApplicationChange::DeleteToken(digest) => self.remove_token(&digest),
        }
    }

    fn remove_token(&mut self, digest: &TokenDigest) {
        if let Some(token) = self.tokens.remove(digest) {
            self.of_application.remove(&(Arc::clone(&token.application), *digest));
            self.ends.remove(&(token.expires_at_seconds, *digest));
        }
    }

    /// The applications.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.values()
    }

    /// The application of this id, in canonical form.
    pub fn get(&self, id: &str) -> Option<&Arc<Application>> {
        self.applications.get(id)
    }

    /// The token of this digest, whether it still counts or not.
    pub fn token(&self, digest: &TokenDigest) -> Option<&Arc<ApplicationToken>> {
        self.tokens.get(digest)
    }

    /// The tokens of an application, in the order of their digests.
    pub(crate) fn tokens_of(&self, id: &str) -> std::vec::IntoIter<Arc<ApplicationToken>> {
        let first = (Arc::from(id), TokenDigest([0; 32]));
        let own = self.of_application.range(first..).take_while(|(owner, _)| **owner == *id);
        own.filter_map(|(_, digest)| self.tokens.get(digest).cloned()).collect::<Vec<_>>().into_iter()
    }

    /// The tokens that ended at or before this time, those that ended first in front.
    pub(crate) fn ended(&self, at_seconds: i64) -> impl Iterator<Item = TokenDigest> + '_ {
        self.ends.iter().take_while(move |(end, _)| *end <= at_seconds).map(|(_, digest)| *digest)
    }

    /// Applications by id, at most `size` of those behind `after`.
    pub(crate) fn page(&self, after: Option<&str>, size: usize) -> Vec<Arc<Application>> {
        let behind = |(id, _): &(&Arc<str>, &Arc<Application>)| after.is_none_or(|after| ***id > *after);
        let start: Arc<str> = after.unwrap_or_default().into();
        let found = self.applications.range(start..).filter(behind);
        found.take(size).map(|(_, application)| Arc::clone(application)).collect()
    }

    /// The hash of one of the realm's applications, always the same one for an id: an id that is unknown is
    /// verified against it, so that it takes as long as a known one.
    pub(crate) fn hash_in_place_of(&self, id: &str) -> Option<&SecretHash> {
        let count = self.applications.len() as u64;
        let place = self.chance.hash_one(id).checked_rem(count)?;
        let chosen = self.applications.values().nth(usize::try_from(place).ok()?)?;
        chosen.secret_hash.as_ref()
    }

    /// How many applications there are.
    pub fn len(&self) -> usize {
        self.applications.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.applications.is_empty()
    }

    /// How many tokens there are, those that ended and were not purged yet included.
    pub(crate) fn tokens_len(&self) -> usize {
        self.tokens.len()
    }
}

/// The applications of a realm at work.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    index: ArcSwap<ApplicationIndex>,
    /// Held from the reading of the index to the publishing of the next.
    pub(super) writer: Arc<Mutex<()>>,
    /// A write failed half-way: the store may hold more than the index.
    is_behind: AtomicBool,
}

impl Applications {
    pub(super) fn new(index: ApplicationIndex) -> Self {
        Self { index: ArcSwap::from_pointee(index), ..Self::default() }
    }

    /// The applications as they are now.
    pub(crate) fn index(&self) -> Arc<ApplicationIndex> {
        self.index.load_full()
    }

    /// Publishes an index; the caller holds the writer's lock.
    pub(super) fn publish(&self, index: ApplicationIndex) {
        self.index.store(Arc::new(index));
    }

    /// Notes that a write failed, so that the store may hold more than the index.
    pub(super) fn note_failed_write(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// Reads the applications anew after a failed write, and says whether it did; the caller holds the writer's lock.
    pub(super) async fn catch_up(&self, store: &dyn ApplicationStore, realm: &RealmName) -> Result<bool, Error> {
        let is_behind = self.is_behind.load(Ordering::Acquire);
        if is_behind {
            self.publish(ApplicationIndex::load(store, realm).await?);
            self.is_behind.store(false, Ordering::Release);
        }
        Ok(is_behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Attributes;

    fn application(id: &str) -> ApplicationChange {
        ApplicationChange::Put(Application {
            id: id.into(),
            title: "".into(),
            attributes: Attributes::default(),
            expires_at_seconds: None,
            is_disabled: false,
            secret_hash: Some(SecretHash(id.into())),
        })
    }

    fn token(number: u8, id: &str, expires_at_seconds: i64) -> ApplicationChange {
        let digest = TokenDigest([number; 32]);
        let narrowed = Attributes::default();
        ApplicationChange::PutToken(ApplicationToken { digest, application: id.into(), expires_at_seconds, narrowed })
    }

    fn index(changes: impl IntoIterator<Item = ApplicationChange>) -> ApplicationIndex {
        let mut index = ApplicationIndex::default();
        changes.into_iter().for_each(|change| index.apply(change));
        index
    }

    fn ended(index: &ApplicationIndex, at: i64) -> Vec<u8> {
        index.ended(at).map(|digest| digest.0[0]).collect()
    }

    #[test]
    fn tokens_go_with_their_application_and_stay_with_the_others() {
        let mut index = index([application("a"), application("ab"), token(1, "a", 10), token(2, "ab", 20)]);
        assert_eq!(index.tokens_of("a").len(), 1);
        index.apply(ApplicationChange::Delete("a".into()));
        assert!(index.get("a").is_none() && index.token(&TokenDigest([1; 32])).is_none());
        assert_eq!((index.tokens_of("ab").len(), index.tokens_len(), ended(&index, 20)), (1, 1, vec![2]));
    }

    #[test]
    fn a_token_that_is_put_again_or_belongs_to_nobody_leaves_nothing_behind() {
        let mut index = index([application("a"), token(1, "a", 10), token(1, "a", 30), token(2, "nobody", 10)]);
        assert_eq!((index.tokens_len(), ended(&index, 29), ended(&index, 30)), (1, vec![], vec![1]));
        index.apply(ApplicationChange::DeleteToken(TokenDigest([1; 32])));
        assert_eq!((index.tokens_len(), index.tokens_of("a").len(), ended(&index, 99)), (0, 0, vec![]));
    }

    #[test]
    fn pages_go_on_behind_an_id_that_may_be_gone() {
        let index = index(["b", "a", "c"].map(application));
        let ids = |after, size| index.page(after, size).iter().map(|found| found.id.to_string()).collect::<String>();
        assert_eq!(
            (ids(None, 2), ids(Some("b"), 9), ids(Some("aa"), 1), ids(Some("c"), 9)),
            ("ab".into(), "c".into(), "b".into(), String::new())
        );
    }

    #[test]
    fn an_unknown_id_always_meets_the_same_hash() {
        let index = index(["b", "a", "c"].map(application));
        let met = |id: &str| index.hash_in_place_of(id).cloned();
        assert!(met("x").is_some());
        assert_eq!(met("x"), met("x"));
        assert_eq!(ApplicationIndex::default().hash_in_place_of("x"), None);
    }
}
