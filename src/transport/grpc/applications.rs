//! `hallpass.v1.ApplicationService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, presented},
    convert::applications as convert,
    status,
};
use crate::{
    app::{App, caller::Right},
    proto::v1::{self as pb, application_service_server::ApplicationService},
};

/// Keeps applications and their tokens.
#[derive(Debug)]
pub(super) struct Applications(pub(super) Arc<App>);

#[tonic::async_trait]
impl ApplicationService for Applications {
    async fn put_application(
        &self,
        request: Request<pb::PutApplicationRequest>,
    ) -> Result<Response<pb::PutApplicationResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::PutApplication).await?;
            let (realm, put) = convert::put(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let created = self.0.put_application(&realm, put).await.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::PutApplicationResponse { created })
        };
        call.answer(work).await
    }

    async fn get_application(
        &self,
        request: Request<pb::GetApplicationRequest>,
    ) -> Result<Response<pb::GetApplicationResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::GetApplication).await?;
            let pb::GetApplicationRequest { realm, id } = request.into_inner();
            let found = self.0.get_application(&realm, &id).map_err(|error| status::of(&error, &realm))?;
            Ok(pb::GetApplicationResponse { application: Some(convert::application(&found)) })
        };
        call.answer(work).await
    }

    async fn list_applications(
        &self,
        request: Request<pb::ListApplicationsRequest>,
    ) -> Result<Response<pb::ListApplicationsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::ListApplications).await?;
            let list = convert::list(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let page = self.0.list_applications(&list.realm, list.after.as_deref(), list.size);
            page.map(|page| list.page(&page)).map_err(|error| status::of(&error, &list.realm))
        };
        call.answer(work).await
    }

    async fn delete_application(
        &self,
        request: Request<pb::DeleteApplicationRequest>,
    ) -> Result<Response<pb::DeleteApplicationResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::DeleteApplication).await?;
            let pb::DeleteApplicationRequest { realm, id } = request.into_inner();
            let tokens = self.0.delete_application(&realm, &id).await.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::DeleteApplicationResponse { tokens })
        };
        call.answer(work).await
    }

    async fn issue_token(
        &self,
        request: Request<pb::IssueTokenRequest>,
    ) -> Result<Response<pb::IssueTokenResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::IssueToken).await?;
            let (realm, asked) = convert::issue(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let issued = self.0.issue_token(&realm, asked).await;
            issued.map(convert::issued).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn register_token(
        &self,
        request: Request<pb::RegisterTokenRequest>,
    ) -> Result<Response<pb::RegisterTokenResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::RegisterToken).await?;
            let convert::Register { realm, id, digest, expires_at_seconds, narrowed } =
                convert::register(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let registered = self.0.register_token(&realm, &id, digest, expires_at_seconds, narrowed).await;
            registered.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::RegisterTokenResponse {})
        };
        call.answer(work).await
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::RevokeToken).await?;
            let (realm, digest) = convert::revoke(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let found = self.0.revoke_token(&realm, digest).await.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::RevokeTokenResponse { found })
        };
        call.answer(work).await
    }
}
