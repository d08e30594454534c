//! `hallpass.v1.PolicyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{call::Call, convert::policies as convert, status};
use crate::{
    app::{App, caller},
    proto::v1::{self as pb, policy_service_server::PolicyService},
};

/// Shows, checks and reloads realms.
#[derive(Debug)]
pub(super) struct Policies(pub(super) Arc<App>);

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list_realms(
        &self,
        request: Request<pb::ListRealmsRequest>,
    ) -> Result<Response<pb::ListRealmsResponse>, Status> {
        let call = Call::of(&request);
        let work = async {
            let pb::ListRealmsRequest {} = request.into_inner();
            Ok(pb::ListRealmsResponse { realms: self.0.realms().map(|state| convert::realm(state)).collect() })
        };
        call.answer(work).await
    }

    async fn get_realm(&self, request: Request<pb::GetRealmRequest>) -> Result<Response<pb::GetRealmResponse>, Status> {
        let call = Call::of(&request);
        let work = async {
            let pb::GetRealmRequest { realm } = request.into_inner();
            if let Some(policies) = self.0.callers().policies().filter(|_| realm == caller::REALM) {
                return Ok(pb::GetRealmResponse { realm: Some(convert::caller_realm(policies)) });
            }
            let state = self.0.realm(&realm).map_err(|error| status::of(&error, &realm))?;
            Ok(pb::GetRealmResponse { realm: Some(convert::realm(state)) })
        };
        call.answer(work).await
    }

    async fn validate_policies(
        &self,
        request: Request<pb::ValidatePoliciesRequest>,
    ) -> Result<Response<pb::ValidatePoliciesResponse>, Status> {
        let call = Call::of(&request);
        let work = async {
            let found = self.0.validate_policies(convert::candidate(request.into_inner())).await;
            found.as_ref().map(convert::validation).map_err(|error| status::of(error, ""))
        };
        call.answer(work).await
    }

    async fn reload_policies(
        &self,
        request: Request<pb::ReloadPoliciesRequest>,
    ) -> Result<Response<pb::ReloadPoliciesResponse>, Status> {
        let call = Call::of(&request);
        let work = async {
            let pb::ReloadPoliciesRequest { realm } = request.into_inner();
            let reloaded = self.0.reload_policies(&realm).await;
            reloaded.as_ref().map(convert::reloaded).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }
}
