//! Keys, their digests, and who shows them.

use super::*;

fn caller(name: &str, key: &str) -> KnownCaller {
    KnownCaller { name: name.into(), key: Some(KeyDigest::of(key)), ..KnownCaller::default() }
}

fn callers(known: &[(&str, &str)]) -> Callers {
    let known = known.iter().map(|(name, key)| caller(name, key)).collect();
    Callers::without_policies(known, KeyDigest::of("admin key"))
}

#[test]
fn a_digest_reads_back_and_other_texts_are_none() {
    let digest = KeyDigest::of("key");
    assert_eq!(digest.to_string(), "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683");
    assert_eq!(KeyDigest::parse(&digest.to_string()), Some(digest));
    assert_eq!(KeyDigest::parse(&digest.to_string().to_uppercase()), Some(digest));
    let long = format!("{digest}0");
    let signed = format!("+1{}", "0".repeat(62));
    let wide = format!("é{}", "0".repeat(62));
    for bad in ["", "2c70", &long, &signed, &wide, &"g".repeat(64)] {
        assert_eq!(KeyDigest::parse(bad), None, "{bad}");
    }
    assert_eq!(format!("{digest:?}"), "KeyDigest(..)");
}

#[test]
fn who_comes_is_told_by_the_key() {
    let several = callers(&[("one", "key 1"), ("two", "key 2"), ("three", "key 3")]);
    let none = callers(&[]);
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for (callers, key, is_local, expected) in [
        (&several, Some("key 1"), false, Ok("one")),
        (&several, Some("key 3"), false, Ok("three")),
        (&several, Some("key"), true, Err("CALLER_KEY_UNKNOWN")),
        (&several, Some("key 4"), true, Err("CALLER_KEY_UNKNOWN")),
        (&several, Some(""), true, Err("CALLER_KEY_UNKNOWN")),
        (&several, Some(&*long), true, Err("CALLER_KEY_UNKNOWN")),
        (&several, Some("admin key"), true, Err("CALLER_KEY_UNKNOWN")),
        (&several, None, true, Err("CALLER_KEY_MISSING")),
        (&none, Some("admin key"), true, Ok(ADMIN)),
        (&none, Some("admin key"), false, Err("CALLER_NOT_LOCAL")),
        (&none, Some("key 1"), true, Err("CALLER_KEY_UNKNOWN")),
        (&none, None, true, Err("CALLER_KEY_MISSING")),
    ] {
        let presented = Presented { key: key.map(Arc::from), is_local, ..Presented::default() };
        let found = callers.identify(&presented, 0);
        let found = found.as_ref().map(Identified::name).map_err(|reason| &*reason.code);
        assert_eq!(found, expected, "{key:?} {is_local}");
    }
    let presented = Presented { key: Some("key 1".into()), is_local: true, ..Presented::default() };
    assert!(Callers::default().identify(&presented, 0).is_err(), "where nobody is known nobody comes");
}

fn certificate(spiffe: Option<&str>, subject: &str) -> Arc<PeerCertificate> {
    let spiffe = spiffe.map(Arc::from);
    Arc::new(PeerCertificate { spiffe, subject: subject.into(), not_after_seconds: 100, sha256: [7; 32] })
}

#[test]
fn who_comes_is_told_by_certificate_and_token_too() {
    let token = VerifiedCaller { issuer: "https://idp.example".into(), subject: "three".into() };
    let known = vec![
        KnownCaller { spiffe: Some("spiffe://a/one".into()), ..caller("one", "key 1") },
        KnownCaller { name: "two".into(), subject: Some("CN=two".into()), ..KnownCaller::default() },
        KnownCaller { name: "three".into(), token: Some(token.clone()), ..KnownCaller::default() },
    ];
    let callers = Callers::without_policies(known, KeyDigest::of("admin key"));
    let other = Arc::new(VerifiedCaller { subject: "four".into(), ..token.clone() });
    let (one, token) = (Some("spiffe://a/one"), Some(Arc::new(token)));
    for (certificate, verified, key, now_seconds, expected) in [
        (Some(certificate(one, "CN=x")), None, None, 99, Ok("one")),
        (Some(certificate(one, "CN=x")), None, None, 100, Err("CALLER_CERTIFICATE_EXPIRED")),
        (Some(certificate(one, "CN=x")), None, Some("key 1"), 99, Ok("one")),
        (Some(certificate(one, "CN=x")), None, Some("key 2"), 99, Err("CALLER_KEY_UNKNOWN")),
        (Some(certificate(one, "CN=two")), None, None, 99, Err("CALLER_AMBIGUOUS")),
        (Some(certificate(one, "CN=x")), token.clone(), None, 99, Err("CALLER_AMBIGUOUS")),
        (Some(certificate(None, "CN=two")), None, None, 99, Ok("two")),
        (Some(certificate(None, "")), None, None, 99, Err("CALLER_CERTIFICATE_UNKNOWN")),
        (Some(certificate(None, "")), None, Some("key 1"), 99, Ok("one")),
        (Some(certificate(None, "CN=two")), None, Some("key 1"), 99, Err("CALLER_AMBIGUOUS")),
        (None, token.clone(), None, 0, Ok("three")),
        (None, Some(other), None, 0, Err("CALLER_TOKEN_UNKNOWN")),
    ] {
        let presented = Presented { key: key.map(Arc::from), certificate, verified, ..Presented::default() };
        let found = callers.identify(&presented, now_seconds);
        let found = found.as_ref().map(Identified::name).map_err(|reason| &*reason.code);
        assert_eq!(found, expected, "{presented:?} {key:?} {now_seconds}");
    }
    let refused = Some(Arc::new(Reason::plain("CALLER_TOKEN_INVALID", "it is past")));
    let presented = Presented { refused, certificate: Some(certificate(one, "")), ..Presented::default() };
    let found = callers.identify_or_local(&presented, 0).map(|identified| identified.shared_name());
    assert_eq!(found.map_err(|reason| reason.code.to_string()), Err("CALLER_TOKEN_INVALID".to_owned()));
}

#[test]
fn who_shows_nothing_is_local_only_where_nothing_must_be_shown() {
    let nothing = Presented { is_local: true, ..Presented::default() };
    let wrong = Presented { key: Some("key 2".into()), ..nothing.clone() };
    for known in [&[][..], &[("one", "key 1")]] {
        let (open, closed) = (callers(known), callers(known).requiring(true));
        assert_eq!(open.identify_or_local(&nothing, 0).unwrap().name(), LOCAL);
        assert_eq!(&*open.identify_or_local(&wrong, 0).unwrap_err().code, "CALLER_KEY_UNKNOWN");
        assert_eq!(&*open.identify(&nothing, 0).unwrap_err().code, "CALLER_KEY_MISSING");
        assert_eq!(&*closed.identify_or_local(&nothing, 0).unwrap_err().code, "CALLER_KEY_MISSING");
        assert!(!closed.are_unnamed(), "nobody changes policies without showing who it is");
    }
}

#[test]
fn what_is_not_known_to_come_from_this_machine_is_never_local() {
    let stranger = certificate(None, "CN=stranger");
    for known in [&[][..], &[("one", "key 1")]] {
        for callers in [callers(known), callers(known).requiring(true)] {
            let nothing = callers.identify_or_local(&Presented::default(), 0);
            assert_eq!(&*nothing.unwrap_err().code, "CALLER_KEY_MISSING", "{known:?}");
            let shown = Presented { certificate: Some(Arc::clone(&stranger)), ..Presented::default() };
            let unknown = callers.identify_or_local(&shown, 0);
            assert_eq!(&*unknown.unwrap_err().code, "CALLER_CERTIFICATE_UNKNOWN", "{known:?}");
        }
        assert_eq!(callers(known).identify_or_local(&Presented::embedded(), 0).unwrap().name(), LOCAL);
    }
}

#[test]
fn nothing_that_is_shown_is_printed() {
    let presented = Presented {
        key: Some("secret".into()),
        certificate: Some(certificate(Some("spiffe://secret/a"), "CN=secret")),
        verified: Some(Arc::new(VerifiedCaller { issuer: "here".into(), subject: "secret".into() })),
        refused: Some(Arc::new(Reason::plain("A", "secret"))),
        is_local: true,
    };
    let printed = format!("{presented:?} {:?} {:?}", presented.certificate, presented.verified);
    assert!(!printed.contains("secret") && printed.contains("07070707"), "{printed}");
}
