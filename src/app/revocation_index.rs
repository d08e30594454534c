//! The revocations of a realm in memory: asked for every request, read without a lock, swapped whole.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use imbl::{HashMap, OrdMap, OrdSet};
use tokio::sync::Mutex;

use crate::{
    app::{
        error::Error,
        ports::{RevocationChange, RevocationStore},
    },
    domain::{
        id::RealmName,
        revocation::{Revocation, RevokedTokens, Which},
        token_facts::TokenFacts,
    },
};

type ById = HashMap<Arc<str>, Arc<Revocation>>;

/// The revocations of one issuer's tokens.
#[derive(Clone, Debug, Default)]
struct OfIssuer {
    tokens: ById,
    subjects: ById,
    clients: ById,
}

/// The revocations of a realm at one moment. A copy costs a few pointers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RevocationIndex {
    /// INVARIANT: this and `ends` hold the revocations of `in_order` and no others.
    by_issuer: HashMap<Arc<str>, OfIssuer>,
    in_order: OrdMap<RevokedTokens, Arc<Revocation>>,
    ends: OrdSet<(i64, RevokedTokens)>,
    /// Goes up with each index that is published.
    version: u64,
}

impl OfIssuer {
    fn of_kind(&mut self, which: &Which) -> &mut ById {
        match which {
            Which::Token(_) => &mut self.tokens,
            Which::Subject(_) => &mut self.subjects,
            Which::Client(_) => &mut self.clients,
        }
    }

    /// The revocations that are about what a token says of itself.
    fn about<'a>(&'a self, token: &'a TokenFacts) -> impl Iterator<Item = &'a Arc<Revocation>> {
        let named = [(&self.tokens, &token.id), (&self.subjects, &token.subject), (&self.clients, &token.client)];
        named.into_iter().filter_map(|(revoked, id)| revoked.get(id.as_ref()?))
    }
}

impl RevocationIndex {
    /// Reads the revocations of a realm.
    async fn load(store: &dyn RevocationStore, realm: &RealmName) -> Result<Self, Error> {
        let mut index = Self::default();
        let revocations = store.load_revocations(realm).await?;
        revocations.into_iter().map(RevocationChange::Put).for_each(|change| index.apply(change));
        Ok(index)
    }

    /// Makes a change.
    pub(super) fn apply(&mut self, change: RevocationChange) {
        match change {
            RevocationChange::Put(revocation) => {
                self.remove(&revocation.tokens);
                let (revocation, tokens) = (Arc::new(revocation.clone()), revocation.tokens);
                self.ends.extend(revocation.forget_at_seconds.map(|at| (at, tokens.clone())));
                let of_issuer = self.by_issuer.entry(Arc::clone(&tokens.issuer)).or_default();
                of_issuer.of_kind(&tokens.which).insert(Arc::clone(tokens.which.id()), Arc::clone(&revocation));
                self.in_order.insert(tokens, revocation);
            }
            RevocationChange::Delete(tokens) => self.remove(&tokens),
        }
    }

    fn remove(&mut self, tokens: &RevokedTokens) {
        let Some(revocation) = self.in_order.remove(tokens) else { return };
        if let Some(of_issuer) = self.by_issuer.get_mut(&tokens.issuer) {
            of_issuer.of_kind(&tokens.which).remove(tokens.which.id());
        }
        if let Some(at) = revocation.forget_at_seconds {
            self.ends.remove(&(at, tokens.clone()));
        }
    }

    /// The token is revoked at this time, in seconds since the epoch.
    fn revokes(&self, token: &TokenFacts, now_seconds: i64) -> bool {
        let of_issuer = self.by_issuer.get(&token.issuer);
        let mut about = of_issuer.into_iter().flat_map(|of_issuer| of_issuer.about(token));
        about.any(|revocation| revocation.counts(now_seconds) && revocation.is_about(token))
    }

    /// The revocation of these tokens, whether it still counts or not.
    pub(super) fn get(&self, tokens: &RevokedTokens) -> Option<&Arc<Revocation>> {
        self.in_order.get(tokens)
    }

    /// The revocations that can be forgotten at this time, those that ended first in front.
    pub(super) fn ended(&self, now_seconds: i64) -> impl Iterator<Item = &RevokedTokens> {
        self.ends.iter().take_while(move |(at, _)| *at <= now_seconds).map(|(_, tokens)| tokens)
    }

    /// The revocations that count now, of all issuers or one, sorted, those behind `after`.
    pub(super) fn page(
        &self,
        issuer: Option<&str>,
        after: Option<&RevokedTokens>,
        size: usize,
        now_seconds: i64,
    ) -> Vec<Arc<Revocation>> {
        let first = || RevokedTokens { issuer: issuer.unwrap_or_default().into(), which: Which::Token(Arc::default()) };
        let start = after.cloned().unwrap_or_else(first);
        let behind = self.in_order.range(start..).filter(|(tokens, _)| Some(*tokens) != after);
        let of_issuer = behind.take_while(|(tokens, _)| issuer.is_none_or(|issuer| *tokens.issuer == *issuer));
        let counting = of_issuer.filter(|(_, revocation)| revocation.counts(now_seconds));
        counting.take(size).map(|(_, revocation)| Arc::clone(revocation)).collect()
    }

    /// How many revocations there are, those that ended and were not purged yet included.
    pub(super) fn len(&self) -> usize {
        self.in_order.len()
    }
}

/// The revocations of a realm at work.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    index: ArcSwap<RevocationIndex>,
    /// Held from the reading of the index to the publishing of the next.
    pub(super) writer: Arc<Mutex<()>>,
    /// A write failed half-way: the store may hold more than the index.
    is_behind: AtomicBool,
}

impl Revocations {
    pub(super) async fn load(store: &dyn RevocationStore, realm: &RealmName) -> Result<Self, Error> {
        let index = RevocationIndex::load(store, realm).await?;
        Ok(Self { index: ArcSwap::from_pointee(index), ..Self::default() })
    }

    /// The token is revoked at this time, in seconds since the epoch. Nothing is allocated.
    pub(super) fn revoke(&self, token: &TokenFacts, now_seconds: i64) -> bool {
        self.index.load().revokes(token, now_seconds)
    }

    /// Another number than before says that the revocations have changed.
    pub(super) fn version(&self) -> u64 {
        self.index.load().version
    }

    /// The revocations as they are now.
    pub(super) fn index(&self) -> Arc<RevocationIndex> {
        self.index.load_full()
    }

    /// Publishes an index; the caller holds the writer's lock.
    pub(super) fn publish(&self, mut index: RevocationIndex) {
        index.version = self.version() + 1;
        self.index.store(Arc::new(index));
    }

    /// Notes that a write failed, so that the store may hold more than the index.
    pub(super) fn note_failed_write(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// Reads the revocations anew after a failed write; the caller holds the writer's lock.
    pub(super) async fn catch_up(&self, store: &dyn RevocationStore, realm: &RealmName) -> Result<(), Error> {
        if self.is_behind.load(Ordering::Acquire) {
            self.publish(RevocationIndex::load(store, realm).await?);
            self.is_behind.store(false, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(issuer: &str, which: Which) -> RevokedTokens {
        RevokedTokens { issuer: issuer.into(), which }
    }

    fn put(tokens: RevokedTokens, forget_at_seconds: Option<i64>) -> RevocationChange {
        let issued_before_seconds = if matches!(tokens.which, Which::Token(_)) { None } else { Some(50) };
        RevocationChange::Put(Revocation { tokens, issued_before_seconds, forget_at_seconds, revoked_at_us: 0 })
    }

    fn index(changes: impl IntoIterator<Item = RevocationChange>) -> RevocationIndex {
        let mut index = RevocationIndex::default();
        changes.into_iter().for_each(|change| index.apply(change));
        index
    }

    fn facts(id: &str, subject: &str, client: &str) -> TokenFacts {
        let text = |text: &str| Some(Arc::from(text)).filter(|text: &Arc<str>| !text.is_empty());
        let issued_at_seconds = Some(49);
        TokenFacts {
            issuer: "i".into(),
            id: text(id),
            subject: text(subject),
            client: text(client),
            issued_at_seconds,
            ..TokenFacts::default()
        }
    }

    #[test]
    fn a_token_is_revoked_by_its_id_its_subject_or_its_client_and_in_its_issuers_name() {
        let which = [Which::Token("a".into()), Which::Subject("b".into()), Which::Client("c".into())];
        let index = index(which.map(|which| put(tokens("i", which), None)));
        for (token, expected) in [
            (facts("a", "", ""), true),
            (facts("x", "b", ""), true),
            (facts("", "x", "c"), true),
            (facts("b", "c", "a"), false),
            (facts("", "", ""), false),
            (TokenFacts { issuer: "other".into(), ..facts("a", "b", "c") }, false),
            (TokenFacts { issued_at_seconds: Some(50), ..facts("x", "b", "c") }, false),
            (TokenFacts { issued_at_seconds: Some(50), ..facts("a", "b", "c") }, true),
            (TokenFacts { issued_at_seconds: None, ..facts("x", "b", "x") }, true),
        ] {
            assert_eq!(index.revokes(&token, 0), expected, "{token:?}");
        }
    }

    #[test]
    fn what_is_taken_back_replaced_or_forgotten_leaves_nothing_behind() {
        let named = tokens("i", Which::Token("a".into()));
        let mut index = index([put(named.clone(), Some(10)), put(named.clone(), Some(30))]);
        assert_eq!((index.len(), index.ended(29).count(), index.ended(30).count()), (1, 0, 1));
        assert!(index.revokes(&facts("a", "", ""), 29) && !index.revokes(&facts("a", "", ""), 30));
        index.apply(RevocationChange::Delete(named.clone()));
        index.apply(RevocationChange::Delete(named.clone()));
        assert_eq!((index.len(), index.ended(99).count(), index.get(&named)), (0, 0, None));
        assert!(!index.revokes(&facts("a", "", ""), 0));
    }

    #[test]
    fn pages_are_sorted_and_hold_what_counts() {
        let all = [
            tokens("i", Which::Token("b".into())),
            tokens("i", Which::Subject("a".into())),
            tokens("i", Which::Client("a".into())),
            tokens("j", Which::Token("a".into())),
        ];
        let ended = put(tokens("i", Which::Token("a".into())), Some(5));
        let index = index(all.iter().rev().map(|tokens| put(tokens.clone(), None)).chain([ended]));
        let page = |issuer, after: Option<usize>, size| {
            let found = index.page(issuer, after.map(|at| &all[at]), size, 5);
            found.iter().map(|found| all.iter().position(|tokens| *tokens == found.tokens).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((page(None, None, 9), page(None, Some(0), 2)), (vec![0, 1, 2, 3], vec![1, 2]));
        assert_eq!((page(Some("i"), Some(1), 9), page(Some("j"), None, 9)), (vec![2], vec![3]));
        assert_eq!((page(Some("k"), None, 9), page(None, Some(3), 9)), (vec![], vec![]));
    }
}
