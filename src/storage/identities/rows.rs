//! The bytes of an identity table: a header, then frames, each with sealed rows.
//!
//! ```text
//! header: magic [8] | epoch u64 | crc32 u32                                                       20 bytes
//! frame:  len u32 | crc32 of the body u32 | body
//! body:   nonce [12] | sealed rows | tag [16]     AES-256-GCM under the key of the epoch
//! ```
//! Numbers are little-endian. The epoch and the frame's place among the frames, from 0, are bound to the sealed rows, so
//! that a frame that was taken out, doubled or moved shows.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::fill,
};

use super::erasing::{Begun, ErasedRow};
use crate::domain::{
    codec::{CodecError, Reader, Writer},
    id::EntityId,
    identity::{Identity, Pseudonym},
};

/// How a table starts.
const MAGIC: [u8; 8] = *b"HPIDS\0\x01\n";
pub(super) const HEADER_BYTES: usize = 20;
/// Length and checksum in front of a body.
const PREFIX_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// A frame takes no further row when it is so long, in bytes.
pub(super) const FRAME_BYTES: usize = 64 * 1024;
/// The longest body; guards readers against a damaged length. The longest row is an erasure.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A row as it is kept.
#[derive(Debug)]
pub(super) enum Row {
    /// A person.
    Person(Identity),
    /// A person was put under hold, or let go of.
    Hold { pseudonym: Pseudonym, since_us: Option<i64> },
    /// An erasure was begun.
    Erasing(Begun),
}

/// Rows in their kept form, not sealed yet.
#[derive(Debug, Default)]
pub(super) struct Rows(Writer);

impl Rows {
    pub(super) fn person(&mut self, identity: &Identity) {
        self.0.byte(1);
        write_person(&mut self.0, identity);
        self.0.i64(identity.created_us);
        self.0.i64(identity.held_since_us().unwrap_or(0));
    }

    pub(super) fn hold(&mut self, pseudonym: Pseudonym, since_us: Option<i64>) {
        self.0.byte(2);
        self.0.raw(&pseudonym.0);
        self.0.i64(since_us.unwrap_or(0));
    }

    pub(super) fn erasing(&mut self, begun: &Begun) {
        self.0.byte(3);
        self.0.count(begun.rows.len());
        for row in &begun.rows {
            self.0.str(&row.entity.entity_type);
            self.0.str(&row.entity.id);
            self.0.raw(&row.pseudonym.0);
        }
        self.0.str(&begun.basis);
        self.0.str(&begun.caller);
    }

    /// The rows fill a frame.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= FRAME_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, which leaves no rows.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into_bytes()
    }
}

fn write_person(out: &mut Writer, identity: &Identity) {
    out.str(&identity.entity.entity_type);
    out.str(&identity.entity.id);
    out.raw(&identity.pseudonym.0);
    out.raw(&identity.key);
}

/// Reads the rows of a frame.
///
/// # Errors
/// [`CodecError`].
pub(super) fn read_rows(bytes: &[u8]) -> Result<Vec<Row>, CodecError> {
    let mut input = Reader::new(bytes);
    let mut rows = Vec::new();
    while !input.rest().is_empty() {
        rows.push(read_row(&mut input)?);
    }
    Ok(rows)
}

fn read_row(input: &mut Reader<'_>) -> Result<Row, CodecError> {
    match input.byte()? {
        1 => {
            let (entity, pseudonym) = (read_entity(input)?, read_pseudonym(input)?);
            let key = input.raw(32)?.try_into().map_err(|_| CodecError::Truncated)?;
            let (created_us, held_since_us) = (input.i64()?, since(input)?);
            Ok(Row::Person(Identity::restored(entity, pseudonym, key, created_us, held_since_us)))
        }
        2 => Ok(Row::Hold { pseudonym: read_pseudonym(input)?, since_us: since(input)? }),
        3 => {
            let count = input.count()?;
            let row = |_| Ok(ErasedRow { entity: read_entity(input)?, pseudonym: read_pseudonym(input)? });
            let rows = (0..count).map(row).collect::<Result<_, CodecError>>()?;
            Ok(Row::Erasing(Begun::new(rows, input.shared()?, input.shared()?)))
        }
        byte => Err(CodecError::Choice { what: "kind of row", byte }),
    }
}

fn since(input: &mut Reader<'_>) -> Result<Option<i64>, CodecError> {
    Ok(Some(input.i64()?).filter(|since| *since != 0))
}

fn read_entity(input: &mut Reader<'_>) -> Result<EntityId, CodecError> {
    Ok(EntityId { entity_type: input.shared()?, id: input.shared()? })
}

fn read_pseudonym(input: &mut Reader<'_>) -> Result<Pseudonym, CodecError> {
    Ok(Pseudonym(input.u128()?.to_be_bytes()))
}

/// The key that seals the rows of an epoch.
pub(super) struct EpochKey {
    epoch: u64,
    key: LessSafeKey,
}

/// Hides the key.
impl std::fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochKey").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl EpochKey {
    /// `None` when the library refuses the key, which it does not for one of 32 bytes.
    pub(super) fn new(epoch: u64, key: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, key).ok().map(|key| Self { epoch, key: LessSafeKey::new(key) })
    }

    /// The header of a table of this epoch.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// These are the first bytes of a table of this epoch.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.header())
    }

    /// Appends a frame of rows; `place` frames stand before it. `None` when the library refuses, or there is no chance
    /// to be had.
    pub(super) fn push_frame(&self, out: &mut Vec<u8>, place: u64, mut rows: Vec<u8>) -> Option<()> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce).ok()?;
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(sealing, Aad::from(self.bound(place)), &mut rows).ok()?;
        let length = u32::try_from(nonce.len() + rows.len()).ok()?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&nonce);
        checksum.update(&rows);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&checksum.finalize().to_le_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&rows);
        Some(())
    }

    /// The rows of a frame's body; `None` when it was changed, moved, or sealed with another key.
    pub(super) fn open<'b>(&self, place: u64, body: &'b mut [u8]) -> Option<&'b [u8]> {
        let (nonce, sealed) = body.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key.open_in_place(nonce, Aad::from(self.bound(place)), sealed).ok().map(|rows| &*rows)
    }

    fn bound(&self, place: u64) -> [u8; 16] {
        let both = (u128::from(self.epoch) << 64) | u128::from(place);
        both.to_le_bytes()
    }
}

/// The body of the frame at the start of these bytes, and what follows; `None` when no whole, good frame stands there.
pub(super) fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok();
    let length = length.filter(|length| (NONCE_LEN + TAG_BYTES..=BODY_BYTES_MAX).contains(length))?;
    let (body, rest) = rest.split_at_checked(length)?;
    (crc32fast::hash(body) == u32::from_le_bytes(*checksum)).then_some((body, rest))
}

/// A good frame starts somewhere in these bytes behind the first one: then what is bad before it is no torn end.
pub(super) fn holds_a_later_frame(bytes: &[u8]) -> bool {
    (1..bytes.len().saturating_sub(PREFIX_BYTES))
        .any(|at| bytes.get(at..).is_some_and(|rest| split_frame(rest).is_some()))
}
