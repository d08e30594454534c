//! gRPC: the services of `hallpass.v1`, health and reflection.
//!
//! Every call goes the same way: `convert` reads the message, a use case of [`App`] answers it, `convert` writes the
//! answer. A failure becomes a status in `status` and nowhere else.

mod applications;
mod authorization;
mod call;
mod convert;
mod decisions;
mod door;
mod health;
mod known;
mod page_token;
mod policies;
mod privacy;
mod relationships;
mod revocations;
mod search;
mod status;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use tonic::service::Routes;
use tonic_reflection::server::Builder;

pub(crate) use self::convert::authorization::answer as wire_answer;
use self::{
    applications::Applications, authorization::Authorization, decisions::DecisionLog, known::ForKnown,
    policies::Policies, privacy::Privacy, relationships::Relationships, revocations::Revocations, status::WithDetails,
    watches::Watches,
};
pub use self::{door::door, health::Health};
use crate::{
    app::App,
    proto::{
        FILE_DESCRIPTOR_SET,
        v1::{
            application_service_server::{self, ApplicationServiceServer},
            authorization_service_server::{self, AuthorizationServiceServer},
            decision_log_service_server::{self, DecisionLogServiceServer},
            policy_service_server::{self, PolicyServiceServer},
            privacy_service_server::{self, PrivacyServiceServer},
            relationship_service_server::{self, RelationshipServiceServer},
            revocation_service_server::{self, RevocationServiceServer},
        },
    },
};

/// The full names of our services.
pub const SERVICES: [&str; 7] = [
    authorization_service_server::SERVICE_NAME,
    relationship_service_server::SERVICE_NAME,
    decision_log_service_server::SERVICE_NAME,
    policy_service_server::SERVICE_NAME,
    application_service_server::SERVICE_NAME,
    revocation_service_server::SERVICE_NAME,
    privacy_service_server::SERVICE_NAME,
];

/// A service that is none of ours and answers on the same listener: health and reflection speak of it as of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its full name.
    pub name: &'static str,
    /// A `FileDescriptorSet` with its file and all that this imports, as bytes.
    pub descriptors: &'static [u8],
}

/// What a deployment may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest message that is taken, in bytes, of any service of ours.
    pub message_bytes_max: usize,
    /// The services are described to whoever asks.
    pub reflection: bool,
    /// The services that are added to these routes.
    pub beside: &'static [Beside],
}

impl Default for Options {
    fn default() -> Self {
        Self { message_bytes_max: 8 * 1024 * 1024, reflection: true, beside: &[] }
    }
}

/// All services of `hallpass.v1`, health (`grpc.health.v1`) and reflection (`grpc.reflection` v1 and v1alpha).
///
/// Health is kept up to date by a task of the present tokio runtime, until the handle is dropped or drained.
///
/// # Errors
/// When the descriptors that were compiled in cannot be read.
pub async fn routes(app: Arc<App>, options: &Options) -> Result<(Routes, Health), tonic_reflection::server::Error> {
    let max = options.message_bytes_max;
    let authorization = AuthorizationServiceServer::new(Authorization(Arc::clone(&app)));
    let relationships = RelationshipServiceServer::new(Relationships(Arc::clone(&app)));
    let decisions = DecisionLogServiceServer::new(DecisionLog(Arc::clone(&app)));
    let policies = PolicyServiceServer::new(Policies(Arc::clone(&app)));
    let applications = ApplicationServiceServer::new(Applications(Arc::clone(&app)));
    let revocations = RevocationServiceServer::new(Revocations(Arc::clone(&app)));
    let privacy = PrivacyServiceServer::new(Privacy(Arc::clone(&app)));
    let reflection = || {
        let sets = [FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET].into_iter();
        let sets = sets.chain(options.beside.iter().map(|service| service.descriptors));
        sets.fold(Builder::configure(), Builder::register_encoded_file_descriptor_set)
    };
    let (health, health_service) = Health::start(Arc::clone(&app), options.beside).await;
    let routes = Routes::default()
        .add_service(WithDetails(ForKnown(Arc::clone(&app), authorization.max_decoding_message_size(max))))
        .add_service(WithDetails(ForKnown(Arc::clone(&app), relationships.max_decoding_message_size(max))))
        .add_service(WithDetails(decisions.max_decoding_message_size(max)))
        .add_service(WithDetails(policies.max_decoding_message_size(max)))
        .add_service(WithDetails(ForKnown(Arc::clone(&app), applications.max_decoding_message_size(max))))
        .add_service(WithDetails(ForKnown(Arc::clone(&app), revocations.max_decoding_message_size(max))))
        .add_service(WithDetails(privacy.max_decoding_message_size(max)))
        .add_service(Watches::of(health_service));
    let routes = if options.reflection {
        routes.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?)
    } else {
        routes
    };
    Ok((routes.prepare(), health))
}
