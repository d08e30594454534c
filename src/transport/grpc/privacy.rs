//! `hallpass.v1.PrivacyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, presented},
    convert::privacy as convert,
    status,
};
use crate::{
    app::{App, caller::Reading},
    proto::v1::{self as pb, privacy_service_server::PrivacyService},
};

/// Erases people from the decision log, or keeps them from being erased.
#[derive(Debug)]
pub(super) struct Privacy(pub(super) Arc<App>);

#[tonic::async_trait]
impl PrivacyService for Privacy {
    async fn erase_person(
        &self,
        request: Request<pb::ErasePersonRequest>,
    ) -> Result<Response<pb::ErasePersonResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let convert::Erase { realm, person, basis } = convert::erase(request.into_inner())
                .map_err(|error| status::of(&self.0.refusal_of(&presented, error), ""))?;
            let done = async {
                let about = Reading::of_person("ErasePerson", &person, call.request_id());
                let reading = Reading { purpose: Arc::clone(&basis), ..about };
                let permit = self.0.permit(&realm, &presented, &reading).await?;
                self.0.erase_person(&realm, &person, &basis, &permit.caller).await
            };
            done.await.map(convert::erased).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn set_legal_hold(
        &self,
        request: Request<pb::SetLegalHoldRequest>,
    ) -> Result<Response<pb::SetLegalHoldResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let convert::Hold { realm, person, is_held, reason } = convert::hold(request.into_inner())
                .map_err(|error| status::of(&self.0.refusal_of(&presented, error), ""))?;
            let done = async {
                let about = Reading::of_person("SetLegalHold", &person, call.request_id());
                let reading = Reading { purpose: Arc::clone(&reason), ..about };
                let permit = self.0.permit(&realm, &presented, &reading).await?;
                self.0.set_legal_hold(&realm, &person, is_held, &reason, &permit.caller).await
            };
            done.await.map(convert::changed).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn list_legal_holds(
        &self,
        request: Request<pb::ListLegalHoldsRequest>,
    ) -> Result<Response<pb::ListLegalHoldsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let pb::ListLegalHoldsRequest { realm } = request.into_inner();
            let reading = Reading::of_log("ListLegalHolds", call.request_id());
            let holds = async { self.0.legal_holds(&realm) };
            let held = self.0.read_log(&realm, &presented, &reading, holds).await;
            held.map(|held| convert::held(&held)).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn resolve_pseudonyms(
        &self,
        request: Request<pb::ResolvePseudonymsRequest>,
    ) -> Result<Response<pb::ResolvePseudonymsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let convert::Resolve { realm, pseudonyms, purpose } = convert::resolve(request.into_inner())
                .map_err(|error| status::of(&self.0.refusal_of(&presented, error), ""))?;
            let reading = Reading::of_pseudonyms("ResolvePseudonyms", &pseudonyms, purpose, call.request_id());
            let people = async { self.0.resolve_pseudonyms(&realm, &pseudonyms) };
            let found = self.0.read_log(&realm, &presented, &reading, people).await;
            found.map(|people| convert::resolved(&pseudonyms, &people)).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }
}
