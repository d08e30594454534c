//! `hallpass search`: the resources that a token may act on.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};

use super::{
    Outcome,
    authorize::show_reasons,
    credentials::{CredentialArguments, Credentials},
    json,
    parse::{Named, entity, wire_values},
    render::{Form, Screen, Tone, counted, plain},
    target::{MESSAGE_BYTES_MAX, Target, failed},
};
use crate::{
    config::Environment,
    proto::v1::{
        AuthorizeResponse, Decision, EntityReference, FoundResource, Resource, SearchEnd, SearchResourcesRequest,
        authorization_service_client::AuthorizationServiceClient, search_resources_response::Part,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credentials: CredentialArguments,
    /// The realm's name of the action
    #[arg(long, value_name = "NAME", default_value = "Read")]
    action: String,
    /// The resource type, for example ed-fi/students
    #[arg(long, value_name = "TYPE", visible_alias = "resource-type")]
    resource: String,
    /// Only resources within this entity, for example EducationOrganization:255901001
    #[arg(long, value_name = "TYPE:ID", value_parser = entity)]
    within: Option<EntityReference>,
    /// A file of resources to choose from, one JSON object a line: {"id": …, "attributes": {…}}; - is standard input
    #[arg(long, value_name = "FILE")]
    candidates: Option<PathBuf>,
    /// A fact about the request that the realm's schema declares; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<Named>,
    /// Search relationships at least this fresh
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    at_least_revision: u64,
    /// At most this many resources [default: all]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    page_size: u32,
    /// Go on where a page ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Only ask whether the token may search, and under which row filter
    #[arg(long)]
    filter_only: bool,
    /// An id of your own for this request, kept in the decision log
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Why the data is asked for, kept in the decision log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    purpose: String,
    /// The media type of the request, as its Accept header has it
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    media_type: String,
    /// An obligation that you can fulfil, by its name; repeatable
    #[arg(long, value_name = "ID")]
    supports: Vec<String>,
    /// How to show the answer
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// An answer, all its parts together.
#[derive(Debug, Default)]
struct Whole {
    answer: AuthorizeResponse,
    found: Vec<FoundResource>,
    end: SearchEnd,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, credentials, action, resource, within, candidates, context, output, .. } = arguments;
    let Credentials { token, scheme, query_token, proof } = credentials.read()?;
    let has_candidates = candidates.is_some();
    let mut request = SearchResourcesRequest {
        realm: String::new(),
        token,
        token_scheme: scheme,
        action,
        resource_type: resource,
        candidates: candidates.map(|file| read_candidates(&file)).transpose()?.unwrap_or_default(),
        has_candidates,
        within,
        context: wire_values(context)?,
        at_least_revision: arguments.at_least_revision,
        page_size: arguments.page_size,
        page_token: arguments.page_token,
        request_id: arguments.request_id,
        filter_only: arguments.filter_only,
        media_type: arguments.media_type,
        supported_obligations: arguments.supports,
        query_token,
        proof,
        purpose: arguments.purpose,
    };
    let channel = target.connect(environment).await?;
    request.realm = target.realm_or_empty(&channel).await?;
    let mut client = AuthorizationServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut parts = client.search_resources(request).await.map_err(|status| failed(&status))?.into_inner();
    let mut whole = Whole::default();
    let mut has_ended = false;
    while let Some(part) = parts.message().await.map_err(|status| failed(&status))? {
        match part.part {
            Some(Part::Answer(answer)) => whole.answer = answer,
            Some(Part::Found(found)) => whole.found.extend(found.resources),
            Some(Part::End(end)) => (whole.end, has_ended) = (end, true),
            None => {}
        }
    }
    if !has_ended {
        bail!("the answer broke off before its end; try again");
    }
    match output {
        Form::Json => screen.json(&whole.as_json())?,
        Form::Text => whole.show(screen)?,
    }
    Ok(Outcome::of(whole.answer.decision() != Decision::Allow))
}

/// Reads resources, one JSON object a line.
fn read_candidates(file: &Path) -> Result<Vec<Resource>> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        io::stdin().read_to_string(&mut text).context("no candidates could be read from standard input")?;
    } else {
        text = fs::read_to_string(file)
            .with_context(|| format!("no candidates could be read from `{}`", file.display()))?;
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| candidate(line).with_context(|| format!("line {} is no candidate", at + 1))).collect()
}

fn candidate(line: &str) -> Result<Resource> {
    const EXPECTED: &str = "expected {\"id\": text, \"attributes\": {…}}";
    let mut fields: serde_json::Map<String, Json> = serde_json::from_str(line).context(EXPECTED)?;
    let id = match fields.remove("id") {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(id)) => id,
        Some(Json::Number(id)) => id.to_string(),
        Some(_) => bail!("`id` is neither a text nor a number, {EXPECTED}"),
    };
    let attributes = match fields.remove("attributes") {
        None | Some(Json::Null) => HashMap::new(),
        Some(Json::Object(values)) => {
            wire_values(values.into_iter().map(|(name, value)| Named { name, value }).collect())?
        }
        Some(_) => bail!("`attributes` is no object, {EXPECTED}"),
    };
    if let Some(other) = fields.keys().next() {
        bail!("unknown field `{other}`, {EXPECTED}");
    }
    Ok(Resource { id, attributes, has_attributes: true, ..Resource::default() })
}

impl Whole {
    fn as_json(&self) -> Json {
        let Self { answer, found, end: SearchEnd { next_page_token, complete } } = self;
        let resource = |FoundResource { id, candidate }: &FoundResource| json!({ "id": id, "candidate": candidate });
        json!({
            "answer": json::answer(answer),
            "resources": found.iter().map(resource).collect::<Vec<_>>(),
            "next_page_token": next_page_token,
            "complete": complete,
        })
    }

    fn show(&self, screen: &mut Screen) -> io::Result<()> {
        let Self { answer, found, end } = self;
        let is_allowed = answer.decision() == Decision::Allow;
        let tone = if is_allowed { Tone::Good } else { Tone::Bad };
        let effect = screen.toned(tone, json::effect(answer.decision));
        screen.line(format_args!("{effect} ({})", json::outcome(answer.outcome)))?;
        show_reasons(&answer.reasons, screen)?;
        for obligation in &answer.obligations {
            screen.line(format_args!("obligation {}", plain(&json::obligation(obligation).to_string())))?;
        }
        for FoundResource { id, candidate } in found {
            let shown = if id.is_empty() { format!("candidate {candidate}") } else { plain(id) };
            screen.line(shown)?;
        }
        let count = counted(found.len() as u64, "resource", "resources");
        let more = if end.complete { "" } else { ", and perhaps others that the service does not know" };
        let version: String = answer.policy_version.chars().take(12).collect();
        let origin = format!(
            "{count}{more}; decision {}, policies {version}…, relationships at {}",
            answer.decision_id, answer.data_revision
        );
        screen.line(screen.toned(Tone::Faint, &origin))?;
        if !end.next_page_token.is_empty() {
            screen.line(format_args!("more with --page-token {}", end.next_page_token))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_an_id_and_its_values() {
        let read = candidate(r#"{"id":7,"attributes":{"schoolReference":{"schoolId":1}}}"#).unwrap();
        assert_eq!((&*read.id, read.attributes.len(), read.has_attributes), ("7", 1, true));
        assert!(candidate("{}").unwrap().attributes.is_empty());
        for line in ["[]", "x", r#"{"id":[]}"#, r#"{"attributes":1}"#, r#"{"name":"a"}"#] {
            assert!(candidate(line).is_err(), "{line}");
        }
    }
}
