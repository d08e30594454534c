//! A small byte codec for what is kept on disk: every read is checked, no input panics.
//!
//! Whole numbers are LEB128 varints of the fewest bytes, signed ones zigzagged first; texts and byte strings carry
//! their length in front. A value has exactly one spelling, so equal values have equal bytes.

use std::sync::Arc;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end before the value does.
    #[error("the bytes end before the value does")]
    Truncated,
    /// A varint has more than 64 bits or more bytes than it needs.
    #[error("a number is not spelled as a varint of the fewest bytes")]
    Varint,
    /// A number does not fit the type it is read into.
    #[error("the number `{0}` is out of range")]
    Range(u64),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A byte that stands for a choice stands for none.
    #[error("the byte `{byte}` is no {what}")]
    Choice {
        /// What was expected, for example `outcome`.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// Named values are not sorted by name, or a name comes twice.
    #[error("named values are not sorted by name")]
    Order,
    /// Values are nested deeper than is accepted.
    #[error("values are nested too deep")]
    Depth,
    /// There are bytes after the value.
    #[error("`{0}` bytes follow the value")]
    Trailing(usize),
}

/// Appends values to a byte string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty byte string with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Goes on at the end of a byte string.
    pub fn after(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One byte as it is.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// A truth value: one byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// A whole number: 1 to 10 bytes.
    pub fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(low_seven_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_seven_bits(value));
    }

    /// A signed whole number: 1 to 10 bytes, few for numbers near zero.
    pub fn i64(&mut self, value: i64) {
        self.u64((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    /// A count or length.
    pub fn count(&mut self, value: usize) {
        self.u64(value as u64);
    }

    /// A number of 128 bits: always 16 bytes, the highest first.
    pub fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// A text with its length in bytes.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fn low_seven_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Takes values off the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// Every read leaves the reader at an unspecified place when it fails: give the whole input up.
impl<'a> Reader<'a> {
    /// Reads from the start of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// This many bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (byte, rest) = self.rest.split_first().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`CodecError::Truncated`], [`CodecError::Choice`].
    pub fn bool(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(CodecError::Choice { what: "truth value", byte }),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`CodecError::Truncated`], [`CodecError::Varint`].
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let fits = shift < 63 || bits <= 1;
            let is_fewest = byte != 0 || shift == 0;
            if !fits || !is_fewest {
                return Err(CodecError::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Varint)
    }

    /// A whole number of 32 bits.
    ///
    /// # Errors
    /// As [`Reader::u64`], and [`CodecError::Range`].
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        let value = self.u64()?;
        u32::try_from(value).map_err(|_| CodecError::Range(value))
    }

    /// A signed whole number.
    ///
    /// # Errors
    /// As [`Reader::u64`].
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        let value = self.u64()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The count of things that follow, each of at least one byte; never more than the bytes that are left, so that a
    /// list of this capacity may be allocated.
    ///
    /// # Errors
    /// As [`Reader::u64`]; [`CodecError::Truncated`] when so many cannot follow.
    pub fn count(&mut self) -> Result<usize, CodecError> {
        let value = self.u64()?;
        let count = usize::try_from(value).map_err(|_| CodecError::Truncated)?;
        if count > self.rest.len() { Err(CodecError::Truncated) } else { Ok(count) }
    }

    /// A number of 128 bits.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u128(&mut self) -> Result<u128, CodecError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(u128::from_be_bytes(*bytes))
    }

    /// A byte string.
    ///
    /// # Errors
    /// As [`Reader::count`].
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.count()?;
        self.raw(length)
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Reader::count`], and [`CodecError::Text`].
    pub fn str(&mut self) -> Result<&'a str, CodecError> {
        str::from_utf8(self.bytes()?).map_err(|_| CodecError::Text)
    }

    /// A text as a shared one.
    ///
    /// # Errors
    /// As [`Reader::str`].
    pub fn shared(&mut self) -> Result<Arc<str>, CodecError> {
        self.str().map(Arc::from)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of the things that can be written.
    #[derive(Clone, Debug, PartialEq)]
    enum Item {
        Byte(u8),
        Bool(bool),
        U64(u64),
        U32(u32),
        I64(i64),
        U128(u128),
        Bytes(Vec<u8>),
        Str(String),
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let small_or_any = prop_oneof![0..300_u64, any::<u64>()];
        let item = prop_oneof![
            any::<u8>().prop_map(Item::Byte),
            any::<bool>().prop_map(Item::Bool),
            small_or_any.prop_map(Item::U64),
            any::<u32>().prop_map(Item::U32),
            any::<i64>().prop_map(Item::I64),
            any::<u128>().prop_map(Item::U128),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Item::Bytes),
            ".{0,40}".prop_map(Item::Str),
        ];
        prop::collection::vec(item, 0..12)
    }

    fn write(items: &[Item]) -> Vec<u8> {
        let mut out = Writer::default();
        for item in items {
            match item {
                Item::Byte(value) => out.byte(*value),
                Item::Bool(value) => out.bool(*value),
                Item::U64(value) => out.u64(*value),
                Item::U32(value) => out.u64(u64::from(*value)),
                Item::I64(value) => out.i64(*value),
                Item::U128(value) => out.u128(*value),
                Item::Bytes(value) => out.bytes(value),
                Item::Str(value) => out.str(value),
            }
        }
        out.into_bytes()
    }

    /// Reads things of the same kinds, in the same order.
    fn read(kinds: &[Item], bytes: &[u8]) -> Result<Vec<Item>, CodecError> {
        let mut input = Reader::new(bytes);
        let items = kinds
            .iter()
            .map(|kind| {
                Ok(match kind {
                    Item::Byte(_) => Item::Byte(input.byte()?),
                    Item::Bool(_) => Item::Bool(input.bool()?),
                    Item::U64(_) => Item::U64(input.u64()?),
                    Item::U32(_) => Item::U32(input.u32()?),
                    Item::I64(_) => Item::I64(input.i64()?),
                    Item::U128(_) => Item::U128(input.u128()?),
                    Item::Bytes(_) => Item::Bytes(input.bytes()?.to_vec()),
                    Item::Str(_) => Item::Str(input.str()?.to_owned()),
                })
            })
            .collect::<Result<_, _>>()?;
        input.finish()?;
        Ok(items)
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(items in items()) {
            prop_assert_eq!(read(&items, &write(&items)), Ok(items));
        }

        #[test]
        fn truncated_bytes_are_refused(items in items(), cut in any::<prop::sample::Index>()) {
            let bytes = write(&items);
            prop_assume!(!bytes.is_empty());
            prop_assert!(read(&items, &bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn garbage_never_panics_and_has_one_spelling(kinds in items(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(items) = read(&kinds, &bytes) {
                prop_assert_eq!(write(&items), bytes);
            }
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (bytes, expected) in [
            (&[0_u8][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok(u64::MAX)),
            (&[0x80, 0x00], Err(CodecError::Varint)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Err(CodecError::Varint)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81], Err(CodecError::Varint)),
            (&[0x80], Err(CodecError::Truncated)),
        ] {
            assert_eq!(Reader::new(bytes).u64(), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_anything_is_allocated() {
        let mut out = Writer::default();
        out.u64(u64::MAX >> 1);
        assert_eq!(Reader::new(&out.into_bytes()).count(), Err(CodecError::Truncated));
    }
}
