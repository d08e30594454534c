//! Which decisions a verb is about: the conditions that all verbs over the log share.

use clap::ValueEnum;
use prost_types::Timestamp;

use crate::{
    cli::parse,
    proto::v1::{self, EntityReference, QueryDecisionsRequest},
};

/// Conditions; every one that is given must hold.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filters {
    /// At or after this time: 2026-08-04, 2026-08-04T10:30:00Z, or how long ago: 2h
    #[arg(long, value_name = "TIME", value_parser = parse::moment)]
    from: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = parse::moment)]
    until: Option<Timestamp>,
    /// The principal's id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    principal: String,
    /// A person the decision was about, by type and plain id: Student:604822
    #[arg(long, value_name = "TYPE:ID", value_parser = parse::entity)]
    person: Option<EntityReference>,
    /// An organization or other entity it was about, or that the token names
    #[arg(long, value_name = "TYPE:ID", value_parser = parse::entity)]
    entity: Option<EntityReference>,
    /// The resource type
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true, visible_alias = "resource-type")]
    resource: String,
    /// The resource's id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, visible_alias = "resource-id")]
    id: String,
    /// The action
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    action: String,
    /// What was decided
    #[arg(long, value_name = "DECISION", value_enum)]
    decision: Option<Effect>,
    /// How it came about
    #[arg(long, value_name = "OUTCOME", value_enum)]
    outcome: Option<How>,
    /// A reason code
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    reason: String,
    /// A policy that determined it
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    policy: String,
    /// The caller's request id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// The client that the token was issued to
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    client: String,
    /// Who acted for the principal, as the token says
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    actor: String,
    /// Decisions about requests, or readings of the log [default: both]
    #[arg(long, value_name = "KIND", value_enum)]
    kind: Option<Kind>,
    /// Show people by their plain ids where they are still known; takes the right to, and a purpose
    #[arg(long)]
    names: bool,
    /// Why it is asked; the log keeps it with the question
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Allowed,
    NotPermitted,
    Forbidden,
    Indeterminate,
    Unauthenticated,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Decision,
    Reading,
}

impl Filters {
    /// The conditions as the wire has them, without order and page.
    pub(super) fn request(self, realm: String) -> QueryDecisionsRequest {
        let decision = self.decision.map_or(v1::Decision::Unspecified, |effect| match effect {
            Effect::Allow => v1::Decision::Allow,
            Effect::Deny => v1::Decision::Deny,
        });
        let outcome = self.outcome.map_or(v1::Outcome::Unspecified, |how| match how {
            How::Allowed => v1::Outcome::Allowed,
            How::NotPermitted => v1::Outcome::NotPermitted,
            How::Forbidden => v1::Outcome::Forbidden,
            How::Indeterminate => v1::Outcome::Indeterminate,
            How::Unauthenticated => v1::Outcome::Unauthenticated,
        });
        let kind = self.kind.map_or(v1::RecordKind::Unspecified, |kind| match kind {
            Kind::Decision => v1::RecordKind::Decision,
            Kind::Reading => v1::RecordKind::Reading,
        });
        QueryDecisionsRequest {
            realm,
            from: self.from,
            until: self.until,
            principal: self.principal,
            person: self.person,
            entity: self.entity,
            resource_type: self.resource,
            resource_id: self.id,
            action: self.action,
            decision: decision.into(),
            outcome: outcome.into(),
            reason: self.reason,
            policy: self.policy,
            request_id: self.request_id,
            client: self.client,
            actor: self.actor,
            kind: kind.into(),
            names: self.names,
            purpose: self.purpose,
            ..QueryDecisionsRequest::default()
        }
    }
}
