//! `hallpass.v1.DecisionLogService`.

mod export;
mod proofs;
mod replay;
mod tail;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, presented},
    convert::{decisions as convert, log_status as convert_status},
    status,
};
use crate::{
    app::{
        App,
        caller::{Permit, Reading},
        decisions::{DecisionQuery, LogReport},
    },
    proto::v1::{self as pb, decision_log_service_server::DecisionLogService},
};

/// Reads the decision log.
#[derive(Debug)]
pub(super) struct DecisionLog(pub(super) Arc<App>);

#[tonic::async_trait]
impl DecisionLogService for DecisionLog {
    async fn query_decisions(
        &self,
        request: Request<pb::QueryDecisionsRequest>,
    ) -> Result<Response<pb::QueryDecisionsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let convert::Query { realm, conditions, page, binding } = convert::query(request.into_inner())
                .map_err(|error| status::of(&self.0.refusal_of(&presented, error), ""))?;
            let reading = Reading::of_query("QueryDecisions", &conditions, call.request_id());
            let query = |Permit { texts, .. }| {
                self.0.query_decisions(&realm, DecisionQuery { texts, ..conditions.clone() }, page)
            };
            let found = self.0.read_log_as(&realm, &presented, &reading, query).await;
            found.map(|page| convert::page(page, &binding)).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn get_decision(
        &self,
        request: Request<pb::GetDecisionRequest>,
    ) -> Result<Response<pb::GetDecisionResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let (realm, id) = convert::get(request.into_inner())
                .map_err(|error| status::of(&self.0.refusal_of(&presented, error), ""))?;
            let reading = Reading::of_log("GetDecision", call.request_id());
            let get = async |Permit { texts, .. }| self.0.get_decision(&realm, id).await.map(|found| texts.of(found));
            let found = self.0.read_log_as(&realm, &presented, &reading, get).await;
            found.as_ref().map(convert::found).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    type TailDecisionsStream = tail::Parts;

    async fn tail_decisions(
        &self,
        request: Request<pb::TailDecisionsRequest>,
    ) -> Result<Response<Self::TailDecisionsStream>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(tail::answer(&self.0, request.into_inner(), &call, &presented)).await
    }

    type ExportDecisionsStream = export::Parts;

    async fn export_decisions(
        &self,
        request: Request<pb::ExportDecisionsRequest>,
    ) -> Result<Response<Self::ExportDecisionsStream>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(export::answer(&self.0, request.into_inner(), &call, &presented)).await
    }

    type ReplayDecisionsStream = replay::Parts;

    async fn replay_decisions(
        &self,
        request: Request<pb::ReplayDecisionsRequest>,
    ) -> Result<Response<Self::ReplayDecisionsStream>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(replay::answer(&self.0, request.into_inner(), &call, &presented)).await
    }

    async fn plan_retention(
        &self,
        request: Request<pb::PlanRetentionRequest>,
    ) -> Result<Response<pb::PlanRetentionResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::PlanRetentionRequest { realm } = request.into_inner();
            let reading = Reading::of_log("PlanRetention", call.request_id());
            let planned = self.0.read_log(&realm, &presented, &reading, self.0.plan_retention(&realm)).await;
            planned.map(convert::retention_plan).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn get_log_status(
        &self,
        request: Request<pb::GetLogStatusRequest>,
    ) -> Result<Response<pb::GetLogStatusResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::GetLogStatusRequest { realm } = request.into_inner();
            let reading = Reading::of_log("GetLogStatus", call.request_id());
            let permitted = self.0.permit_unrecorded(&realm, &presented, &reading);
            let found = permitted.and_then(|_| self.0.log_status(&realm));
            found
                .map(|LogReport { status, checkpoint, key }| {
                    convert_status::status(&status, checkpoint.as_deref(), key.as_ref())
                })
                .map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(proofs::checkpoint(&self.0, request.into_inner(), &call, &presented)).await
    }

    async fn prove_inclusion(
        &self,
        request: Request<pb::ProveInclusionRequest>,
    ) -> Result<Response<pb::ProveInclusionResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(proofs::inclusion(&self.0, request.into_inner(), &call, &presented)).await
    }

    async fn prove_consistency(
        &self,
        request: Request<pb::ProveConsistencyRequest>,
    ) -> Result<Response<pb::ProveConsistencyResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(proofs::consistency(&self.0, request.into_inner(), &call, &presented)).await
    }
}
