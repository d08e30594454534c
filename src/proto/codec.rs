//! Messages from and to bytes, as the generated services and clients do it: with a bound on what a short message may become.
//!
//! An empty element of a list takes two bytes in a message and hundreds in memory, so that eight megabytes could ask for
//! gigabytes, before anybody has looked at who asks. The elements are counted before they are made.

use std::marker::PhantomData;

use prost::{Message, bytes::Buf as _};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// The most fields of a message, the elements of its lists counted one by one. The longest list that a call takes or gives
/// has 10,000 elements.
pub const FIELDS_MAX: usize = 32_768;

/// The library's own codec, with the bound.
#[derive(Clone, Debug)]
pub struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder { inner: self.0.decoder(), _item: PhantomData }
    }
}

/// Reads messages that have at most [`FIELDS_MAX`] fields.
#[derive(Clone, Debug)]
pub struct BoundedDecoder<U> {
    inner: ProstDecoder<U>,
    _item: PhantomData<U>,
}

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer is in one piece.
        if fields(buf.chunk()) > FIELDS_MAX {
            return Err(Status::out_of_range(format!(
                "a message may have {FIELDS_MAX} fields, those of its lists counted"
            )));
        }
        self.inner.decode(buf)
    }
}

/// How many fields the message has at its top level, up to one more than may be; those before its first fault, if it has one.
fn fields(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while count <= FIELDS_MAX
        && let Some(rest) = behind_field(bytes)
    {
        (bytes, count) = (rest, count + 1);
    }
    count
}

/// What comes behind the first field (Protocol Buffers encoding: tag, then what its wire type says).
fn behind_field(bytes: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = varint(bytes)?;
    match tag & 7 {
        0 => varint(rest).map(|(_, rest)| rest),
        1 => rest.get(8..),
        2 => varint(rest).and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..)),
        5 => rest.get(4..),
        // Groups are of proto2; each of their ends counts.
        3 | 4 => Some(rest),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::proto::v1 as pb;

    use super::*;

    #[test]
    fn fields_are_counted_whatever_they_hold() {
        let record = || pb::ImportRecordsRequest {
            realm: "north".to_owned(),
            resource: "r".to_owned(),
            records: vec!["{}".to_owned(); 7],
        };
        assert_eq!(fields(&record().encode_to_vec()), 9);
        let query =
            pb::QueryDecisionsRequest { page_size: 1 << 20, names: true, ..pb::QueryDecisionsRequest::default() };
        assert_eq!(fields(&query.encode_to_vec()), 2);
        assert_eq!(fields(&[]), 0);
        assert_eq!(fields(&[0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, 0, 0, 0]), 2, "of fixed length");
    }

    #[test]
    fn what_cannot_be_read_ends_the_count() {
        for (bytes, expected) in [
            (&[0x0a][..], 0),
            (&[0x0a, 5, b'a'], 0),
            (&[0x0a, 0, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 1),
            (&[0x0a, 0, 0x0f], 1),
            (&[0xff; 32], 0),
            (&[0x08], 0),
        ] {
            assert_eq!(fields(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn counting_ends_with_what_is_too_much() {
        assert_eq!(fields(&[0x12, 0].repeat(FIELDS_MAX)), FIELDS_MAX);
        assert_eq!(fields(&[0x12, 0].repeat(4 << 20)), FIELDS_MAX + 1);
    }
}
