//! `hallpass.v1.DecisionLogService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{call::Call, convert::decisions as convert, status};
use crate::{
    app::App,
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
        let call = Call::of(&request);
        let work = async {
            let convert::Query { realm, conditions, page, binding } =
                convert::query(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let found = self.0.query_decisions(&realm, conditions, page).await;
            found.map(|page| convert::page(page, &binding)).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn get_decision(
        &self,
        request: Request<pb::GetDecisionRequest>,
    ) -> Result<Response<pb::GetDecisionResponse>, Status> {
        let call = Call::of(&request);
        let work = async {
            let (realm, id) = convert::get(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let found = self.0.get_decision(&realm, id).await;
            found.as_ref().map(convert::found).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }
}
