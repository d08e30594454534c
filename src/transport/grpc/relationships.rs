//! `hallpass.v1.RelationshipService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::{
    call::{Call, presented},
    convert::relationships::{self as convert, Records},
    status,
};
use crate::{
    app::{
        App,
        caller::{Presented, Right},
        error::Error,
    },
    proto::v1::{self as pb, relationship_service_server::RelationshipService},
};

/// Writes and reads relationships.
#[derive(Debug)]
pub(super) struct Relationships(pub(super) Arc<App>);

#[tonic::async_trait]
impl RelationshipService for Relationships {
    async fn write_relationships(
        &self,
        request: Request<pb::WriteRelationshipsRequest>,
    ) -> Result<Response<pb::WriteRelationshipsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::WriteRelationships).await?;
            let convert::Write { realm, creates, deletes, expected } =
                convert::write(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let revision = self.0.write_relationships(&realm, &creates, &deletes, expected).await;
            revision.map(convert::written).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn import_records(
        &self,
        request: Request<Streaming<pb::ImportRecordsRequest>>,
    ) -> Result<Response<pb::ImportRecordsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        call.answer(import(&self.0, request.into_inner(), &call, &presented)).await
    }

    async fn delete_records(
        &self,
        request: Request<pb::DeleteRecordsRequest>,
    ) -> Result<Response<pb::DeleteRecordsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::DeleteRecords).await?;
            let (Records { realm, resource, documents }, deletion) = convert::delete(request.into_inner());
            let summary = self.0.delete_records(&realm, &resource, &documents, deletion).await;
            summary.map(convert::deleted).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }

    async fn read_relationships(
        &self,
        request: Request<pb::ReadRelationshipsRequest>,
    ) -> Result<Response<pb::ReadRelationshipsResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::ReadRelationships).await?;
            let read = convert::read(request.into_inner()).map_err(|error| status::of(&error, ""))?;
            let (query, after) = (&read.query, read.after.as_ref());
            let page = self.0.read_relationships(&read.realm, query, after, read.size, read.as_of_us).await;
            page.map(|page| read.page(page)).map_err(|error| status::of(&error, &read.realm))
        };
        call.answer(work).await
    }

    async fn get_revision(
        &self,
        request: Request<pb::GetRevisionRequest>,
    ) -> Result<Response<pb::GetRevisionResponse>, Status> {
        let (call, presented) = (Call::of(&request), presented(&request));
        let work = async {
            call.may(&self.0, &presented, &request.get_ref().realm, Right::GetRevision).await?;
            let pb::GetRevisionRequest { realm } = request.into_inner();
            self.0.revision(&realm).map(convert::revision).map_err(|error| status::of(&error, &realm))
        };
        call.answer(work).await
    }
}

/// Takes in what the stream brings. What was kept before a failure stays: the same import again is harmless.
async fn import(
    app: &App,
    mut stream: Streaming<pb::ImportRecordsRequest>,
    call: &Call,
    presented: &Presented,
) -> Result<pb::ImportRecordsResponse, Status> {
    let first = next(&mut stream).await?.unwrap_or_default();
    let realm = first.realm.clone();
    let failed = |error: Error| status::of(&error, &realm);
    call.may(app, presented, &realm, Right::ImportRecords).await?;
    let mut import = app.import(&realm).map_err(failed)?;
    let mut part = Some(first);
    while let Some(Records { realm: _, resource, documents }) = part {
        import.push(&resource, &documents).await.map_err(failed)?;
        part = next(&mut stream).await?;
    }
    import.finish().await.map(convert::imported).map_err(failed)
}

async fn next(stream: &mut Streaming<pb::ImportRecordsRequest>) -> Result<Option<Records>, Status> {
    let message = stream.message().await?;
    message.map(convert::import).transpose().map_err(|error| status::of(&error, ""))
}
