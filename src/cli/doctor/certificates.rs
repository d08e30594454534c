//! Certificates: they can be read, belong to their keys, and do not run out soon.

use std::{collections::BTreeSet, fs, path::Path};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use super::{
    finding::{Finding, State},
    loaded,
};
use crate::{
    app::ports::Clock as _,
    config::Config,
    domain::introspection::ClientAuthentication,
    provider::clock::SystemClock,
    transport::listener::{Options, RevocationList},
};

const CERTIFICATES: &str = "certificates";

/// So long before a certificate runs out it is told of.
const SOON_SECONDS: i64 = 30 * 24 * 3600;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let now = SystemClock.now_seconds();
    let (mut authorities, mut pairs, mut findings) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for issuer in loaded::issuers(config).into_iter().flat_map(|trusting| trusting.issuers) {
        authorities.extend(issuer.servers.ca_file);
        if let Some(ClientAuthentication::Certificate(file)) = issuer.introspection.map(|how| how.authentication) {
            pairs.insert((file.clone(), file));
        }
    }
    authorities.extend(config.tracing.iter().filter_map(|tracing| tracing.ca.clone()));
    if let Some(tls) = &config.tls {
        authorities.extend(tls.options.client_ca.clone());
        findings.extend(tls.options.client_crl.iter().flat_map(|file| lists(file, &tls.options, now)));
        pairs.insert((tls.options.certificate.clone(), tls.options.key.clone()));
    }
    findings.extend(authorities.iter().flat_map(|file| dates(file, now)));
    for (certificate, key) in &pairs {
        findings.extend(dates(certificate, now));
        findings.extend(pair(certificate, key));
    }
    if findings.iter().all(|finding| finding.state == State::Fine) {
        let what = format!("{} files with certificates are good for 30 days at least", authorities.len() + pairs.len());
        findings.push(Finding::fine(CERTIFICATES, what));
    }
    findings
}

/// What is wrong with the certificates of a PEM file, the authorities among them.
pub(super) fn dates(file: &Path, now_seconds: i64) -> Vec<Finding> {
    let shown = file.display();
    let unusable = |why: String| {
        vec![Finding::fault(CERTIFICATES, why, "put the certificates there in PEM, or name another file")]
    };
    let pem = match fs::read(file) {
        Ok(pem) => pem,
        Err(error) => return unusable(format!("`{shown}` cannot be read: {error}")),
    };
    let read: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = match read {
        Ok(read) if !read.is_empty() => read,
        _ => return unusable(format!("`{shown}` has no certificate in PEM")),
    };
    let mut findings = Vec::new();
    for der in &certificates {
        let Ok((_, certificate)) = parse_x509_certificate(der) else {
            return unusable(format!("`{shown}` has a certificate that cannot be read"));
        };
        let (subject, validity) = (certificate.subject().to_string(), certificate.validity());
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let named = format!("the certificate of `{subject}` in `{shown}`");
        let replace = "have a new one made and put it in its place";
        if until <= now_seconds {
            let what = format!("{named} ran out {}", ago(now_seconds - until));
            findings.push(Finding::fault(CERTIFICATES, what, replace));
        } else if from > now_seconds {
            let what = format!("{named} is not good yet, for another {}", span(from - now_seconds));
            findings.push(Finding::fault(CERTIFICATES, what, "if the clock is right, wait or have another one made"));
        } else if until - now_seconds < SOON_SECONDS {
            let what = format!("{named} runs out in {}", span(until - now_seconds));
            findings.push(Finding::warning(CERTIFICATES, what, replace));
        }
    }
    findings
}

/// What is wrong with the lists of clients' certificates that were taken back.
pub(super) fn lists(file: &Path, options: &Options, now_seconds: i64) -> Vec<Finding> {
    let shown = file.display();
    let renew = "fetch the newest list from the authority, and see to it that this is done in time; the service takes it by itself";
    let unusable = |what: String| vec![Finding::fault(CERTIFICATES, what, renew)];
    let content = match fs::read(file) {
        Ok(content) => content,
        Err(error) => return unusable(format!("`{shown}` cannot be read: {error}")),
    };
    let lists = match RevocationList::read_all(file, &content) {
        Ok(lists) => lists,
        Err(fault) => return unusable(fault.message),
    };
    let mut findings = Vec::new();
    for RevocationList { authority_text, from_seconds, until_seconds, .. } in &lists {
        let named = format!("the list of certificates that `{authority_text}` has taken back, in `{shown}`,");
        let left = until_seconds - now_seconds;
        // Lists are good for hours or for months: it is late when most of their time is over.
        let soon = ((until_seconds - from_seconds) / 4).min(SOON_SECONDS);
        if left <= 0 {
            let what = format!("{named} ran out {}: this authority's clients are refused", ago(-left));
            findings.push(Finding::fault(CERTIFICATES, what, renew));
        } else if left < soon {
            let what = format!("{named} runs out in {}; then this authority's clients are refused", span(left));
            findings.push(Finding::warning(CERTIFICATES, what, renew));
        }
    }
    let trusted = options.client_ca.as_deref().map(certificates_of).unwrap_or_default();
    for der in &trusted {
        let Ok((_, authority)) = parse_x509_certificate(der) else { continue };
        let subject = authority.subject();
        if !lists.iter().any(|list| list.authority == subject.as_raw()) {
            let what =
                format!("`{shown}` has no list of `{subject}`, which `client_ca` trusts: its clients are refused");
            findings.push(Finding::fault(
                CERTIFICATES,
                what,
                "put its list there as well, or take it out of `client_ca`",
            ));
        }
    }
    findings
}

/// The certificates of a file; what cannot be read is told of with the dates.
fn certificates_of(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = fs::read(file).ok().and_then(|pem| CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().ok());
    read.unwrap_or_default()
}

/// What is wrong with a certificate and its key, which may stand in one file.
pub(super) fn pair(certificate: &Path, key: &Path) -> Option<Finding> {
    let (shown, of_key) = (certificate.display(), key.display());
    let unusable = |what: String, advice: &str| Some(Finding::fault(CERTIFICATES, what, advice));
    // What cannot be read is told of with the dates.
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificate).ok()?.collect::<Result<_, _>>().ok()?;
    let Ok(private) = PrivateKeyDer::from_pem_file(key) else {
        return unusable(format!("`{of_key}` has no private key in PEM, or cannot be read"), "put it there");
    };
    match CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()) {
        Ok(_) => None,
        Err(rustls::Error::InconsistentKeys(_)) => {
            let what = format!("the key in `{of_key}` is not that of the certificate in `{shown}`");
            unusable(what, "replace both together: one of them is of another time")
        }
        Err(error) => unusable(format!("`{shown}` with `{of_key}` cannot be used: {error}"), "have a new pair made"),
    }
}

/// How long, in the unit that a person would take.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long ago.
pub(super) fn ago(seconds: i64) -> String {
    format!("{} ago", span(seconds))
}
