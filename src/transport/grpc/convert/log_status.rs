//! How a decision log is doing.

use super::timestamp;
use crate::{app::ports::LogStatus, proto::v1 as pb};

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
        checkpoint,
        verifier_key,
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
        checkpoint: checkpoint.as_ref().map(|made| made.note.to_string()).unwrap_or_default(),
        verifier_key: verifier_key.as_ref().map(ToString::to_string).unwrap_or_default(),
        undamaged: *is_undamaged,
    }
}
