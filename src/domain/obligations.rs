//! What a caller must do with an allow, beyond doing what it asked for.

use super::{
    access_request::AccessRequest, decision::Obligation, principal::Principal, profile::selection::Selected,
    realm::Realm,
};

/// The obligations of an allow, in the order in which they are to be fulfilled.
pub(super) fn obligations(
    _realm: &Realm,
    _principal: &Principal,
    request: &AccessRequest,
    profile: Option<&Selected<'_>>,
) -> Vec<Obligation> {
    profile.into_iter().map(|profile| profile.obligation(&request.resource_type)).collect()
}
