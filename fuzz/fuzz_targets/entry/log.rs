//! The decision log's files and what stands in them.

use std::fs;
use std::sync::Arc;

use hallpass::app::ports::DecisionLog as _;
use hallpass::domain::decision_record::DecisionRecord;
use hallpass::domain::log_event::LogEvent;
use hallpass::domain::record_filter::{Order, PageRequest, RecordFilter};
use hallpass::provider::clock::SystemClock;
use hallpass::storage::segment_log::{LogKey, Options, Outside, SegmentLog, verify};

/// The length of a segment's header.
const HEADER_BYTES: usize = 4096;

/// Reads bytes as a record and as an event: what can be read is written and read again as the same.
pub(crate) fn record_codec(bytes: &[u8]) {
    if let Ok(record) = DecisionRecord::decode(bytes) {
        let again = DecisionRecord::decode(&record.encode()).expect("what was written can be read");
        // Held as bytes, because a number that is none is not equal to itself.
        assert_eq!(again.encode(), record.encode());
        assert!(DecisionRecord::decode_id_and_time(bytes).is_ok_and(|found| found == (record.id, record.time_us)));
    }
    if let Ok(event) = LogEvent::decode(bytes) {
        let again = LogEvent::decode(&event.encode()).expect("what was written can be read");
        assert_eq!(again, event);
    }
}

/// Reads bytes as the segments of a log: it can be verified, opened, read to its end and gone on with. Checksums are made to
/// hold, else nothing behind them would be entered; the input's first byte says at which place it is cut in two segments.
pub(crate) fn segment_reader(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder for the log");
    let (first, second) = bytes.split_at(bytes.len() * usize::from(*cut) / 255);
    for (name, part) in [("00000001.seg", first), ("00000002.seg", second)] {
        if !part.is_empty() {
            fs::write(folder.path().join(name), with_checksums(part)).expect("the log can be written");
        }
    }
    drop(verify::verify(folder.path(), &verify::Trusted::default()));
    let realm = "north".parse().expect("a name");
    let key = LogKey::of_realm(&[7; 32], &realm).expect("a key");
    let outside = Outside { clock: Arc::new(SystemClock), key, before_group: None, index: None };
    let Ok(log) = SegmentLog::open(folder.path(), Options::default(), outside) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let page =
            log.query(RecordFilter::default(), PageRequest { order: Order::default(), size: 1_000, after: None }).await;
        let read = page.map_or(0, |page| page.decisions.len());
        assert_eq!(read, 0, "nobody has the key that a decision is sealed with");
        drop(log.segments().await);
        log.close().await;
    });
}

/// The bytes with the checksums of their header and frames put right, as far as there are any.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let Some((header, mut rest)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return bytes };
    let sum = crc32(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&sum);
    while let Some((prefix, behind)) = rest.split_at_mut_checked(8) {
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
        let Some((body, next)) = behind.split_at_mut_checked(length) else { break };
        prefix[4..].copy_from_slice(&crc32(body));
        rest = next;
    }
    bytes
}

/// CRC-32 as in zlib, a bit at a time: nobody here waits for it.
fn crc32(bytes: &[u8]) -> [u8; 4] {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step));
    (!sum).to_le_bytes()
}
