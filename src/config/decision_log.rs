//! How decisions are kept, and where the logs' checkpoints are handed to.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{Layers, MEBIBYTE};
use crate::{
    domain::{document::Table, signed_note::VerifierKey},
    provider::witness::{self, Place as WitnessPlace},
    storage::segment_log,
};

const BUFFER_RECORDS: RangeInclusive<i64> = 1..=16_777_216;
const FULL_WAIT_MS: RangeInclusive<i64> = 0..=10_000;
const SEGMENT_BYTES: RangeInclusive<i64> = MEBIBYTE..=1024 * MEBIBYTE;
const SEGMENT_SECONDS: RangeInclusive<i64> = 1..=31_536_000;

impl Layers<'_> {
    /// The options of the decision logs of all realms.
    pub(super) fn decision_log(
        &self,
        table: Option<&Table<'_>>,
        default: segment_log::Options,
    ) -> segment_log::Options {
        let number = |name: &str, range| self.number(table, &format!("decision_log.{name}"), range);
        segment_log::Options {
            mode: self.value(table, "decision_log.mode", mode).unwrap_or(default.mode),
            buffer_records_max: number("buffer_records", BUFFER_RECORDS).unwrap_or(default.buffer_records_max),
            full_wait: number("full_wait_ms", FULL_WAIT_MS).map_or(default.full_wait, Duration::from_millis),
            segment_bytes_max: number("segment_bytes_max", SEGMENT_BYTES).unwrap_or(default.segment_bytes_max),
            segment_age_max: number("segment_seconds_max", SEGMENT_SECONDS)
                .map_or(default.segment_age_max, Duration::from_secs),
            ..default
        }
    }

    /// Where checkpoints are handed to. A relative path starts at the file's folder.
    pub(super) fn witness(&self, table: &Table<'_>) -> witness::Options {
        let default = witness::Options::default();
        let read = |key: &str, parse: fn(&str) -> Result<WitnessPlace, String>| {
            let fault = |message| table.fault(Some(key), format!("`decision_log.witness.{key}` {message}"));
            parse(&table.text(key)?).map_err(fault).ok()
        };
        let file = table.text("file").map(|path| WitnessPlace::File(self.base.join(&*path)));
        let places = [file, read("syslog", WitnessPlace::syslog), read("url", WitnessPlace::url)];
        let interval = table.integer("interval_seconds", 1..=86_400).and_then(|seconds| u64::try_from(seconds).ok());
        witness::Options {
            places: places.into_iter().flatten().collect(),
            interval: interval.map_or(default.interval, Duration::from_secs),
            private_addresses: table.flag("private_addresses"),
        }
    }
}

/// The options of one realm's decision log; what the table does not say is as for all realms.
pub(super) fn of_realm(table: &Table<'_>, all: segment_log::Options) -> segment_log::Options {
    let number = |name: &str, range| table.integer(name, range).and_then(|number| u64::try_from(number).ok());
    let chosen = table.text("mode").and_then(|text| {
        mode(&text).map_err(|message| table.fault(Some("mode"), format!("`decision_log.mode` {message}"))).ok()
    });
    segment_log::Options {
        mode: chosen.unwrap_or(all.mode),
        buffer_records_max: number("buffer_records", BUFFER_RECORDS).unwrap_or(all.buffer_records_max),
        full_wait: number("full_wait_ms", FULL_WAIT_MS).map_or(all.full_wait, Duration::from_millis),
        segment_bytes_max: number("segment_bytes_max", SEGMENT_BYTES).unwrap_or(all.segment_bytes_max),
        segment_age_max: number("segment_seconds_max", SEGMENT_SECONDS)
            .map_or(all.segment_age_max, Duration::from_secs),
        ..all
    }
}

/// What the logs' checkpoints are called by; it must be a name that keys may have.
pub(super) fn origin(table: &Table<'_>) -> Option<Arc<str>> {
    let origin = table.text("origin")?;
    if VerifierKey::new(&origin, [0; 32]).is_none() {
        let message = format!("`decision_log.origin` `{origin}` is no name, expected one without blanks and `+`");
        table.fault(Some("origin"), message);
        return None;
    }
    Some(origin)
}

fn mode(text: &str) -> Result<segment_log::Mode, String> {
    segment_log::Mode::parse(text)
        .ok_or_else(|| format!("`{text}` is no mode, expected `strict`, `bounded` or `available`"))
}
