//! Page tokens: where a search goes on, of use only to who asked, for what was asked, for a while.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{
    super::problem::Problem,
    read::{Object, member},
};
use crate::{
    app::search::Cursor,
    domain::{
        id::{PolicyVersion, Revision},
        realm_file::PAGE_SIZE_MAX,
    },
};

/// How long a token is good, in seconds.
const LIFE_SECONDS: i64 = 300;
/// The first byte: tells the forms of tokens apart, should there be another.
const VERSION: u8 = 1;
const MAC_BYTES: usize = 32;

/// The secret of this process that tokens are sealed with.
#[derive(Clone)]
pub(super) struct PageKey(Hmac<Sha256>);

/// Hides the key.
impl std::fmt::Debug for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageKey(..)")
    }
}

impl PageKey {
    /// Takes 32 random bytes.
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        let block: [u8; 64] = std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0));
        Self(Hmac::new(&block.into()))
    }

    /// A key from the operating system.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self::new(bytes))
    }
}

/// The search that a token belongs to.
pub(super) struct Binding<'a> {
    key: &'a PageKey,
    digest: [u8; 32],
}

impl<'a> Binding<'a> {
    /// Of a caller's request, but for its page and its token of access, which may be a newer one on the next page.
    pub(super) fn of(key: &'a PageKey, endpoint: &str, realm: &str, caller: &str, request: &Object) -> Self {
        let mut request = request.clone();
        request.remove("page");
        if let Some(Json::Object(context)) = request.get_mut("context") {
            context.remove(super::ACCESS_TOKEN);
        }
        let mut request = Json::Object(request);
        // The order of members means nothing.
        request.sort_all_objects();
        let mut digest = Sha256::new();
        for part in [endpoint, realm, caller, &request.to_string()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self { key, digest: digest.finalize().into() }
    }

    /// The token of the page that starts after the cursor; `limit` is what the first page asked for, 0 where it did not.
    pub(super) fn token(&self, cursor: &Cursor, limit: usize, now_seconds: i64) -> String {
        let Cursor { revision, version, holder, place, has_gap } = cursor;
        let mut bytes = vec![VERSION];
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
        bytes.extend(now_seconds.saturating_add(LIFE_SECONDS).to_be_bytes());
        bytes.extend(number(limit));
        bytes.extend(revision.0.to_be_bytes());
        bytes.extend(number(*place));
        bytes.push(u8::from(*has_gap));
        bytes.extend(number(version.0.len()));
        bytes.extend(version.0.as_bytes());
        bytes.extend(holder.as_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page starts that a request asks for, and what its search began with as the limit.
    ///
    /// # Errors
    /// A token that is none of ours, belongs to another search, or is too old.
    fn opened(&self, token: &str, now_seconds: i64) -> Result<(Cursor, usize), Problem> {
        let foreign = || {
            Problem::malformed(
                "`page.token` is none of this service's for this request, expected the `next_token` of the page before \
                 with the same request, or a search from its first page on",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| foreign())?;
        let at = bytes.len().checked_sub(MAC_BYTES).ok_or_else(foreign)?;
        let (told, mac) = bytes.split_at_checked(at).ok_or_else(foreign)?;
        self.mac(told).verify_slice(mac).map_err(|_| foreign())?;
        let (until_seconds, cursor, limit) = decode(told).ok_or_else(foreign)?;
        if now_seconds >= until_seconds {
            return Err(Problem::malformed("`page.token` has expired, expected a search from its first page on"));
        }
        Ok((cursor, limit))
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.key.0.clone();
        mac.update(&self.digest);
        mac.update(bytes);
        mac
    }
}

fn decode(bytes: &[u8]) -> Option<(i64, Cursor, usize)> {
    let (version, rest) = bytes.split_first_chunk::<1>()?;
    let (until_seconds, rest) = rest.split_first_chunk()?;
    let (limit, rest) = rest.split_first_chunk()?;
    let (revision, rest) = rest.split_first_chunk()?;
    let (place, rest) = rest.split_first_chunk()?;
    let (has_gap, rest) = rest.split_first_chunk::<1>()?;
    let (length, rest) = rest.split_first_chunk()?;
    let number = |bytes: &[u8; 8]| usize::try_from(u64::from_be_bytes(*bytes)).ok();
    let (policies, holder) = rest.split_at_checked(number(length)?)?;
    let cursor = Cursor {
        revision: Revision(u64::from_be_bytes(*revision)),
        version: PolicyVersion(str::from_utf8(policies).ok()?.into()),
        holder: str::from_utf8(holder).ok()?.into(),
        place: number(place)?,
        has_gap: *has_gap == [1],
    };
    (*version == [VERSION]).then_some((i64::from_be_bytes(*until_seconds), cursor, number(limit)?))
}

/// The page that a request asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The request asks for a page.
    pub(super) is_asked: bool,
    /// What the first page asked for, 0 where it did not.
    pub(super) limit: usize,
    /// Where it starts; `None` for the first page.
    pub(super) after: Option<Cursor>,
}

impl Wanted {
    /// How many results it holds at most.
    pub(super) fn size(&self, otherwise: usize) -> usize {
        if self.limit == 0 { otherwise } else { self.limit }
    }
}

/// Reads `page`. Members beside `token` and `limit` are not looked at.
///
/// # Errors
/// What is of another type or out of bounds, or another limit than the first page's.
pub(super) fn wanted(request: &Object, binding: &Binding<'_>, now_seconds: i64) -> Result<Wanted, Problem> {
    let page = match member(request, "page") {
        None => return Ok(Wanted { is_asked: false, limit: 0, after: None }),
        Some(Json::Object(page)) => page,
        Some(_) => return Err(Problem::malformed("`page` is no object")),
    };
    let limit = match member(page, "limit") {
        None => 0,
        Some(limit) => {
            let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
            // More than a page may hold is as much as it may hold: the answer says where the next one begins.
            limit.ok_or_else(|| Problem::malformed("`page.limit` is no whole number from 0 on"))?.min(PAGE_SIZE_MAX)
        }
    };
    let token = match member(page, "token") {
        None => "",
        Some(Json::String(token)) => token,
        Some(_) => return Err(Problem::malformed("`page.token` is no text")),
    };
    if token.is_empty() {
        return Ok(Wanted { is_asked: true, limit, after: None });
    }
    let (cursor, first_limit) = binding.opened(token, now_seconds)?;
    if limit != 0 && limit != first_limit {
        return Err(Problem::malformed("`page.limit` is another one than that of the first page"));
    }
    Ok(Wanted { is_asked: true, limit: first_limit, after: Some(cursor) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: &Json) -> Object {
        json.as_object().unwrap().clone()
    }

    fn cursor() -> Cursor {
        Cursor {
            revision: Revision(7),
            version: PolicyVersion("abc".into()),
            holder: "somebody".into(),
            place: 20,
            has_gap: true,
        }
    }

    /// What comes of asking for the page after `cursor()` with this request, by this caller, so many seconds later.
    fn asked(
        key: &PageKey,
        endpoint: &str,
        realm: &str,
        caller: &str,
        request: &Json,
        later: i64,
    ) -> Result<Wanted, Problem> {
        let first = json!({ "subject": { "type": "clerk" }, "context": { "hour": 3, "access_token": "a" } });
        let first =
            Binding::of(&PageKey::new([1; 32]), "subject", "north", "api", &object(&first)).token(&cursor(), 5, 100);
        let mut request = object(request);
        if let Some(Json::Object(page)) = request.get_mut("page") {
            page.insert("token".to_owned(), json!(first));
        }
        let binding = Binding::of(key, endpoint, realm, caller, &request);
        wanted(&request, &binding, 100 + later)
    }

    #[test]
    fn a_page_goes_on_for_who_asked_and_for_what_was_asked_and_for_five_minutes() {
        let key = PageKey::new([1; 32]);
        let same = json!({ "page": {}, "subject": { "type": "clerk" }, "context": { "access_token": "b", "hour": 3 } });
        for request in
            [same.clone(), json!({ "context": { "hour": 3 }, "subject": { "type": "clerk" }, "page": { "limit": 5 } })]
        {
            let page = asked(&key, "subject", "north", "api", &request, 299).unwrap();
            assert_eq!((page.after, page.limit), (Some(cursor()), 5));
        }
        let other = json!({ "page": {}, "subject": { "type": "clerk" }, "context": { "hour": 4 } });
        let limit = json!({ "page": { "limit": 6 }, "subject": { "type": "clerk" }, "context": { "hour": 3 } });
        for (key, endpoint, realm, caller, request, later, words) in [
            (&key, "subject", "north", "api", &same, 300, "expired"),
            (&key, "subject", "north", "api", &limit, 0, "another one"),
            (&key, "subject", "north", "api", &other, 0, "none of this service's"),
            (&key, "resource", "north", "api", &same, 0, "none of this service's"),
            (&key, "subject", "south", "api", &same, 0, "none of this service's"),
            (&key, "subject", "north", "web", &same, 0, "none of this service's"),
            (&PageKey::new([2; 32]), "subject", "north", "api", &same, 0, "none of this service's"),
        ] {
            let refused = asked(key, endpoint, realm, caller, request, later).unwrap_err();
            assert!(refused.detail().contains(words), "{endpoint} {realm} {caller} {later}: {}", refused.detail());
        }
    }

    #[test]
    fn limits_are_whole_numbers_of_1_to_1000() {
        let key = PageKey::new([1; 32]);
        let read = |page: Json| {
            let request = object(&json!({ "page": page }));
            wanted(&request, &Binding::of(&key, "subject", "north", "api", &request), 0)
        };
        for (page, expected) in [
            (json!({}), 0),
            (json!({ "limit": 1 }), 1),
            (json!({ "limit": 1000, "x": 1 }), 1_000),
            (json!({ "limit": 1001 }), 1_000),
            (json!({ "limit": u64::MAX }), 1_000),
            (json!({ "limit": 0 }), 0),
            (json!({ "token": "" }), 0),
        ] {
            assert_eq!(read(page.clone()).unwrap().limit, expected, "{page}");
        }
        for page in [
            json!({ "limit": 1.5 }),
            json!({ "limit": "1" }),
            json!({ "limit": -1 }),
            json!([]),
            json!({ "token": 1 }),
            json!({ "token": "AAAA" }),
        ] {
            assert!(read(page.clone()).is_err(), "{page}");
        }
    }
}
