//! The services over loopback, as their generated clients see them.

mod applications;
mod authorization;
mod callers;
mod credentials;
mod decisions;
mod explain;
mod policies;
mod privacy;
mod proofs;
mod relationships;
mod revocations;
mod search;
mod shadow;
mod world;

use std::sync::atomic::Ordering;

use prost_types::Timestamp;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use self::world::World;
use super::{Options, SERVICES};
use crate::proto::v1::{
    self as pb, application_service_client::ApplicationServiceClient,
    authorization_service_client::AuthorizationServiceClient, policy_service_client::PolicyServiceClient,
    relationship_service_client::RelationshipServiceClient, revocation_service_client::RevocationServiceClient,
};

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "hallpass");
    info.reason
}

fn violations(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let mut fields: Vec<_> = fields.into_iter().map(|violation| violation.field).collect();
    fields.sort();
    fields
}

async fn authorize(world: &World, question: pb::AuthorizeRequest) -> Result<pb::AuthorizeResponse, Status> {
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    client.authorize(question).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn an_unknown_realm_is_not_found_in_every_service() {
    let world = World::start().await;
    let realm = || "south".to_owned();
    let question = pb::AuthorizeRequest { realm: realm(), ..world.question("ada", "1") };
    let statuses = [
        authorize(&world, question).await.unwrap_err(),
        AuthorizationServiceClient::new(world.channel.clone())
            .get_token_info(pb::GetTokenInfoRequest { realm: realm(), token: String::new(), ..Default::default() })
            .await
            .unwrap_err(),
        RelationshipServiceClient::new(world.channel.clone())
            .get_revision(pb::GetRevisionRequest { realm: realm() })
            .await
            .unwrap_err(),
        RelationshipServiceClient::new(world.channel.clone())
            .import_records(tokio_stream::once(pb::ImportRecordsRequest {
                realm: realm(),
                ..pb::ImportRecordsRequest::default()
            }))
            .await
            .unwrap_err(),
        world
            .decisions()
            .query_decisions(pb::QueryDecisionsRequest { realm: realm(), ..pb::QueryDecisionsRequest::default() })
            .await
            .unwrap_err(),
        ApplicationServiceClient::new(world.channel.clone())
            .list_applications(pb::ListApplicationsRequest { realm: realm(), ..Default::default() })
            .await
            .unwrap_err(),
        RevocationServiceClient::new(world.channel.clone())
            .list_revocations(pb::ListRevocationsRequest { realm: realm(), ..Default::default() })
            .await
            .unwrap_err(),
        PolicyServiceClient::new(world.channel.clone())
            .get_realm(pb::GetRealmRequest { realm: realm() })
            .await
            .unwrap_err(),
    ];
    for status in statuses {
        assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "REALM_UNKNOWN"));
        assert_eq!(status.message(), "there is no such realm, expected one of north");
    }
}

#[tokio::test]
async fn health_follows_the_log_and_says_when_the_service_drains() {
    let world = World::start().await;
    let mut client = HealthClient::new(world.channel.clone());
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in SERVICES.into_iter().chain([""]) {
        let health = client.check(request(service)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(client.check(request("other")).await.unwrap_err().code(), Code::NotFound);

    let mut seen = client.watch(request(SERVICES[0])).await.unwrap().into_inner();
    let mut next = async || seen.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    world.log.is_full.store(true, Ordering::Relaxed);
    assert_eq!(next().await, ServingStatus::NotServing);
    world.log.is_full.store(false, Ordering::Relaxed);
    assert_eq!(next().await, ServingStatus::Serving);
    world.health.drain().await;
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(client.check(request("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn a_service_is_ready_when_keys_were_asked_for_and_until_it_drains() {
    use crate::app::readiness::Unready;

    let world = World::start().await;
    let mut client = HealthClient::new(world.channel.clone());
    let request = HealthCheckRequest { service: String::new() };
    let mut seen = client.watch(request).await.unwrap().into_inner();
    let mut next = async || seen.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    assert_eq!(world.app.unready(), []);
    world.app.await_keys();
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(world.app.unready(), [Unready::KeysNotTried]);
    world.app.keys_tried();
    assert_eq!(next().await, ServingStatus::Serving);
    world.app.begin_to_drain();
    assert_eq!(next().await, ServingStatus::NotServing);
    world.log.is_full.store(true, Ordering::Relaxed);
    assert_eq!(world.app.unready(), [Unready::Draining, Unready::LogNotWritable]);
    assert!(world.app.unready().iter().all(|unready| unready.is_in_the_way()));
}

#[tokio::test]
async fn reflection_is_there_only_where_it_is_asked_for() {
    use tonic_reflection::pb::v1;

    let world = World::start_with(Options { reflection: false, ..Options::default() }).await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let request = v1::ServerReflectionRequest::default();
    let refused = client.server_reflection_info(tokio_stream::once(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn reflection_lists_our_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};

    let world = World::start().await;
    let expected = |listed: Vec<String>| {
        let ours = SERVICES.into_iter().chain(["grpc.health.v1.Health"]);
        for service in ours {
            assert!(listed.iter().any(|name| name == service), "{service} not in {listed:?}");
        }
    };
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response.unwrap() {
        v1::server_reflection_response::MessageResponse::ListServicesResponse(listed) => {
            expected(listed.service.into_iter().map(|service| service.name).collect());
        }
        other => panic!("{other:?}"),
    }
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response.unwrap() {
        v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed) => {
            expected(listed.service.into_iter().map(|service| service.name).collect());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_grpc_library_refuses_has_details_too() {
    let world = World::start_with(Options { message_bytes_max: 1_000, ..Options::default() }).await;
    let question = pb::AuthorizeRequest { token: "x".repeat(1_000), ..world.question("ada", "1") };
    let status = authorize(&world, question).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "MESSAGE_TOO_LONG"));

    // `seconds` has the number of `realm`, which is a text.
    let mut grpc = tonic::client::Grpc::new(world.channel.clone());
    for (path, code, expected) in [
        ("/hallpass.v1.AuthorizationService/Authorize", Code::InvalidArgument, "MESSAGE_MALFORMED"),
        ("/hallpass.v1.AuthorizationService/Decide", Code::Unimplemented, "NOT_IMPLEMENTED"),
    ] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Timestamp, pb::AuthorizeResponse>::default();
        let request = Request::new(Timestamp { seconds: 1, nanos: 1 });
        let status = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (code, expected));
    }
}
