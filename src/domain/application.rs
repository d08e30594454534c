//! Applications: what a realm knows of a client beyond its token, and the opaque tokens that stand for one.
//!
//! An application is a principal of the realm by its id, so its attributes are those that the schema declares for the
//! principal's entity type. A JWT's claims count first; what it has no claim for comes from the record. An opaque token
//! says nothing itself: its principal is made from the record, narrowed where the token was narrowed.

mod codec;

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{
    access_request::{FieldFault, typed},
    jws::TOKEN_BYTES_MAX,
    principal::PrincipalError,
    realm::Realm,
    record_mapping::Relations,
    schema::{AttributeType, Member},
    token_error::TokenError,
    value::{Attributes, Value},
};

/// The longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// The longest bytes of an application or of a token, as the store keeps them: about 2,000 organizations.
pub const BYTES_MAX: usize = 24_000;

/// The last second of the year 9999; a time beyond it is a mistake, such as milliseconds.
pub const YEAR_9999_SECONDS: i64 = 253_402_300_799;

/// An application, as the realm keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The client id, which names it within its realm: the id of its principal, in canonical form.
    pub id: Arc<str>,
    /// What people call it.
    pub title: Arc<str>,
    /// Attributes of the principal, typed as the schema declares them. Sets are sorted.
    pub attributes: Attributes,
    /// Until when its tokens count, in seconds since the epoch; `None` has no end.
    pub expires_at_seconds: Option<i64>,
    /// Its tokens count not.
    pub is_disabled: bool,
    /// The hash of its secret; without one it cannot be issued tokens.
    pub secret_hash: Option<SecretHash>,
}

/// An opaque token, as the realm keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationToken {
    /// What the token is found by.
    pub digest: TokenDigest,
    /// The id of the application that it stands for.
    pub application: Arc<str>,
    /// Until when it counts, in seconds since the epoch.
    pub expires_at_seconds: i64,
    /// Sets of which this token has these members alone.
    pub narrowed: Attributes,
}

/// The Argon2id hash of a secret, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(pub Arc<str>);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// The SHA-256 digest of an opaque token. The token itself is kept nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest(pub [u8; 32]);

/// Says what the digest of a token looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no SHA-256 digest, expected 64 lower-case hexadecimal digits")]
pub struct TokenDigestError;

impl TokenDigest {
    /// The digest of a token's text.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The digest of a token that is no JWT: it has not three parts joined by dots, and is neither empty nor longer
    /// than a token may be.
    pub fn of_opaque(token: &str) -> Option<Self> {
        let is_jwt = token.bytes().filter(|byte| *byte == b'.').count() == 2;
        (!is_jwt && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then(|| Self::of(token))
    }
}

impl FromStr for TokenDigest {
    type Err = TokenDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(half(*high)? << 4 | half(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(TokenDigestError)
    }
}

/// Writes the digest in lower-case hexadecimal.
impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl Application {
    /// The application as the realm keeps it: its id in canonical form, its attributes typed.
    ///
    /// # Errors
    /// Every fault at once, each of a field `application.…`. Messages hold no values.
    pub fn check(self, realm: &Realm) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let id = match realm.relations.entity_id(&realm.file.principal.entity, &self.id) {
            Ok(entity) => entity.id,
            Err(expected) => {
                faults.push(FieldFault::new("application.id", format!("is another text, expected {expected}")));
                Arc::clone(&self.id)
            }
        };
        if self.title.chars().count() > TITLE_CHARS_MAX {
            let message = format!("is longer than {TITLE_CHARS_MAX} characters");
            faults.push(FieldFault::new("application.title", message));
        }
        if self.expires_at_seconds.is_some_and(|at| !(0..=YEAR_9999_SECONDS).contains(&at)) {
            faults.push(FieldFault::new("application.expires_at", "is no time between 1970 and 9999"));
        }
        let attributes = checked("application.attributes", &self.attributes, realm, &mut faults, |_, _| Ok(()));
        let checked = Self { id, attributes, ..self };
        let bytes = checked.encode().len();
        if bytes > BYTES_MAX {
            let message = format!("take {bytes} bytes in the store, expected at most {BYTES_MAX}");
            faults.push(FieldFault::new("application.attributes", message));
        }
        if faults.is_empty() { Ok(checked) } else { Err(faults) }
    }

    /// The attributes that a token narrows, typed: each a set that the application has, with some of its members.
    ///
    /// # Errors
    /// Every fault at once, each of a field `narrowed.…`. Messages hold no values.
    pub fn narrowing(&self, realm: &Realm, narrowed: &Attributes) -> Result<Attributes, Vec<FieldFault>> {
        let mut faults = Vec::new();
        let is_subset = |name: &str, value: &Value| match (value, self.attributes.get(name)) {
            _ if restricts(realm, name) => Err("restricts, so that a token with less of it would be allowed more"),
            (Value::List(items), Some(Value::List(all))) if items.iter().all(|item| all.contains(item)) => Ok(()),
            (Value::List(_), Some(_)) => Err("has members that the application's does not have"),
            (Value::List(_), None) => Err("is none of the application's attributes"),
            _ => Err("is no set, and only sets can be narrowed"),
        };
        let narrowed = checked("narrowed", narrowed, realm, &mut faults, is_subset);
        if faults.is_empty() { Ok(narrowed) } else { Err(faults) }
    }

    /// The attributes that a token has that is narrowed so: of each narrowed set the members that are still the
    /// application's. An association that ended after the token was issued counts no more.
    ///
    /// # Errors
    /// What is narrowed is no set of the record or of the schema any more: then nobody can say what the token may have.
    pub fn narrowed(&self, realm: &Realm, narrowed: &Attributes) -> Result<Attributes, PrincipalError> {
        for (name, some) in narrowed.iter() {
            let is_set = matches!((some, self.attributes.get(name)), (Value::List(_), Some(Value::List(_))));
            let declared = member(realm, name).map(|member| &member.value_type);
            if !is_set || restricts(realm, name) || !matches!(declared, Some(AttributeType::Set(_))) {
                let expected = "a set any more that a token can be narrowed to a part of".to_owned();
                return Err(PrincipalError::AttributeInvalid { attribute: Arc::clone(name), expected });
            }
        }
        let narrow = |name: &Arc<str>, value: &Value| match (narrowed.get(name), value) {
            (Some(Value::List(some)), Value::List(all)) => {
                Value::List(all.iter().filter(|item| some.contains(item)).cloned().collect())
            }
            _ => value.clone(),
        };
        Ok(self.attributes.iter().map(|(name, value)| (Arc::clone(name), narrow(name, value))).collect())
    }

    /// Its tokens count at this time, in seconds since the epoch.
    ///
    /// # Errors
    /// Why they don't.
    pub fn check_in_use(&self, now_seconds: i64) -> Result<(), TokenError> {
        if self.is_disabled {
            return Err(TokenError::ApplicationDisabled);
        }
        if self.expires_at_seconds.is_some_and(|at| now_seconds >= at) {
            return Err(TokenError::ApplicationExpired);
        }
        Ok(())
    }

    /// The time after which a token counts no more that itself counts until then.
    pub fn until(&self, expires_at_seconds: i64) -> i64 {
        self.expires_at_seconds.map_or(expires_at_seconds, |at| at.min(expires_at_seconds))
    }
}

/// Attributes of the principal, each typed and looked at; those at fault are left out.
fn checked(
    field: &str,
    given: &Attributes,
    realm: &Realm,
    faults: &mut Vec<FieldFault>,
    look: impl Fn(&str, &Value) -> Result<(), &'static str>,
) -> Attributes {
    let mut attributes = Vec::with_capacity(given.len());
    for (name, value) in given.iter() {
        let mut fault = |message: String| {
            let name: String = name.chars().take(80).collect();
            faults.push(FieldFault::new(format!("{field}.{name}"), message));
        };
        let Some(member) = member(realm, name) else {
            let known = members(realm).map(|(name, _)| &**name).collect::<Vec<_>>().join(", ");
            fault(format!("is no attribute of `{}`, expected one of {known}", realm.file.principal.entity));
            continue;
        };
        match recorded(value, &member.value_type, &realm.relations) {
            Err(expected) => fault(format!("is {}, expected {expected}", value.kind())),
            Ok(typed) => match look(name, &typed) {
                Ok(()) => attributes.push((Arc::clone(name), typed)),
                Err(wrong) => fault(wrong.to_owned()),
            },
        }
    }
    attributes.into_iter().collect()
}

/// The attributes that an application may have: those of the principal that aren't links.
fn members(realm: &Realm) -> impl Iterator<Item = (&Arc<str>, &Member)> {
    let entity = &realm.file.principal.entity;
    let links = realm.relations.entity(entity).map(|rules| &rules.links);
    let declared = realm.schema.entities.get(entity).into_iter().flatten();
    declared.filter(move |(name, _)| !links.is_some_and(|links| links.contains_key(*name)))
}

/// More members of the attribute mean less access.
fn restricts(realm: &Realm, name: &str) -> bool {
    realm.file.principal.attributes.iter().any(|mapping| mapping.restricts && *mapping.attribute == *name)
}

/// How the schema declares an attribute that an application may have.
pub(super) fn member<'r>(realm: &'r Realm, name: &str) -> Option<&'r Member> {
    members(realm).find(|(known, _)| ***known == *name).map(|(_, member)| member)
}

/// The value as an attribute of this type keeps it: ids canonical, sets sorted and without repetition.
pub(super) fn recorded(value: &Value, wanted: &AttributeType, relations: &Relations) -> Result<Value, String> {
    typed(value, wanted, relations).map(|value| ordered(value, wanted))
}

fn ordered(value: Value, value_type: &AttributeType) -> Value {
    match (value, value_type) {
        (Value::List(items), AttributeType::Set(element)) => {
            let mut items: Vec<Value> = items.into_iter().map(|item| ordered(item, element)).collect();
            items.sort();
            items.dedup();
            Value::List(items)
        }
        (Value::Record(fields), AttributeType::Record(members)) => {
            let ordered = fields.iter().map(|(name, value)| match members.get(name) {
                Some(member) => (Arc::clone(name), ordered(value.clone(), &member.value_type)),
                None => (Arc::clone(name), value.clone()),
            });
            Value::Record(ordered.collect())
        }
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests;
