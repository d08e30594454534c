//! The keys and values of the tree `relationships`.
//!
//! A key is the realm's name after its length in one byte, then a kind:
//! - `0x00`: the realm's revision;
//! - `0x01`, the resource, `0x00`, the record's key: a record. Keys sort as [`RecordKey`]s do.
//!
//! A value is a CRC-32 of the key and of what follows, a version, and a body. The key counts in, so that
//! a value at a wrong key is found.

use crate::{
    domain::{
        codec::Writer,
        id::{RealmName, Revision},
        relationship::RecordKey,
    },
    storage::record::{COMPACT, Names, PLAIN, WITH_REMOVED},
};

const KIND_REVISION: u8 = 0;
const KIND_RECORD: u8 = 1;

/// The bytes of a value before its body.
const HEAD_BYTES: usize = 5;

/// The key of a realm's revision.
pub(super) fn revision_key(realm: &RealmName) -> Vec<u8> {
    realm_key(realm, KIND_REVISION)
}

/// What the keys of all records of a realm begin with.
pub(super) fn records_prefix(realm: &RealmName) -> Vec<u8> {
    realm_key(realm, KIND_RECORD)
}

fn realm_key(realm: &RealmName, kind: u8) -> Vec<u8> {
    let mut writer = Writer::with_capacity(realm.as_str().len() + 2);
    // A name has at most 64 bytes, so its length is one.
    writer.str(realm.as_str());
    writer.byte(kind);
    writer.into_bytes()
}

/// The key of a record, given the prefix of its realm.
pub(super) fn record_key(prefix: &[u8], RecordKey { resource, key }: &RecordKey) -> Vec<u8> {
    let mut writer = Writer::with_capacity(prefix.len() + resource.len() + 1 + key.len());
    writer.raw(prefix);
    writer.raw(resource.as_bytes());
    writer.byte(0);
    writer.raw(key.as_bytes());
    writer.into_bytes()
}

/// Reads the key of a record behind the prefix of its realm; `None` when it was never written so.
pub(super) fn read_record_key(prefix: &[u8], key: &[u8], names: &mut Names) -> Option<RecordKey> {
    let mut parts = key.strip_prefix(prefix)?.splitn(2, |byte| *byte == 0);
    let resource = std::str::from_utf8(parts.next()?).ok()?;
    let key = std::str::from_utf8(parts.next()?).ok()?;
    Some(RecordKey { resource: names.name(resource), key: key.into() })
}

/// The value that stands at a key.
pub(super) fn value(key: &[u8], version: u8, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(HEAD_BYTES + body.len());
    writer.raw(&checksum(key, version, body).to_be_bytes());
    writer.byte(version);
    writer.raw(body);
    writer.into_bytes()
}

/// Version and body of the value that stands at a key; `None` when its checksum does not hold or a later program
/// wrote it.
pub(super) fn read_value<'a>(key: &[u8], value: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (sum, rest) = value.split_first_chunk()?;
    let (version, body) = rest.split_first()?;
    let is_known = [PLAIN, WITH_REMOVED, COMPACT].contains(version);
    (is_known && *sum == checksum(key, *version, body).to_be_bytes()).then_some((*version, body))
}

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(body);
    hasher.finalize()
}

/// The body of a revision.
pub(super) fn revision_body(Revision(revision): Revision) -> [u8; 8] {
    revision.to_be_bytes()
}

/// Reads the body of a revision.
pub(super) fn read_revision_body(body: &[u8]) -> Option<Revision> {
    body.try_into().ok().map(|bytes| Revision(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(name: &str) -> RealmName {
        name.parse().unwrap()
    }

    fn named(resource: &str, key: &str) -> RecordKey {
        RecordKey { resource: resource.into(), key: key.into() }
    }

    #[test]
    fn the_bytes_of_keys_and_values_stay_as_they_are() {
        assert_eq!(revision_key(&realm("edfi")), b"\x04edfi\x00");
        let key = record_key(&records_prefix(&realm("edfi")), &named("schools", "1\u{1f}2"));
        assert_eq!(key, b"\x04edfi\x01schools\x001\x1f2");
        assert_eq!(value(&key, PLAIN, b"body"), b"\x6d\x06\xc7\x1d\x01body");
        assert_eq!(revision_body(Revision(258)), [0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_key_reads_back() {
        let prefix = records_prefix(&realm("edfi"));
        for given in [named("schools", "1\u{1f}2"), named("", ""), named("a", "\0\0")] {
            let key = record_key(&prefix, &given);
            assert_eq!(read_record_key(&prefix, &key, &mut Names::default()), Some(given));
        }
        assert_eq!(read_record_key(&prefix, b"\x04edfi\x01schools", &mut Names::default()), None);
        assert_eq!(read_record_key(&prefix, b"\x04edfi\x01\xff\x001", &mut Names::default()), None);
    }

    #[test]
    fn keys_sort_as_record_keys_do() {
        let mut names = [named("a", "2"), named("ab", "1"), named("a", "10"), named("", "z"), named("a\u{1}", "0")];
        let prefix = records_prefix(&realm("edfi"));
        names.sort();
        assert!(names.is_sorted_by_key(|name| record_key(&prefix, name)));
    }

    #[test]
    fn a_changed_value_and_a_value_of_another_key_are_found() {
        let good = value(b"key", WITH_REMOVED, b"body");
        assert_eq!(read_value(b"key", &good), Some((WITH_REMOVED, &b"body"[..])));
        assert_eq!(read_value(b"key", &value(b"key", 4, b"body")), None);
        assert_eq!(read_value(b"other", &good), None);
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 4;
            assert_eq!(read_value(b"key", &bad), None, "{index}");
            assert_eq!(read_value(b"key", &good[..index]), None, "{index}");
        }
    }
}
