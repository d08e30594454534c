//! `hallpass revocations`: tokens that no longer count although they have not expired.

use anyhow::{Context as _, Result};
use prost_types::Timestamp;

use super::{
    Outcome, json,
    parse::{self, time},
    render::{Form, Screen, plain},
    target::{MESSAGE_BYTES_MAX, PolicyChannel, Target, failed},
};
use crate::{
    app::ports::Clock as _,
    config::Environment,
    proto::v1::{
        ListRevocationsRequest, ReinstateRequest, Revocation, RevokeRequest, RevokedTokens,
        revocation_service_client::RevocationServiceClient, revoked_tokens::Tokens,
    },
    provider::clock::SystemClock,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Revokes a token, or the tokens of a subject or a client that were issued before a time
    Add(Add),
    /// Lists the revocations that count
    List(List),
    /// Takes a revocation back
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    tokens: TokensArguments,
    /// Of a subject or client: tokens issued before this time, 2027-08-01T00:00:00Z or how long ago, such as 2h
    /// [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with = "token_id")]
    issued_before: Option<Timestamp>,
    /// Forget the revocation then, because every token that it is about has expired [default: keep it]
    #[arg(long, value_name = "TIME", value_parser = time)]
    forget_at: Option<Timestamp>,
    /// Forget the revocation after so long: 90s, 30m, 8h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse::duration, conflicts_with = "forget_at")]
    forget_in: Option<std::time::Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// Only those of this issuer, as its tokens' `iss` has it
    #[arg(long, value_name = "ISSUER", default_value = "", hide_default_value = true)]
    issuer: String,
    /// How to show them
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    tokens: TokensArguments,
}

/// Which tokens.
#[derive(Debug, clap::Args)]
pub(super) struct TokensArguments {
    /// The issuer of the tokens, as their `iss` has it
    #[arg(long, value_name = "ISSUER")]
    issuer: String,
    #[command(flatten)]
    which: WhichArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhichArguments {
    /// The `jti` of one token
    #[arg(long, value_name = "ID")]
    token_id: Option<String>,
    /// The `sub` of the tokens
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// The `client_id` of the tokens, or their `azp`
    #[arg(long, value_name = "ID")]
    client: Option<String>,
}

impl TokensArguments {
    fn on_the_wire(self) -> RevokedTokens {
        let Self { issuer, which: WhichArguments { token_id, subject, client } } = self;
        let of_many = subject.map(Tokens::Subject).or(client.map(Tokens::Client));
        RevokedTokens { issuer, tokens: token_id.map(Tokens::TokenId).or(of_many) }
    }
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Add(arguments) => add(arguments, environment, screen).await,
        Verb::List(arguments) => list(arguments, environment, screen).await,
        Verb::Remove(arguments) => remove(arguments, environment, screen).await,
    }
}

/// The service's client, and the realm.
async fn connect(
    target: &Target,
    environment: &Environment,
) -> Result<(RevocationServiceClient<PolicyChannel>, String)> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    Ok((RevocationServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX), realm))
}

async fn add(arguments: Add, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Add { target, tokens, issued_before, forget_at, forget_in } = arguments;
    let later = |span: std::time::Duration| SystemClock.now_seconds().saturating_add_unsigned(span.as_secs());
    let forget_at = forget_at.or_else(|| forget_in.map(|span| Timestamp { seconds: later(span), nanos: 0 }));
    let (mut client, realm) = connect(&target, environment).await?;
    let revocation = Revocation { tokens: Some(tokens.on_the_wire()), issued_before, forget_at, revoked_at: None };
    let request = RevokeRequest { realm, revocation: Some(revocation) };
    let done = client.revoke(request).await.map_err(|status| failed(&status))?.into_inner();
    let kept = done.revocation.context("the service's answer holds no revocation")?;
    screen.line(format_args!("revoked {}", plain(&told(&kept).join(", "))))?;
    Ok(Outcome::Fine)
}

async fn list(arguments: List, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let List { target, issuer, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let mut request = ListRevocationsRequest { realm, issuer, page_size: 1_000, page_token: String::new() };
    let mut rows = Vec::new();
    loop {
        let page = client.list_revocations(request.clone()).await.map_err(|status| failed(&status))?.into_inner();
        for revocation in &page.revocations {
            match output {
                Form::Json => screen.line(json::revocation(revocation))?,
                Form::Text => rows.push(row(revocation)),
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if output == Form::Text {
        screen.table(&["ISSUER", "KIND", "ID", "ISSUED BEFORE", "FORGOTTEN AT"], &rows)?;
    }
    Ok(Outcome::Fine)
}

async fn remove(arguments: Remove, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Remove { target, tokens } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let request = ReinstateRequest { realm, tokens: Some(tokens.on_the_wire()) };
    let is_found = client.reinstate(request).await.map_err(|status| failed(&status))?.into_inner().reinstated;
    screen.line(if is_found { "reinstated" } else { "no such revocation" })?;
    Ok(Outcome::of(!is_found))
}

/// The issuer, what sort of id it is, and the id.
pub(super) fn names(revocation: &Revocation) -> (&str, &'static str, &str) {
    let tokens = revocation.tokens.as_ref();
    let (kind, id) = match tokens.and_then(|tokens| tokens.tokens.as_ref()) {
        Some(Tokens::TokenId(id)) => ("token", &**id),
        Some(Tokens::Subject(id)) => ("subject", &**id),
        Some(Tokens::Client(id)) => ("client", &**id),
        None => ("unknown", ""),
    };
    (tokens.map_or("", |tokens| &*tokens.issuer), kind, id)
}

fn row(revocation: &Revocation) -> Vec<String> {
    let (issuer, kind, id) = names(revocation);
    let at = |at: &Option<Timestamp>, none: &str| at.as_ref().map_or_else(|| none.to_owned(), ToString::to_string);
    let before = at(&revocation.issued_before, "any time");
    vec![issuer.to_owned(), kind.to_owned(), id.to_owned(), before, at(&revocation.forget_at, "never")]
}

/// A revocation in words.
fn told(revocation: &Revocation) -> Vec<String> {
    let (issuer, kind, id) = names(revocation);
    let before = revocation.issued_before.as_ref().map(|at| format!("issued before {at}"));
    let until = revocation.forget_at.as_ref().map(|at| format!("until {at}"));
    [format!("{kind} {id} of {issuer}")].into_iter().chain(before).chain(until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_told_in_words() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let tokens = RevokedTokens { issuer: "https://i".into(), tokens: Some(Tokens::Subject("s".into())) };
        let full = Revocation { tokens: Some(tokens), issued_before: at(0), forget_at: at(60), revoked_at: None };
        let told = told(&full).join(", ");
        assert_eq!(told, "subject s of https://i, issued before 1970-01-01T00:00:00Z, until 1970-01-01T00:01:00Z");
        let row = row(&Revocation::default());
        assert_eq!(row, ["", "unknown", "", "any time", "never"]);
    }
}
