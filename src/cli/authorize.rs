//! `hallpass authorize`: one question to a running service.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    Outcome,
    credentials::{CredentialArguments, Credentials},
    json,
    parse::{Named, wire_values},
    render::{Form, Screen, Tone, plain},
    target::{Target, failed},
};
use crate::{
    config::Environment,
    proto::v1::{
        AuthorizeRequest, AuthorizeResponse, Decision, ExplainLevel, Reason, Resource,
        authorization_service_client::AuthorizationServiceClient,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    question: QuestionArguments,
    /// How to show the answer
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// A question, and the service that it goes to.
#[derive(Debug, clap::Args)]
pub(super) struct QuestionArguments {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    credentials: CredentialArguments,
    /// The realm's name of the action, for example Read
    #[arg(long, value_name = "NAME")]
    action: String,
    /// The resource type, for example ed-fi/students
    #[arg(long, value_name = "TYPE", visible_alias = "resource-type")]
    resource: String,
    /// The resource's id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, visible_alias = "resource-id")]
    id: String,
    /// A stored value: name=text or name:=json; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<Named>,
    /// A value of the request body, for a create or an update; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    proposed: Vec<Named>,
    /// A fact about the request that the realm's schema declares; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<Named>,
    /// Decide on relationships at least this fresh
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    at_least_revision: u64,
    /// An id of your own for this request, kept in the decision log
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Why the data is asked for, kept in the decision log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
    /// The media type of the request, as its Accept or Content-Type header has it
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    media_type: String,
    /// An obligation that you can fulfil, by its name; repeatable
    #[arg(long, value_name = "ID")]
    supports: Vec<String>,
}

/// A token from a file; `-` is standard input.
pub(super) fn read_token(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        io::stdin().read_to_string(&mut text).context("no token could be read from standard input")?;
    } else {
        text = fs::read_to_string(file).with_context(|| format!("no token could be read from `{}`", file.display()))?;
    }
    Ok(text.trim().to_owned())
}

impl QuestionArguments {
    /// The service that the question goes to, and the question. The realm is still to be found out.
    pub(super) fn read(self) -> Result<(Target, AuthorizeRequest)> {
        let Self { target, credentials, action, resource, id, .. } = self;
        let Credentials { token, scheme, query_token, proof } = credentials.read()?;
        let (has_attributes, has_proposed) = (!self.attribute.is_empty(), !self.proposed.is_empty());
        let request = AuthorizeRequest {
            realm: String::new(),
            token,
            token_scheme: scheme,
            action,
            resource: Some(Resource {
                r#type: resource,
                id,
                attributes: wire_values(self.attribute)?,
                proposed: wire_values(self.proposed)?,
                has_proposed,
                has_attributes,
            }),
            context: wire_values(self.context)?,
            at_least_revision: self.at_least_revision,
            request_id: self.request_id,
            media_type: self.media_type,
            supported_obligations: self.supports,
            query_token,
            proof,
            purpose: self.purpose,
            explain: ExplainLevel::Unspecified.into(),
        };
        Ok((target, request))
    }
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let (target, mut request) = arguments.question.read()?;
    let channel = target.connect(environment).await?;
    request.realm = target.realm_or_empty(&channel).await?;
    let mut client = AuthorizationServiceClient::new(channel);
    let answer = client.authorize(request).await.map_err(|status| failed(&status))?.into_inner();
    match arguments.output {
        Form::Json => screen.json(&json::answer(&answer))?,
        Form::Text => show(&answer, screen)?,
    }
    Ok(Outcome::of(answer.decision() != Decision::Allow))
}

fn show(answer: &AuthorizeResponse, screen: &mut Screen) -> io::Result<()> {
    let tone = if answer.decision() == Decision::Allow { Tone::Good } else { Tone::Bad };
    let effect = screen.toned(tone, json::effect(answer.decision));
    screen.line(format_args!("{effect} ({})", json::outcome(answer.outcome)))?;
    show_reasons(&answer.reasons, screen)?;
    if let Some(denial) = &answer.denial {
        screen.line(format_args!("for the client: {} {} {}", denial.status, denial.r#type, plain(&denial.title)))?;
        for text in std::iter::once(&denial.detail).chain(&denial.errors).filter(|text| !text.is_empty()) {
            screen.line(format_args!("  {}", plain(text)))?;
        }
        let mut headers: Vec<_> = denial.headers.iter().collect();
        headers.sort();
        for (name, value) in headers {
            screen.line(format_args!("  header {}: {}", plain(name), plain(value)))?;
        }
        if !denial.members.is_empty() {
            screen.line(format_args!("  members {}", plain(&json::values(&denial.members).to_string())))?;
        }
    }
    let version: String = answer.policy_version.chars().take(12).collect();
    let origin =
        format!("decision {}, policies {version}…, relationships at {}", answer.decision_id, answer.data_revision);
    screen.line(screen.toned(Tone::Faint, &origin))
}

/// Shows reasons, the most important first.
pub(super) fn show_reasons(reasons: &[Reason], screen: &mut Screen) -> io::Result<()> {
    for reason in reasons {
        let policy =
            if reason.policy_id.is_empty() { String::new() } else { format!(" [policy {}]", reason.policy_id) };
        screen.line(format_args!("{}: {}{policy}", reason.code, plain(&reason.message)))?;
        if !reason.subjects.is_empty() {
            screen.line(format_args!("  values looked at: {}", plain(&reason.subjects.join(", "))))?;
        }
        for hint in &reason.hints {
            screen.line(format_args!("  hint: {}", plain(hint)))?;
        }
    }
    Ok(())
}
