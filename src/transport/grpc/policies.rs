//! `hallpass.v1.PolicyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, presented},
    convert::{policies as convert, shadow},
    status,
};
use crate::{
    app::{
        App,
        caller::{self, Right},
    },
    proto::v1::{self as pb, policy_service_server::PolicyService},
};

/// Shows, checks, reloads and rolls back realms, and lets candidates decide in their shadow.
#[derive(Debug)]
pub(super) struct Policies(pub(super) Arc<App>);

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list_realms(
        &self,
        request: Request<pb::ListRealmsRequest>,
    ) -> Result<Response<pb::ListRealmsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::ListRealmsRequest {} = request.into_inner();
            let may_see = |name: &str| self.0.may_see(&presented, name, Right::ListRealms);
            let realms: Vec<_> = self.0.realms().filter(|state| may_see(state.name.as_str())).collect();
            if realms.is_empty() {
                call.may(&self.0, &presented, "", Right::ListRealms).await?;
            }
            Ok(pb::ListRealmsResponse { realms: realms.into_iter().map(|state| convert::realm(state)).collect() })
        };
        call.answer(work).await
    }

    async fn get_realm(&self, request: Request<pb::GetRealmRequest>) -> Result<Response<pb::GetRealmResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::GetRealmRequest { realm } = request.into_inner();
            call.may(&self.0, &presented, &realm, Right::GetRealm).await?;
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
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, "", Right::ValidatePolicies).await?;
            let found = self.0.validate_policies(convert::candidate(request.into_inner())).await;
            found.as_ref().map(convert::validation).map_err(|error| status::of(error, ""))
        };
        call.answer(work).await
    }

    async fn reload_policies(
        &self,
        request: Request<pb::ReloadPoliciesRequest>,
    ) -> Result<Response<pb::ReloadPoliciesResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::ReloadPoliciesRequest { realm } = request.into_inner();
            let work = async {
                self.0.permit_policies(&realm, &presented, "ReloadPolicies", call.request_id()).await?;
                self.0.reload_policies(&realm).await
            };
            work.await.as_ref().map(convert::reloaded).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    async fn rollback_policies(
        &self,
        request: Request<pb::RollbackPoliciesRequest>,
    ) -> Result<Response<pb::RollbackPoliciesResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::RollbackPoliciesRequest { realm, policy_version } = request.into_inner();
            let work = async {
                let by = self.0.permit_policies(&realm, &presented, "RollbackPolicies", call.request_id()).await?;
                self.0.rollback_policies(&realm, &policy_version, by).await
            };
            work.await.as_ref().map(convert::rolled_back).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    async fn resume_policies(
        &self,
        request: Request<pb::ResumePoliciesRequest>,
    ) -> Result<Response<pb::ResumePoliciesResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::ResumePoliciesRequest { realm } = request.into_inner();
            let work = async {
                self.0.permit_policies(&realm, &presented, "ResumePolicies", call.request_id()).await?;
                self.0.resume_policies(&realm).await
            };
            work.await.as_ref().map(convert::resumed).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    async fn start_shadow(
        &self,
        request: Request<pb::StartShadowRequest>,
    ) -> Result<Response<pb::StartShadowResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::StartShadowRequest { realm, files } = request.into_inner();
            let work = async {
                let by = self.0.permit_policies(&realm, &presented, "StartShadow", call.request_id()).await?;
                self.0.start_shadow(&realm, convert::source_files(files), by).await
            };
            work.await.as_ref().map(shadow::started).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    async fn get_shadow(
        &self,
        request: Request<pb::GetShadowRequest>,
    ) -> Result<Response<pb::GetShadowResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::GetShadowRequest { realm } = request.into_inner();
            let permitted = self.0.permit_reading_policies(&realm, &presented, "GetShadow", call.request_id());
            let status = permitted.and_then(|()| self.0.shadow_status(&realm));
            status.as_ref().map(shadow::status).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }

    async fn stop_shadow(
        &self,
        request: Request<pb::StopShadowRequest>,
    ) -> Result<Response<pb::StopShadowResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::StopShadowRequest { realm } = request.into_inner();
            let work = async {
                self.0.permit_policies(&realm, &presented, "StopShadow", call.request_id()).await?;
                self.0.stop_shadow(&realm).await
            };
            work.await.as_ref().map(shadow::stopped).map_err(|error| status::of(error, &realm))
        };
        call.answer(work).await
    }
}
