//! How a decision log is doing.

use super::timestamp;
use crate::{app::ports::LogStatus, proto::v1 as pb};

/// The checkpoint and its key are filled in by who has them.
pub(crate) fn status(status: &LogStatus) -> pb::GetLogStatusResponse {
    let LogStatus {
        mode,
        is_writable,
        answers_without: _,
        entries,
        first_sequence,
        waiting,
        dropped,
        gaps: _,
        flushed_at_us,
        is_undamaged,
    } = status;
    pb::GetLogStatusResponse {
        mode: (*mode).to_owned(),
        writable: *is_writable,
        entries: *entries,
        first_sequence: *first_sequence,
        waiting: *waiting,
        dropped: *dropped,
        flushed_at: flushed_at_us.map(timestamp),
        checkpoint: String::new(),
        verifier_key: String::new(),
        undamaged: *is_undamaged,
    }
}
