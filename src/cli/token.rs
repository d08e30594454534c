//! `hallpass token`: tokens to try things out with, and what a token says.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost_types::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::{
    Outcome,
    authorize::read_token,
    check, parse,
    render::{Screen, Tone, note, plain},
};
use crate::{
    app::ports::{Clock, KeySource as _},
    config::{Config, Environment, Flags, RealmConfig},
    domain::{principal::Principal, realm::Realm, token, token_error::TokenError},
    provider::{clock::SystemClock, jwks::Jwks, signer::LocalKey},
    server::RealmKeys,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Signs a token with a key of your own and prints it
    Issue(Issue),
    /// Shows what a token says, and with --config whether and why it is good
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
pub(super) struct Issue {
    /// The private key; made when missing, with its public half beside it as .jwks.json
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who issues the token (iss)
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// A claim: name=text or name:=json; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<parse::Named>,
    /// How long the token is good: 90s, 30m, 8h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30m")]
    expires_in: Duration,
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The token; - is standard input
    #[arg(value_name = "TOKEN", required_unless_present = "token_file", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Verify it as a service with this configuration would
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Issue(arguments) => issue(arguments, screen),
        Verb::Inspect(arguments) => inspect(arguments, environment, screen).await,
    }
}

fn issue(arguments: Issue, screen: &mut Screen) -> Result<Outcome> {
    let Issue { key, issuer, claim, expires_in } = arguments;
    let key = load_or_create(&key)?;
    let now_seconds = SystemClock.now_seconds();
    let expires_at_seconds = now_seconds.saturating_add_unsigned(expires_in.as_secs());
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!(issuer));
    claims.insert("iat".to_owned(), json!(now_seconds));
    claims.insert("exp".to_owned(), json!(expires_at_seconds));
    // What is said on the command line counts, to try out tokens that are wrong.
    claims.extend(claim.into_iter().map(|claim| (claim.name, claim.value)));
    screen.line(key.sign(&Json::Object(claims))?)?;
    Ok(Outcome::Fine)
}

/// The ending of a public key set's name.
const PUBLIC_ENDING: &str = "jwks.json";

/// Reads the key, or makes it, and sees to its public half.
fn load_or_create(path: &Path) -> Result<LocalKey> {
    if path.to_string_lossy().ends_with(PUBLIC_ENDING) {
        bail!("`{}` is the name of a public key set; expected a private key such as issuer.pem", path.display());
    }
    let public = path.with_extension(PUBLIC_ENDING);
    let key = if path.exists() {
        LocalKey::load(path).with_context(|| format!("cannot use `{}`; name another key with --key", path.display()))?
    } else {
        let key = LocalKey::generate()?;
        key.save(path)?;
        note(&format!("made the private key {}; keep it to yourself", path.display()));
        key
    };
    if !public.exists() {
        fs::write(&public, key.jwks()).with_context(|| format!("cannot write `{}`", public.display()))?;
        note(&format!("made the public key set {}; name it as the issuer's keys in hallpass.toml", public.display()));
    }
    Ok(key)
}

async fn inspect(arguments: Inspect, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Inspect { token, token_file, config } = arguments;
    let text = match (token, token_file) {
        (Some(token), _) if token != "-" => token.trim().to_owned(),
        (_, Some(file)) => read_token(&file)?,
        _ => read_token(Path::new("-"))?,
    };
    for (part, name) in text.split('.').zip(["header", "claims"]) {
        if let Some(json) = decoded(part) {
            screen.line(format_args!("{name} {json:#}"))?;
            show_times(&json, screen)?;
        }
    }
    match token::read(&text) {
        Ok(_) => screen.line("the token can be read")?,
        Err(error) => {
            screen.line(refusal("the token cannot be read", &error, screen))?;
            return Ok(Outcome::Findings);
        }
    }
    let Some(config) = config else {
        note("whether it is good was not looked at; name the service's configuration with --config");
        return Ok(Outcome::Fine);
    };
    let config = Config::load(&Flags { config: Some(config), ..Flags::default() }, environment)?;
    Ok(Outcome::of(!verify(&text, &config, screen).await?))
}

fn decoded(part: &str) -> Option<Json> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The times of claims as people read them.
fn show_times(claims: &Json, screen: &mut Screen) -> Result<()> {
    let now_seconds = SystemClock.now_seconds();
    for (claim, word) in [("iat", "issued"), ("nbf", "good from"), ("exp", "good until")] {
        let Some(seconds) = claims.get(claim).and_then(Json::as_i64) else { continue };
        let distance = seconds.saturating_sub(now_seconds);
        let span = span(distance.unsigned_abs());
        let relative = if distance <= 0 { format!("{span} ago") } else { format!("in {span}") };
        screen.line(format_args!("{word} {} ({relative})", Timestamp { seconds, nanos: 0 }))?;
    }
    Ok(())
}

/// A span of time in its largest fitting unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn refusal(what: &str, error: &TokenError, screen: &Screen) -> String {
    format!("{}: {what}: {error}", screen.toned(Tone::Bad, error.code()))
}

/// Verifies the token in each realm that trusts its issuer; true when one takes it.
async fn verify(text: &str, config: &Config, screen: &mut Screen) -> Result<bool> {
    let issuer = token::read(text)?.issuer().to_owned();
    let (mut is_good, mut is_known) = (false, false);
    for RealmConfig { name, place, variant, issuers, .. } in config.realms()? {
        let folder = place.folder().to_owned();
        let compiled = Realm::compile(&place.read().map_err(anyhow::Error::msg)?.files, variant.as_deref());
        let realm = match compiled.and_then(|mut realm| realm.trust(&issuers).map(|()| realm)) {
            Ok(realm) => realm,
            Err(faults) => {
                check::show(&folder, faults, screen)?;
                bail!("realm `{name}` has faults; mend them, `hallpass check` shows them too");
            }
        };
        let Some(trusted) = realm.issuer(&issuer) else { continue };
        is_known = true;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now_seconds = clock.now_seconds();
        let jwks = Arc::new(Jwks::new(clock, Box::new(|_| ())));
        let keys = RealmKeys { jwks, folders: [(name.clone(), folder)].into() };
        keys.set_issuers(&name, &realm.file.issuers);
        let token = token::read(text)?;
        let keys = keys.keys(&name, &trusted.issuer, token.key_id()).await?;
        let line = match token.verify(trusted, &keys, now_seconds) {
            Err(error) => refusal(&format!("realm {name} refuses it"), &error, screen),
            Ok(claims) => match Principal::from_claims(&realm, claims.as_map()) {
                Err(error) => format!("realm {name} verifies it, but {error}"),
                Ok(principal) => {
                    is_good = true;
                    let who = plain(&format!("{}:{}", principal.entity.entity_type, principal.entity.id));
                    format!("{}: realm {name} takes it as {who}", screen.toned(Tone::Good, "good"))
                }
            },
        };
        screen.line(line)?;
    }
    if !is_known {
        screen.line(refusal("no realm takes it", &TokenError::IssuerUnknown, screen))?;
    }
    Ok(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_with_its_public_half_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issuer.pem");
        let made = load_or_create(&path).unwrap();
        let public = folder.path().join("issuer.jwks.json");
        assert_eq!(fs::read_to_string(&public).unwrap(), made.jwks());
        fs::remove_file(&public).unwrap();
        assert_eq!(load_or_create(&path).unwrap().jwks(), made.jwks());
        assert!(public.exists());
        assert!(load_or_create(&public).is_err(), "a public key set is no private key");
    }

    #[test]
    fn spans_are_in_their_largest_unit() {
        for (seconds, text) in [(1, "1 s"), (1_800, "30 min"), (36_000, "10 h"), (864_000, "10 days")] {
            assert_eq!(span(seconds), text);
        }
    }
}
