//! What shows who asks, as it is said on the command line.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::authorize::read_token;
use crate::proto::v1::TokenProof;

/// The tokens of a request, and what proves the key that they are bound to.
#[derive(Debug, clap::Args)]
pub(super) struct CredentialArguments {
    #[command(flatten)]
    token: TokenArguments,
    /// The scheme word that the token came with
    #[arg(long, value_name = "WORD", default_value = "Bearer")]
    scheme: String,
    #[command(flatten)]
    proof: ProofArguments,
}

/// Where tokens are: one in the header or one in the query, and that two are refused can be tried out.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct TokenArguments {
    /// The access token; others on this machine may see it in the list of processes
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with the access token; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// A file with an access token that came as a query parameter; - is standard input
    #[arg(long, value_name = "FILE")]
    query_token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ProofArguments {
    /// A file with the proof header (RFC 9449) of the original request; - is standard input; repeatable
    #[arg(long, value_name = "FILE")]
    dpop: Vec<PathBuf>,
    /// The method of the original request, for example GET
    #[arg(long, value_name = "METHOD", default_value = "", hide_default_value = true)]
    method: String,
    /// The URI of the original request
    #[arg(long, value_name = "URI", default_value = "", hide_default_value = true)]
    uri: String,
    /// A file with the certificate of the client, in PEM or DER
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
}

/// What a message says to show who asks.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    pub(super) token: String,
    pub(super) scheme: String,
    pub(super) query_token: String,
    pub(super) proof: Option<TokenProof>,
}

impl CredentialArguments {
    /// The credentials, tokens and proofs without blanks and line ends around them.
    pub(super) fn read(self) -> Result<Credentials> {
        let Self { token: TokenArguments { token, token_file, query_token_file }, scheme, proof } = self;
        let from_file = token_file.as_deref().map(read_token).transpose()?;
        let query_token = query_token_file.as_deref().map(read_token).transpose()?.unwrap_or_default();
        let token = token.map(|token| token.trim().to_owned()).or(from_file).unwrap_or_default();
        Ok(Credentials { token, scheme, query_token, proof: proof.read()? })
    }
}

impl ProofArguments {
    fn read(self) -> Result<Option<TokenProof>> {
        let Self { dpop, method, uri, client_certificate } = self;
        let dpop: Vec<String> = dpop.iter().map(|file| read_token(file)).collect::<Result<_>>()?;
        let certificate = client_certificate.map(|file| {
            fs::read(&file).with_context(|| format!("no certificate could be read from `{}`", file.display()))
        });
        let client_certificate = certificate.transpose()?.unwrap_or_default();
        let proof = TokenProof { method, uri, dpop, client_certificate };
        Ok((proof != TokenProof::default()).then_some(proof))
    }
}
