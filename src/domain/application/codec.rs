//! The bytes of an application and of an opaque token, as stores keep them.
//!
//! Version 1, in the terms of [`crate::domain::codec`]: the version byte, then of an application the title, the time it
//! ends, whether it is disabled, the hash of its secret and the attributes; of a token the application's id, the time
//! it ends and the narrowed attributes. What they are found by is the store's key. An optional thing has a truth value
//! in front. An entity's type is a number: that of an earlier type of the same bytes, or the next one, and then its
//! name follows; so the ids of many organizations stay short. The numbers that stand for kinds of values are part of
//! the format: new ones may be added, none may change.

use std::sync::Arc;

use super::{Application, ApplicationToken, SecretHash, TokenDigest};
use crate::domain::{
    codec::{CodecError, Reader, Writer},
    id::EntityId,
    value::{Attributes, Value},
};

/// The version that is written.
const VERSION: u8 = 1;

/// The deepest nesting of values that is kept; deeper ones are written as [`Value::Null`], which fits no type.
const DEPTH_MAX: usize = 64;

impl Application {
    /// The application's bytes; its id is not in them.
    pub fn encode(&self) -> Vec<u8> {
        let Self { id: _, title, attributes, expires_at_seconds, is_disabled, secret_hash } = self;
        let mut out = Encoder::new();
        out.bytes.str(title);
        out.bytes.bool(expires_at_seconds.is_some());
        if let Some(at) = expires_at_seconds {
            out.bytes.i64(*at);
        }
        out.bytes.bool(*is_disabled);
        out.bytes.bool(secret_hash.is_some());
        if let Some(SecretHash(hash)) = secret_hash {
            out.bytes.str(hash);
        }
        out.attributes(attributes, DEPTH_MAX);
        out.bytes.into_bytes()
    }

    /// Reads the application of this id from its bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of an application of a known version.
    pub fn decode(id: Arc<str>, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Decoder::new(bytes)?;
        let application = Self {
            id,
            title: input.bytes.shared()?,
            expires_at_seconds: if input.bytes.bool()? { Some(input.bytes.i64()?) } else { None },
            is_disabled: input.bytes.bool()?,
            secret_hash: if input.bytes.bool()? { Some(SecretHash(input.bytes.shared()?)) } else { None },
            attributes: input.attributes(DEPTH_MAX)?,
        };
        input.bytes.finish()?;
        Ok(application)
    }
}

impl ApplicationToken {
    /// The token's bytes; its digest is not in them.
    pub fn encode(&self) -> Vec<u8> {
        let Self { digest: _, application, expires_at_seconds, narrowed } = self;
        let mut out = Encoder::new();
        out.bytes.str(application);
        out.bytes.i64(*expires_at_seconds);
        out.attributes(narrowed, DEPTH_MAX);
        out.bytes.into_bytes()
    }

    /// Reads the token of this digest from its bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of a token of a known version.
    pub fn decode(digest: TokenDigest, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Decoder::new(bytes)?;
        let token = Self {
            digest,
            application: input.bytes.shared()?,
            expires_at_seconds: input.bytes.i64()?,
            narrowed: input.attributes(DEPTH_MAX)?,
        };
        input.bytes.finish()?;
        Ok(token)
    }
}

/// Bytes, and the entity types that were named in them.
struct Encoder<'a> {
    bytes: Writer,
    types: Vec<&'a str>,
}

impl<'a> Encoder<'a> {
    fn new() -> Self {
        let mut bytes = Writer::with_capacity(256);
        bytes.byte(VERSION);
        Self { bytes, types: Vec::new() }
    }

    fn attributes(&mut self, attributes: &'a Attributes, depth_left: usize) {
        self.bytes.count(attributes.len());
        for (name, value) in attributes.iter() {
            self.bytes.str(name);
            self.value(value, depth_left);
        }
    }

    fn value(&mut self, value: &'a Value, depth_left: usize) {
        match value {
            Value::Bool(value) => self.bytes.byte(if *value { 2 } else { 1 }),
            Value::Long(value) => {
                self.bytes.byte(3);
                self.bytes.i64(*value);
            }
            Value::String(text) => {
                self.bytes.byte(4);
                self.bytes.str(text);
            }
            Value::Entity(entity) => {
                self.bytes.byte(5);
                self.entity(entity);
            }
            Value::List(values) if depth_left > 0 => {
                self.bytes.byte(6);
                self.bytes.count(values.len());
                for value in values {
                    self.value(value, depth_left - 1);
                }
            }
            Value::Record(fields) if depth_left > 0 => {
                self.bytes.byte(7);
                self.attributes(fields, depth_left - 1);
            }
            Value::List(_) | Value::Record(_) | Value::Null => self.bytes.byte(0),
        }
    }

    fn entity(&mut self, entity: &'a EntityId) {
        let known = self.types.iter().position(|known| **known == *entity.entity_type);
        self.bytes.count(known.unwrap_or(self.types.len()));
        if known.is_none() {
            self.types.push(&entity.entity_type);
            self.bytes.str(&entity.entity_type);
        }
        self.bytes.str(&entity.id);
    }
}

/// What is left of bytes, and the entity types that were named before.
struct Decoder<'a> {
    bytes: Reader<'a>,
    types: Vec<Arc<str>>,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut bytes = Reader::new(bytes);
        match bytes.byte()? {
            VERSION => Ok(Self { bytes, types: Vec::new() }),
            byte => Err(CodecError::Choice { what: "version of an application", byte }),
        }
    }

    fn attributes(&mut self, depth_left: usize) -> Result<Attributes, CodecError> {
        let pairs = self.list(|input| Ok((input.bytes.shared()?, input.value(depth_left)?)))?;
        let is_sorted = pairs.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        if is_sorted { Ok(pairs.into_iter().collect()) } else { Err(CodecError::Order) }
    }

    fn value(&mut self, depth_left: usize) -> Result<Value, CodecError> {
        let deeper = || depth_left.checked_sub(1).ok_or(CodecError::Depth);
        match self.bytes.byte()? {
            0 => Ok(Value::Null),
            1 => Ok(Value::Bool(false)),
            2 => Ok(Value::Bool(true)),
            3 => self.bytes.i64().map(Value::Long),
            4 => self.bytes.shared().map(Value::String),
            5 => self.entity().map(Value::Entity),
            6 => {
                let depth_left = deeper()?;
                self.list(|input| input.value(depth_left)).map(Value::List)
            }
            7 => self.attributes(deeper()?).map(Value::Record),
            byte => Err(CodecError::Choice { what: "kind of value", byte }),
        }
    }

    fn entity(&mut self) -> Result<EntityId, CodecError> {
        let number = self.bytes.u64()?;
        let known = usize::try_from(number).ok().and_then(|place| self.types.get(place)).cloned();
        let entity_type = match known {
            Some(known) => known,
            None if number == self.types.len() as u64 => {
                let name = self.bytes.shared()?;
                if self.types.contains(&name) {
                    // Every value has one spelling.
                    return Err(CodecError::Order);
                }
                self.types.push(Arc::clone(&name));
                name
            }
            None => return Err(CodecError::Range(number)),
        };
        Ok(EntityId { entity_type, id: self.bytes.shared()? })
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Result<T, CodecError>) -> Result<Vec<T>, CodecError> {
        let count = self.bytes.count()?;
        // The count is at most the bytes that are left; start small all the same, an item is larger than a byte.
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attributes(pairs: &[(&str, Value)]) -> Attributes {
        pairs.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect()
    }

    fn school(id: &str) -> Value {
        Value::Entity(EntityId::new("School", id))
    }

    fn application() -> Application {
        Application {
            id: "sis".into(),
            title: "SIS".into(),
            attributes: attributes(&[
                ("a", Value::List(vec![school("1"), school("2"), Value::Entity(EntityId::new("Bus", "3"))])),
                ("b", Value::Record(attributes(&[("c", Value::Bool(true)), ("d", Value::Long(-1))]))),
                ("e", Value::String("é".into())),
            ]),
            expires_at_seconds: Some(300),
            is_disabled: true,
            secret_hash: Some(SecretHash("$h".into())),
        }
    }

    fn token() -> ApplicationToken {
        let narrowed = attributes(&[("a", Value::List(vec![school("1")]))]);
        ApplicationToken { digest: TokenDigest([7; 32]), application: "sis".into(), expires_at_seconds: 300, narrowed }
    }

    #[test]
    fn the_bytes_stay_as_they_are() {
        let expected = b"\x01\x03SIS\x01\xd8\x04\x01\x01\x02$h\x03\x01a\x06\x03\x05\x00\x06School\x011\x05\x00\x012\
            \x05\x01\x03Bus\x013\x01b\x07\x02\x01c\x02\x01d\x03\x01\x01e\x04\x02\xc3\xa9";
        assert_eq!(application().encode(), expected);
        assert_eq!(Application::decode("sis".into(), expected), Ok(application()));
        let expected = b"\x01\x03sis\xd8\x04\x01\x01a\x06\x01\x05\x00\x06School\x011";
        assert_eq!(token().encode(), expected);
        assert_eq!(ApplicationToken::decode(TokenDigest([7; 32]), expected), Ok(token()));
    }

    #[test]
    fn bytes_cut_short_with_a_tail_or_of_another_version_are_refused() {
        let bytes = application().encode();
        for cut in 0..bytes.len() {
            assert!(Application::decode("sis".into(), &bytes[..cut]).is_err(), "{cut}");
        }
        let tailed = [&*bytes, &[0]].concat();
        assert_eq!(Application::decode("sis".into(), &tailed), Err(CodecError::Trailing(1)));
        let later = [&[2], &bytes[1..]].concat();
        let expected = CodecError::Choice { what: "version of an application", byte: 2 };
        assert_eq!(Application::decode("sis".into(), &later), Err(expected));
    }

    #[test]
    fn ids_of_one_type_take_few_bytes() {
        let ids =
            (0..2_000).map(|id| Value::Entity(EntityId::new("EducationOrganization", (255_000 + id).to_string())));
        let many = Application { attributes: attributes(&[("a", Value::List(ids.collect()))]), ..application() };
        assert!(many.encode().len() < super::super::BYTES_MAX, "{}", many.encode().len());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Long),
            "[a-z]{0,3}".prop_map(|text| Value::String(text.into())),
            ("[A-C]", "[0-9]{0,3}").prop_map(|(entity_type, id)| Value::Entity(EntityId::new(entity_type, id))),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|pairs| Value::Record(
                    pairs.into_iter().map(|(name, value)| (name.into(), value)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(values in prop::collection::vec(("[a-z]{1,2}", values()), 0..5), at in any::<Option<i64>>()) {
            let attributes: Attributes = values.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
            let written = Application { attributes: attributes.clone(), expires_at_seconds: at, ..application() };
            prop_assert_eq!(Application::decode("sis".into(), &written.encode()), Ok(written));
            let written = ApplicationToken { narrowed: attributes, ..token() };
            prop_assert_eq!(ApplicationToken::decode(token().digest, &written.encode()), Ok(written));
        }

        #[test]
        fn garbage_never_panics_and_has_one_spelling(mut bytes in prop::collection::vec(any::<u8>(), 1..120)) {
            bytes[0] = VERSION;
            if let Ok(read) = Application::decode("sis".into(), &bytes) {
                prop_assert_eq!(read.encode(), bytes);
            } else if let Ok(read) = ApplicationToken::decode(TokenDigest([7; 32]), &bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
