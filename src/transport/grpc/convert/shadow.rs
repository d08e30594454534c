//! What shadows find.

use super::{changes, policies::faults, timestamp};
use crate::{
    app::shadow::{ShadowReport, ShadowStart, ShadowStatus, Tallied},
    proto::v1 as pb,
};

pub(crate) fn started(ShadowStart { version, faults: found, warnings }: &ShadowStart) -> pb::StartShadowResponse {
    pb::StartShadowResponse {
        policy_version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
        faults: faults(found),
        warnings: faults(warnings),
    }
}

pub(crate) fn status(ShadowStatus { report: found, faults: of_folder }: &ShadowStatus) -> pb::GetShadowResponse {
    pb::GetShadowResponse { report: found.as_ref().map(report), faults: faults(of_folder) }
}

pub(crate) fn stopped(found: &ShadowReport) -> pb::StopShadowResponse {
    pb::StopShadowResponse { report: Some(report(found)) }
}

fn report(found: &ShadowReport) -> pb::ShadowReport {
    let ShadowReport { version, started_at_us, started_by, tallied, not_compared } = found;
    let Tallied { live, since_us, changes: found, refused } = tallied;
    pb::ShadowReport {
        policy_version: version.to_string(),
        live_version: live.to_string(),
        started_at: Some(timestamp(*started_at_us)),
        started_by: started_by.to_string(),
        counted_since: Some(timestamp(*since_us)),
        compared: found.counts().all(),
        changes: Some(changes::report(found)),
        not_compared: *not_compared,
        refused: refused.iter().map(|(code, number)| ((*code).to_owned(), *number)).collect(),
    }
}
