//! `hallpass.v1.RevocationService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, presented},
    convert::revocations as convert,
    status,
};
use crate::{
    app::{App, caller::Right},
    proto::v1::{self as pb, revocation_service_server::RevocationService},
};

/// Revokes tokens.
#[derive(Debug)]
pub(super) struct Revocations(pub(super) Arc<App>);

#[tonic::async_trait]
impl RevocationService for Revocations {
    async fn revoke(&self, request: Request<pb::RevokeRequest>) -> Result<Response<pb::RevokeResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::Revoke).await?;
            let (realm, asked) = convert::revoke(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let kept = self.0.revoke(&realm, asked).await.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::RevokeResponse { revocation: Some(convert::revocation(&kept)) })
        };
        call.answer(work).await
    }

    async fn reinstate(
        &self,
        request: Request<pb::ReinstateRequest>,
    ) -> Result<Response<pb::ReinstateResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::Reinstate).await?;
            let (realm, tokens) = convert::reinstate(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let reinstated = self.0.reinstate(&realm, tokens).await.map_err(|error| status::of(&error, &realm))?;
            Ok(pb::ReinstateResponse { reinstated })
        };
        call.answer(work).await
    }

    async fn list_revocations(
        &self,
        request: Request<pb::ListRevocationsRequest>,
    ) -> Result<Response<pb::ListRevocationsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::ListRevocations).await?;
            let list = convert::list(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let page = self.0.list_revocations(&list.realm, list.issuer.as_deref(), list.after.as_ref(), list.size);
            page.map(|page| list.page(&page)).map_err(|error| status::of(&error, &list.realm))
        };
        call.answer(work).await
    }
}
