//! How gRPC requests are let in, and what those hear that are not.

use std::sync::LazyLock;

use axum::body::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use tonic::body::Body;

use super::status;
use crate::transport::layer::{
    admission::{Door, Entry, Shed, TurnedAway},
    deadline::{self, Ceiling},
};

/// The methods whose messages come one after the other.
const STREAMED: [&str; 1] = ["/hallpass.v1.RelationshipService/ImportRecords"];

/// The services whose messages are gathered before there is work to do; others keep their way.
const GATHERED: [&str; 2] = ["/hallpass.v1.", "/envoy.service.auth.v3."];

/// What comes before a message (gRPC over HTTP/2, "Length-Prefixed-Message"), in bytes.
const PREFIX_BYTES: usize = 5;

/// The way in for gRPC.
pub fn door(message_bytes_max: usize) -> Door<Body, Body> {
    Door {
        listener: "grpc",
        entry,
        ceiling,
        deadline_in: |request| deadline::given(request.headers()),
        message_bytes_max: message_bytes_max.saturating_add(PREFIX_BYTES),
        body,
        refuse,
    }
}

fn entry(path: &str) -> Entry {
    if path.starts_with("/grpc.health.v1.Health/") {
        return Entry::Free;
    }
    let is_gathered = GATHERED.iter().any(|service| path.starts_with(service)) && !STREAMED.contains(&path);
    if is_gathered { Entry::Whole } else { Entry::Stream }
}

fn ceiling(path: &str) -> Ceiling {
    match path {
        "/hallpass.v1.AuthorizationService/Authorize" | "/envoy.service.auth.v3.Authorization/Check" => Ceiling::Check,
        "/hallpass.v1.AuthorizationService/BatchAuthorize" | "/hallpass.v1.AuthorizationService/GetTokenInfo" => {
            Ceiling::Batch
        }
        _ => Ceiling::Own,
    }
}

fn body(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes))
}

/// What those hear that are too many. It is made once, because it is said most often when there is least time.
static OVERLOADED: LazyLock<HeaderMap> =
    LazyLock::new(|| status::shed(Shed::QueueFull).into_http::<Body>().into_parts().0.headers);

fn refuse(turned_away: &TurnedAway) -> Response<Body> {
    match turned_away.why {
        Shed::QueueFull | Shed::Waited | Shed::Late | Shed::BytesFull => {
            let mut response = Response::new(Body::empty());
            response.headers_mut().clone_from(&OVERLOADED);
            response
        }
        why @ (Shed::TooSlow | Shed::Broken | Shed::Overdue) => status::shed(why).into_http(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn what_is_let_in_one_by_one_are_the_methods_of_the_contract_that_say_so() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let mut streamed = Vec::new();
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    if method.client_streaming() && file.package() == "hallpass.v1" {
                        streamed.push(path);
                    }
                }
            }
        }
        assert_eq!(streamed, STREAMED);
    }

    #[test]
    fn what_decides_has_a_ceiling_and_what_runs_long_has_rules_of_its_own() {
        for (path, expected) in [
            ("/hallpass.v1.AuthorizationService/Authorize", Ceiling::Check),
            ("/envoy.service.auth.v3.Authorization/Check", Ceiling::Check),
            ("/hallpass.v1.AuthorizationService/BatchAuthorize", Ceiling::Batch),
            ("/hallpass.v1.AuthorizationService/GetTokenInfo", Ceiling::Batch),
            ("/hallpass.v1.AuthorizationService/SearchResources", Ceiling::Own),
            ("/hallpass.v1.RelationshipService/ImportRecords", Ceiling::Own),
            ("/hallpass.v1.DecisionLogService/TailDecisions", Ceiling::Own),
            ("/nothing", Ceiling::Own),
        ] {
            assert_eq!(ceiling(path), expected, "{path}");
        }
    }

    #[test]
    fn health_needs_no_place_and_what_is_not_ours_keeps_none() {
        for (path, expected) in [
            ("/grpc.health.v1.Health/Check", Entry::Free),
            ("/grpc.health.v1.Health/Watch", Entry::Free),
            ("/grpc.health.v1.Healthy/Check", Entry::Stream),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Entry::Stream),
            ("/hallpass.v1.RelationshipService/ImportRecords", Entry::Stream),
            ("/hallpass.v1.AuthorizationService/Authorize", Entry::Whole),
            ("/envoy.service.auth.v3.Authorization/Check", Entry::Whole),
            ("/nothing", Entry::Stream),
        ] {
            assert_eq!(entry(path), expected, "{path}");
        }
    }
}
