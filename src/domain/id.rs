//! The names things have: parsed once at the edge, trusted inside.

use std::{fmt, str::FromStr, sync::Arc};

/// An entity named by its type and id, for example `Student` and `604822`.
///
/// Both parts are opaque, case-sensitive texts; an id is unique within its type only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId {
    /// The entity type as the realm's schema names it.
    pub entity_type: Arc<str>,
    /// The id, at most [`EntityId::ID_BYTES_MAX`] bytes.
    pub id: Arc<str>,
}

impl EntityId {
    /// The longest id that is accepted, in bytes.
    pub const ID_BYTES_MAX: usize = 512;

    /// Names an entity.
    pub fn new(entity_type: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { entity_type: entity_type.into(), id: id.into() }
    }
}

/// Writes the entity as Cedar does: `Student::"604822"`. For people's eyes, never for the log.
impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{:?}", self.entity_type, &*self.id)
    }
}

/// The name of a realm: 1 to 64 lower-case letters, digits, `-` and `_`, starting with a letter or digit.
///
/// It is a folder name and a key prefix in the store, hence the narrow alphabet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmName(Arc<str>);

/// Says what a realm name may look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a realm name, expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit")]
pub struct RealmNameError(String);

impl RealmName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RealmName {
    type Err = RealmNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| is_plain(byte) || byte == b'-' || byte == b'_')
            && text.bytes().next().is_some_and(is_plain);
        if fits { Ok(Self(text.into())) } else { Err(RealmNameError(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many batches of changes a realm's relationships have seen; 0 is the empty realm.
///
/// Grows by one with each batch that changed something, never shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a decision: a `UUIDv7` (RFC 9562 section 5.7), so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(pub u128);

/// Says what a decision id looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decision id, expected a UUID such as `01890a5d-ac96-774b-bcce-b302099a8057`")]
pub struct DecisionIdError;

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for DecisionId {
    type Err = DecisionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::try_parse(text).map(|id| Self(id.as_u128())).map_err(|_| DecisionIdError)
    }
}

/// The digest of a realm's files: 64 lower-case hexadecimal characters of SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyVersion(pub Arc<str>);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_names_are_plain_folder_names() {
        for good in ["edfi", "district-1", "0", "a_b"] {
            assert_eq!(good.parse::<RealmName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "Edfi", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<RealmName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_decision_id_reads_back() {
        let id = DecisionId(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("nonsense".parse::<DecisionId>(), Err(DecisionIdError));
    }
}
