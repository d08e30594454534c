//! How a decision log is doing.

use super::timestamp;
use crate::{
    app::ports::{CheckpointStatus, LogStatus},
    domain::{checkpoint::SignedCheckpoint, signed_note::VerifierKey},
    proto::v1 as pb,
};

/// The status, with the newest checkpoint and its key, where there are any.
pub(crate) fn status(
    status: &LogStatus,
    checkpoint: Option<&SignedCheckpoint>,
    key: Option<&VerifierKey>,
) -> pb::GetLogStatusResponse {
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
        checkpoints,
        witness,
    } = status;
    let CheckpointStatus { fault, failures, unsigned, is_contradicted: _ } = checkpoints.clone().unwrap_or_default();
    pb::GetLogStatusResponse {
        mode: (*mode).to_owned(),
        writable: *is_writable,
        entries: *entries,
        first_sequence: *first_sequence,
        waiting: *waiting,
        dropped: *dropped,
        flushed_at: flushed_at_us.map(timestamp),
        checkpoint: checkpoint.map(|signed| signed.note.to_string()).unwrap_or_default(),
        verifier_key: key.map(ToString::to_string).unwrap_or_default(),
        undamaged: *is_undamaged,
        unsigned,
        checkpoint_fault: fault.unwrap_or_default(),
        checkpoint_failures: failures,
        witness_failures: witness.map_or(0, |witness| witness.failures),
        witness_lag: witness.map(|witness| witness.lag),
    }
}
