//! Frames and headers as bytes, whole and damaged.

use proptest::prelude::*;

use super::*;
use crate::domain::{log_event::EventKind, merkle::leaf_hash};

/// What follows the sequence number of a decision: an id, a time, something sealed.
fn decision(text: &str) -> Vec<u8> {
    [&7_u128.to_be_bytes()[..], &9_i64.to_le_bytes(), text.as_bytes(), &[0; TAG_BYTES]].concat()
}

fn group_end(first: u64, last: u64) -> GroupEnd {
    let count = u32::try_from(last - first + 1).unwrap();
    GroupEnd { first, last, count, tree_size: last, root: [3; 32] }
}

fn three_frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    push_decision(&mut bytes, 7, &decision("first record"));
    push_decision(&mut bytes, 8, &decision("second record"));
    push_group(&mut bytes, &group_end(7, 8));
    bytes
}

fn header(size: u64) -> Header {
    let mut before = Frontier::new();
    (0..size).for_each(|number| before.append(leaf_hash(&number.to_le_bytes())));
    Header { mode: 1, created_us: 9, before }
}

/// The sequences (of a group: its last, and 100 more) that are read, resynchronising where needed, and how often it was.
fn read_all(bytes: &[u8]) -> (Vec<u64>, usize) {
    let mut reader = FrameReader::new(bytes, 0);
    let (mut found, mut bad) = (Vec::new(), 0);
    loop {
        match reader.step().unwrap() {
            Step::Frame { body: Body::Group(end), .. } => found.push(100 + end.last),
            Step::Frame { body, .. } => found.push(body.entry().map_or(0, |(sequence, _)| sequence)),
            Step::Bad { .. } => {
                bad += 1;
                if !reader.resync(&(0..1000)).unwrap() {
                    return (found, bad);
                }
            }
            Step::End => return (found, bad),
        }
    }
}

#[test]
fn the_bytes_of_format_2_stay_as_they_are() {
    let written = header(6);
    let bytes = written.encode();
    assert_eq!(bytes.len(), HEADER_LENGTH);
    assert_eq!(bytes[..28], *b"HPLOG\0\x02\n\x02\0\x01\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
    assert_eq!(bytes[28..37], *b"\x06\0\0\0\0\0\0\0\x02");
    assert_eq!(bytes[37..101], *written.before.hashes().as_flattened());
    assert!(bytes[101..HEADER_LENGTH - 4].iter().all(|byte| *byte == 0));
    assert_eq!(Header::decode(bytes[..].try_into().unwrap()), Some(written));

    let mut frame = Vec::new();
    push_decision(&mut frame, 3, b"id, time and sealed record");
    assert_eq!(frame[..4], *b"\x23\0\0\0");
    assert_eq!(frame[8..], *b"\x01\x03\0\0\0\0\0\0\0id, time and sealed record");
    let mut frame = Vec::new();
    push_event(&mut frame, 3, &LogEvent { time_us: 2, kind: EventKind::Stop });
    assert_eq!(frame[8..], *b"\x03\x03\0\0\0\0\0\0\0\x04\x08");
    let mut frame = Vec::new();
    push_sealed_event(&mut frame, 3, 2, b"twelve bytes", b"sealed");
    assert_eq!(frame[8..], *b"\x04\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0twelve bytessealed");
    let mut frame = Vec::new();
    push_group(
        &mut frame,
        &GroupEnd {
            first: 1,
            last: 2,
            count: 3,
            tree_size: 4,
            root: *b"thirty-two bytes of a tree's root".first_chunk().unwrap(),
        },
    );
    assert_eq!(frame.len(), GROUP_FRAME_BYTES);
    assert_eq!(
        frame[8..],
        *b"\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\0\0\0\0thirty-two bytes of a tree's roo"
    );
    let mut frame = Vec::new();
    let footer = Footer { first: 1, last: 2, count: 3, min_us: 4, max_us: 5, tree_size: 6, root: [b'r'; 32] };
    push_footer(&mut frame, &footer);
    assert_eq!(frame.len(), FOOTER_FRAME_BYTES);
    let numbers: Vec<u8> = (1..=6_u64).flat_map(u64::to_le_bytes).collect();
    assert_eq!(frame[8..], [&[5][..], &numbers, &[b'r'; 32]].concat());
}

#[test]
fn every_kind_reads_back_with_the_bytes_that_its_hash_is_taken_of() {
    let event = LogEvent { time_us: 2, kind: EventKind::Stop };
    let footer = Footer { first: 1, last: 2, count: 3, min_us: 4, max_us: 5, tree_size: 6, root: [7; 32] };
    let mut bytes = Vec::new();
    push_decision(&mut bytes, 1, &decision("record"));
    push_event(&mut bytes, 2, &event);
    push_sealed_event(&mut bytes, 3, -5, &[6; NONCE_BYTES], b"sealed");
    push_group(&mut bytes, &group_end(1, 3));
    push_footer(&mut bytes, &footer);
    let encoded = event.encode();
    let sealed = [&b"record"[..], &[0; TAG_BYTES]].concat();
    let expected = [
        Body::Decision { sequence: 1, id: DecisionId(7), time_us: 9, sealed: &sealed },
        Body::Event { sequence: 2, event: &encoded },
        Body::SealedEvent { sequence: 3, time_us: -5, nonce: [6; NONCE_BYTES], sealed: b"sealed" },
        Body::Group(group_end(1, 3)),
        Body::Footer(footer),
    ];
    let entries = [Some((1, Some(9))), Some((2, Some(2))), Some((3, Some(-5))), None, None];
    let mut reader = FrameReader::new(&bytes[..], 0);
    for (expected, entry) in expected.into_iter().zip(entries) {
        let Step::Frame { offset, end, body, bytes: own } = reader.step().unwrap() else { panic!("expected a frame") };
        assert_eq!((body, body.entry()), (expected, entry));
        let (start, end) = (usize::try_from(offset).unwrap() + PREFIX_BYTES, usize::try_from(end).unwrap());
        assert_eq!(own, &bytes[start..end]);
    }
    assert_eq!(reader.step().unwrap(), Step::End);
}

#[test]
fn a_changed_header_is_no_header() {
    let bytes = header(6).encode();
    for at in 0..bytes.len() {
        let mut changed: [u8; HEADER_LENGTH] = bytes[..].try_into().unwrap();
        changed[at] ^= 1;
        assert_eq!(Header::decode(&changed), None, "{at}");
    }
}

#[test]
fn a_header_whose_tree_does_not_fit_its_sequence_is_no_header() {
    let mut bytes = header(6).encode();
    bytes[12] = 8;
    let checksum = crc32fast::hash(&bytes[..HEADER_LENGTH - 4]).to_le_bytes();
    bytes[HEADER_LENGTH - 4..].copy_from_slice(&checksum);
    assert_eq!(Header::decode(bytes[..].try_into().unwrap()), None);
}

#[test]
fn frames_read_back_and_unknown_kinds_are_passed_over() {
    let mut bytes = three_frames();
    push_frame(&mut bytes, &[&[200], b"from a later release"]);
    push_decision(&mut bytes, 9, &decision("third record"));
    assert_eq!(read_all(&bytes), (vec![7, 8, 108, 0, 9], 0));
}

#[test]
fn a_flipped_byte_costs_its_own_frame_only() {
    let good = three_frames();
    let first = PREFIX_BYTES + ENTRY_START_BYTES + decision("first record").len();
    for at in 0..first {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert_eq!(read_all(&bytes), (vec![8, 108], 1), "{at}");
    }
}

#[test]
fn a_frame_hidden_in_the_body_of_a_bad_frame_is_not_taken_for_one() {
    let mut hidden = decision("");
    push_decision(&mut hidden, 8, &decision("forged"));
    let mut bytes = Vec::new();
    push_decision(&mut bytes, 7, &hidden);
    push_decision(&mut bytes, 8, &decision("real"));
    bytes[4] ^= 1;
    let mut reader = FrameReader::new(&bytes[..], 0);
    assert_eq!(reader.step().unwrap(), Step::Bad { offset: 0 });
    assert!(reader.resync(&(0..1000)).unwrap());
    let Step::Frame { body: Body::Decision { sealed, .. }, .. } = reader.step().unwrap() else {
        panic!("expected a decision")
    };
    assert!(sealed.starts_with(b"real"));
}

#[test]
fn zeros_are_no_frames() {
    assert_eq!(read_all(&[0; 100]), (vec![], 1));
}

#[test]
fn frames_longer_than_the_window_read_back() {
    let long = vec![7; 3 * READ_BYTES];
    let mut bytes = Vec::new();
    for sequence in 1..5 {
        push_decision(&mut bytes, sequence, &long);
    }
    assert_eq!(read_all(&bytes), (vec![1, 2, 3, 4], 0));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn garbage_in_front_does_not_hide_what_follows(mut bytes in prop::collection::vec(any::<u8>(), 1..200)) {
        bytes.extend_from_slice(&three_frames());
        let (found, _) = read_all(&bytes);
        prop_assert!(found.ends_with(&[7, 8, 108]), "{:?}", found);
    }
}
