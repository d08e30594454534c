//! `hallpass.v1.AuthorizationService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    call::{Call, adapter, presented},
    convert::authorization as convert,
    search::{self, Parts},
    status,
};
use crate::{
    app::{
        App,
        authorize::Answer,
        caller::Right,
        error::{Error, Kind},
    },
    proto::v1::{self as pb, authorization_service_server::AuthorizationService},
};

/// Answers questions.
#[derive(Debug)]
pub(super) struct Authorization(pub(super) Arc<App>);

#[tonic::async_trait]
impl AuthorizationService for Authorization {
    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let call = Call::of(&request);
        let (presented, adapter) = (presented(&request), adapter(&request));
        let work = async {
            let mut question =
                convert::question(request.into_inner(), call.request_id()).map_err(|error| status::of(&error, ""))?;
            (question.presented, question.adapter) = (presented, adapter);
            let realm = Arc::clone(&question.realm);
            self.0.authorize(question).await.map(convert::answer).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn batch_authorize(
        &self,
        request: Request<pb::BatchAuthorizeRequest>,
    ) -> Result<Response<pb::BatchAuthorizeResponse>, Status> {
        let call = Call::of(&request);
        let (presented, adapter) = (presented(&request), adapter(&request));
        let work = async {
            let failed = |error: Error| status::of(&error, "");
            // Before anything of it is looked at: a batch without items takes the right, too.
            self.0.may_ask_somewhere(&presented, Right::BatchAuthorize, call.request_id()).await.map_err(failed)?;
            let convert::Batch { mut questions, refused } =
                convert::batch(request.into_inner(), call.request_id()).map_err(failed)?;
            for question in &mut questions {
                (question.presented, question.adapter) = (presented.clone(), adapter);
            }
            let answers = self.0.authorize_batch(questions, None).await.map_err(failed)?;
            Ok(pb::BatchAuthorizeResponse { results: in_order(refused, answers) })
        };
        call.answer(work).await
    }

    type SearchResourcesStream = Parts;

    async fn search_resources(&self, request: Request<pb::SearchResourcesRequest>) -> Result<Response<Parts>, Status> {
        let call = Call::of(&request);
        let (presented, adapter) = (presented(&request), adapter(&request));
        call.answer(search::answer(&self.0, request.into_inner(), &call, presented, adapter)).await
    }

    async fn get_token_info(
        &self,
        request: Request<pb::GetTokenInfoRequest>,
    ) -> Result<Response<pb::GetTokenInfoResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            let (realm, credentials) =
                convert::token_question(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let state = self.0.realm_of(&realm, &credentials).map_err(|error| status::of(&error, &realm))?;
            call.may(&self.0, &presented, state.name.as_str(), Right::GetTokenInfo).await?;
            let info = self.0.token_info(&realm, &credentials).await;
            info.map(convert::token_info).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }
}

/// The results of a batch: for each item why it could not be read, else the next answer.
fn in_order(refused: Vec<Option<Error>>, answers: Vec<Result<Answer, Error>>) -> Vec<pb::BatchAuthorizeResult> {
    let mut answers = answers.into_iter();
    let results = refused.into_iter().enumerate().map(|(index, refused)| {
        let result = match refused {
            Some(error) => Err(error),
            None => answers
                .next()
                .unwrap_or_else(|| Err(Error::new(Kind::Internal, "ANSWER_MISSING", "this item was not answered"))),
        };
        convert::item(
            result
                .map_err(|error| (status::code(error.kind).into(), convert::within(&format!("items[{index}]"), error))),
        )
    });
    results.collect()
}
