//! What a search stands on, looked at again before each piece of its work: how fast a caller reads must not decide for how
//! long a token is good.

use super::work::Work;
use crate::{
    app::{
        App,
        authorize::{AuthorizeRequest, Caller, Snapshot},
        error::{Error, Kind},
        token_cache::Generation,
    },
    domain::principal::Principal,
};

/// How long one search lasts at most, in microseconds.
pub(in crate::app) const LIFE_US: i64 = 5 * 60 * 1_000_000;

/// What tokens of a realm are judged by: another one says that keys, applications, their tokens or the revocations have
/// changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    verified: Generation,
    revocations: u64,
}

/// What a search stands on.
#[derive(Debug)]
pub(super) struct Footing {
    /// The token as it came.
    asked: AuthorizeRequest,
    /// Taken before the token was verified.
    moment: Moment,
    /// Until when the verification counts, in seconds since the epoch.
    until_seconds: i64,
    /// When the search began, in microseconds since the epoch.
    pub(super) started_us: i64,
}

impl Footing {
    /// The footing of a search that begins; `until_seconds` is the end of its token.
    pub(super) fn new(asked: AuthorizeRequest, moment: Moment, until_seconds: i64, started_us: i64) -> Self {
        Self { asked, moment, until_seconds, started_us }
    }
}

impl App {
    /// The moment in which a token is about to be verified.
    pub(super) fn moment_of(&self, snapshot: &Snapshot) -> Moment {
        let Snapshot { state, .. } = snapshot;
        Moment { verified: self.tokens.generation(&state.name), revocations: state.revocations.version() }
    }
}

impl Work {
    /// The search may go on as it is; `false` when its token must be verified again first.
    ///
    /// # Errors
    /// Its time is over, or other policies decide now.
    pub(super) fn is_current(&self) -> Result<bool, Error> {
        let (footing, now_us) = (&self.footing, self.app.clock.now_us());
        if now_us.saturating_sub(footing.started_us) >= LIFE_US {
            return Err(outdated("it has taken five minutes, which is as long as one may; expected a search in pages"));
        }
        if self.snapshot.state.policies().realm.version != self.snapshot.loaded.realm.version {
            return Err(outdated("the policies have changed since it began; expected a new search"));
        }
        let is_good = now_us.div_euclid(1_000_000) < footing.until_seconds;
        Ok(is_good && self.app.moment_of(&self.snapshot) == footing.moment)
    }

    /// Verifies the token of the search again.
    ///
    /// # Errors
    /// It isn't good any more, or stands for something else than at the start; keys that cannot be had.
    pub(super) async fn verify_again(&mut self) -> Result<(), Error> {
        let now_seconds = self.app.clock.now_seconds();
        let moment = self.app.moment_of(&self.snapshot);
        let (state, realm) = (&self.snapshot.state, &self.snapshot.loaded.realm);
        let verified = self.app.authenticate_again(state, realm, &self.footing.asked.credentials).await?;
        let Ok(caller) = verified else {
            return Err(outdated("its token is not good any more; expected a new search with a good one"));
        };
        if !self.caller.as_ref().is_ok_and(|before| is_same(&before.principal, &caller.principal)) {
            return Err(outdated("its token stands for other attributes than when it began; expected a new search"));
        }
        self.footing.moment = moment;
        self.footing.until_seconds = good_until(&caller, now_seconds);
        self.caller = Ok(caller);
        Ok(())
    }
}

/// Until when a verification of this second counts: for this second at least, because clocks may differ a little beyond
/// the token's end.
pub(super) fn good_until(caller: &Caller, now_seconds: i64) -> i64 {
    caller.expires_at_seconds.max(now_seconds.saturating_add(1))
}

fn is_same(one: &Principal, other: &Principal) -> bool {
    (&one.entity, &one.attributes, &one.claim_set) == (&other.entity, &other.attributes, &other.claim_set)
}

/// What a search stands on has changed.
pub(in crate::app) fn outdated(why: &str) -> Error {
    Error::new(Kind::FailedPrecondition, "SEARCH_OUTDATED", format!("the search was ended: {why}"))
}
