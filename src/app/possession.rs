//! Whether a request shows that its sender holds the key or certificate that its token is bound to.

use super::{
    App,
    authorize::Caller,
    credentials::{Credentials, Presented},
    error::{Error, Kind},
    proof_replays::{Call, Refused},
};
use crate::domain::{realm::Realm, token_error::TokenError};

/// Whether possession was shown, as far as that could be found out.
pub(super) type Shown = Result<Result<(), TokenError>, Error>;

impl App {
    /// Checks the proof of a request with a verified token. It is looked at for each request, however often the token was
    /// verified before, and counts as used once everything else of it holds.
    ///
    /// # Errors
    /// No more proofs can be remembered now. A bad proof is an answer, not an error.
    pub(super) fn check_possession(
        &self,
        realm: &Realm,
        caller: &Caller,
        presented: Presented<'_>,
        credentials: &Credentials,
        call: Call,
    ) -> Shown {
        let issuer = realm.issuer(&caller.token.issuer);
        let Some(confirmation) = &caller.token.confirmation else {
            let is_required = issuer.is_some_and(|issuer| issuer.is_proof_required);
            return Ok(if is_required { Err(TokenError::ProofRequired) } else { Ok(()) });
        };
        let skew_seconds = issuer.map_or(0, |issuer| issuer.skew_seconds);
        let scheme = match presented {
            Presented::Header(_, scheme) => Some(scheme),
            Presented::Query(_) => None,
        };
        let (token, now_seconds) = (&presented.token().0, self.clock.now_seconds());
        match confirmation.check(token, scheme, &credentials.proof, now_seconds, skew_seconds) {
            Ok(Some(proof)) => match self.proofs.take(&proof, call, now_seconds) {
                Ok(()) => Ok(Ok(())),
                Err(Refused::Replayed) => Ok(Err(TokenError::ProofReplayed)),
                Err(Refused::Full) => {
                    let message = "no more proofs of possession can be remembered now; those that were used end soon";
                    Err(Error::new(Kind::Unavailable, "PROOFS_FULL", message))
                }
            },
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }
}
