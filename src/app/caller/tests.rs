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
