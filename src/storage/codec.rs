//! The bytes of stored things: numbers and texts one after the other, every read checked.
//!
//! Fixed numbers are big-endian; lengths are varints: seven bits a byte, the lowest first, the high bit
//! set on all but the last. A value has exactly one encoding, so equal bytes mean equal values.

/// Why stored bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end within a value.
    #[error("the bytes end too early")]
    Truncated,
    /// A varint is longer than it need be, or does not fit 64 bits.
    #[error("a number is not spelled as expected")]
    Varint,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// Bytes are left after the last value.
    #[error("there are bytes after the last value")]
    TrailingBytes,
    /// A tag or version is none of those known.
    #[error("tag {0} is not known")]
    UnknownTag(u8),
}

/// Writes values one after the other.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with room for so many bytes before it has to grow.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// A number in 1 to 10 bytes, the smaller the shorter.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// Bytes with their count before them.
    pub fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A text with its count of bytes before it.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Bytes without a count: the reader must know how many.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads values in the order in which they were written. Never panics, whatever the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads these bytes from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// So many bytes, without a count before them.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (value, rest) = self.rest.split_at_checked(count).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*value)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn u128(&mut self) -> Result<u128, CodecError> {
        self.array().map(u128::from_be_bytes)
    }

    /// A number in 1 to 10 bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`]; [`CodecError::Varint`].
    pub fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of zero could have been left out.
            if (shift == 63 && byte > 1) || (shift > 0 && byte == 0) {
                return Err(CodecError::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(CodecError::Varint)
    }

    /// A count of things of which each takes at least one byte, so never more than there are bytes left.
    ///
    /// # Errors
    /// [`CodecError::Truncated`]; [`CodecError::Varint`].
    pub fn count(&mut self) -> Result<usize, CodecError> {
        let count = usize::try_from(self.varint()?).map_err(|_| CodecError::Truncated)?;
        if count > self.rest.len() { Err(CodecError::Truncated) } else { Ok(count) }
    }

    /// Bytes with their count before them.
    ///
    /// # Errors
    /// [`CodecError::Truncated`]; [`CodecError::Varint`].
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let count = self.count()?;
        self.raw(count)
    }

    /// A text with its count of bytes before it.
    ///
    /// # Errors
    /// [`CodecError::Truncated`]; [`CodecError::Varint`]; [`CodecError::NotUtf8`].
    pub fn str(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CodecError::NotUtf8)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Says that the last value has been read.
    ///
    /// # Errors
    /// [`CodecError::TrailingBytes`].
    pub fn end(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[derive(Debug, Clone, PartialEq)]
    enum Item {
        U8(u8),
        U32(u32),
        U64(u64),
        U128(u128),
        Varint(u64),
        Bytes(Vec<u8>),
        Str(String),
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            any::<u8>().prop_map(Item::U8),
            any::<u32>().prop_map(Item::U32),
            any::<u64>().prop_map(Item::U64),
            any::<u128>().prop_map(Item::U128),
            (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| Item::Varint(value >> shift)),
            vec(any::<u8>(), 0..300).prop_map(Item::Bytes),
            ".{0,40}".prop_map(Item::Str),
        ]
    }

    fn write(items: &[Item]) -> Vec<u8> {
        let mut writer = Writer::default();
        for item in items {
            match item {
                Item::U8(value) => writer.u8(*value),
                Item::U32(value) => writer.u32(*value),
                Item::U64(value) => writer.u64(*value),
                Item::U128(value) => writer.u128(*value),
                Item::Varint(value) => writer.varint(*value),
                Item::Bytes(value) => writer.bytes(value),
                Item::Str(value) => writer.str(value),
            }
        }
        writer.into_bytes()
    }

    fn read(bytes: &[u8], shape: &[Item]) -> Result<Vec<Item>, CodecError> {
        let mut reader = Reader::new(bytes);
        let items = shape
            .iter()
            .map(|item| {
                Ok(match item {
                    Item::U8(_) => Item::U8(reader.u8()?),
                    Item::U32(_) => Item::U32(reader.u32()?),
                    Item::U64(_) => Item::U64(reader.u64()?),
                    Item::U128(_) => Item::U128(reader.u128()?),
                    Item::Varint(_) => Item::Varint(reader.varint()?),
                    Item::Bytes(_) => Item::Bytes(reader.bytes()?.to_vec()),
                    Item::Str(_) => Item::Str(reader.str()?.to_owned()),
                })
            })
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(items)
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(items in vec(item(), 0..12)) {
            prop_assert_eq!(read(&write(&items), &items), Ok(items));
        }

        #[test]
        fn bytes_cut_short_are_an_error(items in vec(item(), 1..8), at in any::<proptest::sample::Index>()) {
            let bytes = write(&items);
            let cut = at.index(bytes.len());
            prop_assert!(read(&bytes[..cut], &items).is_err());
        }

        #[test]
        fn any_bytes_read_without_a_panic(bytes in vec(any::<u8>(), 0..200), shape in vec(item(), 1..8)) {
            if let Ok(items) = read(&bytes, &shape) {
                // One encoding a value: what reads writes the same bytes.
                prop_assert_eq!(write(&items), bytes);
            }
        }
    }

    #[test]
    fn a_varint_has_one_spelling() {
        let check = |bytes: &[u8], expected| assert_eq!(Reader::new(bytes).varint(), expected, "{bytes:x?}");
        check(&[0], Ok(0));
        check(&[0x7f], Ok(127));
        check(&[0x80, 1], Ok(128));
        check(&[0x80, 0], Err(CodecError::Varint));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Ok(u64::MAX));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Err(CodecError::Varint));
        check(&[0xff; 11], Err(CodecError::Varint));
        check(&[0x80], Err(CodecError::Truncated));
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_anything_is_allocated() {
        let mut writer = Writer::default();
        writer.varint(u64::MAX);
        assert_eq!(Reader::new(writer.as_slice()).bytes(), Err(CodecError::Truncated));
    }
}
