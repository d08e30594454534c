//! How a log is kept, and what it needs from outside.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{blocks::positions::PLACES, seal::LogKey};
use crate::app::ports::{BeforeGroup, Clock};

/// What an append that returned promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The records are on disk: they survive a power cut.
    Strict,
    /// The records are in the buffer and will be on disk within about 20 ms: a crash of the process or the machine may
    /// lose those of that time; while the disk refuses writes, all that the buffer holds.
    #[default]
    Bounded,
    /// Like bounded; but what cannot be taken is answered all the same, and counted: a gap in the log says how many.
    Available,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Strict, Self::Bounded, Self::Available];

    /// The mode's word: `strict`, `bounded` or `available`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Bounded => "bounded",
            Self::Available => "available",
        }
    }

    /// The mode of a word; `None` when it is none's.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// The number that stands for the mode in the header of a segment.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Strict => 0,
            Self::Bounded => 1,
            Self::Available => 2,
        }
    }
}

/// What a log needs from outside.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What seals the entries.
    pub key: LogKey,
    /// What must be on disk before the entries that refer to it, if anything.
    pub before_group: Option<Arc<dyn BeforeGroup>>,
    /// The folder of the index, which may be deleted at any time; `None` to keep no index on disk.
    pub index: Option<PathBuf>,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What an append that returned promises.
    pub mode: Mode,
    /// A segment takes no further group that would make it longer than this, in bytes. Default 256 MiB.
    pub segment_bytes_max: u64,
    /// A segment takes no further group when it is older than this. Default 1 h.
    pub segment_age_max: Duration,
    /// The most records that wait to be written. Default 65,536.
    pub buffer_records_max: u64,
    /// The most bytes of records that wait to be written. Default 256 MiB.
    pub buffer_bytes_max: u64,
    /// How long an append waits for room in a full buffer. Default 50 ms.
    pub full_wait: Duration,
    /// How long a strict append waits for the disk, and a closed log for the disk to come back. Default 4 s: less than a
    /// decision may take, so that its caller hears why there is none.
    pub strict_wait: Duration,
    /// How long a record of a bounded log waits for others before its group is written. Default 10 ms, so that with
    /// the writer's round of 2 ms and a disk that syncs within 8 ms a record is durable after 20 ms.
    pub group_interval: Duration,
    /// The most entries of a block of the index. Default and most 65,536.
    pub block_entries_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            segment_bytes_max: 256 * 1024 * 1024,
            segment_age_max: Duration::from_secs(3600),
            buffer_records_max: 65_536,
            buffer_bytes_max: 256 * 1024 * 1024,
            full_wait: Duration::from_millis(50),
            strict_wait: Duration::from_secs(4),
            group_interval: Duration::from_millis(10),
            block_entries_max: PLACES,
        }
    }
}
