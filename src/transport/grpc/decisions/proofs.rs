//! `GetCheckpoint`, `ProveInclusion` and `ProveConsistency`.

use tonic::Status;

use super::super::{call::Call, convert::log_proofs as convert, status};
use crate::{
    app::{
        App,
        caller::{Presented, Reading},
    },
    proto::v1 as pb,
};

pub(crate) async fn checkpoint(
    app: &App,
    request: pb::GetCheckpointRequest,
    call: &Call,
    presented: &Presented,
) -> Result<pb::GetCheckpointResponse, Status> {
    let pb::GetCheckpointRequest { realm } = request;
    let reading = Reading::of_log("GetCheckpoint", call.request_id());
    let made = app.read_log(&realm, presented, &reading, app.log_checkpoint(&realm)).await;
    made.map(|(made, keys)| convert::checkpoint(&made, &keys)).map_err(|error| status::of(&error, &realm))
}

pub(crate) async fn inclusion(
    app: &App,
    request: pb::ProveInclusionRequest,
    call: &Call,
    presented: &Presented,
) -> Result<pb::ProveInclusionResponse, Status> {
    let convert::Inclusion { realm, entry, tree_size } =
        convert::inclusion(request).map_err(|error| status::of(&app.refusal_of(presented, error), ""))?;
    let reading = Reading::of_log("ProveInclusion", call.request_id());
    let proved = app.read_log(&realm, presented, &reading, app.prove_entry(&realm, entry, tree_size)).await;
    proved.map(convert::proved_entry).map_err(|error| status::of(&error, &realm))
}

pub(crate) async fn consistency(
    app: &App,
    request: pb::ProveConsistencyRequest,
    call: &Call,
    presented: &Presented,
) -> Result<pb::ProveConsistencyResponse, Status> {
    let convert::Consistency { realm, first, second } =
        convert::consistency(request).map_err(|error| status::of(&app.refusal_of(presented, error), ""))?;
    let reading = Reading::of_log("ProveConsistency", call.request_id());
    let proved = app.read_log(&realm, presented, &reading, app.prove_tree(&realm, first, second)).await;
    proved.map(convert::proved_tree).map_err(|error| status::of(&error, &realm))
}
