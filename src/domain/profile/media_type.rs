//! Media types that name a profile: `{prefix}.{resource}.{profile}.{usage}+json`.

use super::Usage;
use crate::domain::realm_file::{HeaderForm, ProfileSettings};

/// The longest header that is read.
pub(super) const HEADER_BYTES_MAX: usize = 1_024;
/// The most media types of one header.
const ENTRIES_MAX: usize = 64;

/// What a header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// No profile.
    Nothing,
    /// This profile.
    Profile(Named<'a>),
    /// A profile, but it isn't clear which.
    Malformed,
    /// A profile, for a usage that there isn't.
    UnknownUsage,
}

/// A profile as a header names it, in the header's own letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) resource: &'a str,
    pub(super) profile: &'a str,
    pub(super) usage: Usage,
}

/// Reads an `Accept` or `Content-Type` header. Media types that name no profile are passed over; of those that do,
/// the one with the highest quality counts, the first among equals.
pub(super) fn read<'a>(header: &'a str, settings: &ProfileSettings) -> Asked<'a> {
    if header.len() > HEADER_BYTES_MAX {
        return Asked::Malformed;
    }
    let mut best: Option<(u16, &str)> = None;
    for (index, entry) in header.split(',').enumerate() {
        if index >= ENTRIES_MAX {
            return Asked::Malformed;
        }
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let Some(rest) = after_prefix(media_type, &settings.media_type) else { continue };
        let quality = parts.find_map(quality).unwrap_or(1_000);
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, rest));
        }
    }
    best.map_or(Asked::Nothing, |(_, rest)| facets(rest, settings.header))
}

/// What follows the prefix and a dot.
fn after_prefix<'a>(media_type: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = media_type.split_at_checked(prefix.len())?;
    rest.strip_prefix('.').filter(|_| head.eq_ignore_ascii_case(prefix))
}

/// The weight of a parameter `q`, in thousandths (RFC 9110 section 12.4.2); one that can't be read counts in full.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_weight = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse().ok().filter(|_| is_weight);
    Some(if whole == "0" { thousandths.unwrap_or(1_000) } else { 1_000 })
}

fn facets(rest: &str, form: HeaderForm) -> Asked<'_> {
    let (stem, is_json) = match rest.rsplit_once('+') {
        Some((stem, suffix)) => (stem, suffix.eq_ignore_ascii_case("json")),
        None => (rest, false),
    };
    let mut parts = stem.split('.');
    let (Some(resource), Some(profile), Some(usage), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Asked::Malformed;
    };
    let fits = match form {
        HeaderForm::Pattern => is_json && is_resource(resource) && is_plain_name(profile),
        HeaderForm::Facets => !resource.is_empty() && is_name(profile),
    };
    let usage = Usage::ALL.into_iter().find(|known| usage.eq_ignore_ascii_case(known.name()));
    match usage {
        _ if !fits => Asked::Malformed,
        None => Asked::UnknownUsage,
        Some(usage) => Asked::Profile(Named { resource, profile, usage }),
    }
}

fn is_resource(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A letter, then letters, digits and hyphens: what [`HeaderForm::Pattern`] takes for a profile.
pub(super) fn is_plain_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What a part of a media type between dots may consist of (RFC 6838 section 4.2).
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_".contains(&byte))
}

/// The media type of a profile, in lower case.
pub(super) fn write(settings: &ProfileSettings, resource: &str, profile: &str, usage: Usage) -> String {
    format!("{}.{resource}.{profile}.{}+json", settings.media_type, usage.name()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::realm_file::{ExcludedChildren, InvalidProfiles, MissingProfiles};

    fn settings(header: HeaderForm) -> ProfileSettings {
        ProfileSettings {
            folder: "profiles".into(),
            attribute: "profiles".into(),
            media_type: "application/vnd.ed-fi".into(),
            readable: Vec::new(),
            writable: Vec::new(),
            invalid: InvalidProfiles::Drop,
            missing: MissingProfiles::Ignore,
            header,
            excluded_children: ExcludedChildren::Narrow,
            extensions: None,
        }
    }

    fn asked(header: &str, form: HeaderForm) -> String {
        match read(header, &settings(form)) {
            Asked::Nothing => "nothing".to_owned(),
            Asked::Malformed => "malformed".to_owned(),
            Asked::UnknownUsage => "unknown usage".to_owned(),
            Asked::Profile(Named { resource, profile, usage }) => format!("{resource} {profile} {}", usage.name()),
        }
    }

    #[test]
    fn only_media_types_below_the_prefix_name_a_profile() {
        let long = format!("application/json;x={}", "a".repeat(2_000));
        let many = "*/*,".repeat(100);
        let cases = [
            ("", "nothing"),
            ("application/json", "nothing"),
            ("*/*", "nothing"),
            ("application/json; charset=utf-8", "nothing"),
            ("text/html, application/xhtml+xml;q=0.9, */*;q=0.8", "nothing"),
            ("application/vnd.ed-fi+json", "nothing"),
            ("application/vnd.ed-fish.a.b.readable+json", "nothing"),
            ("application/vnd.ed-fi.School.My-Profile.READABLE+JSON", "School My-Profile readable"),
            (" APPLICATION/VND.ED-FI.school.p.writable+json ; charset=utf-8", "school p writable"),
            ("application/json, application/vnd.ed-fi.school.p.readable+json;q=0.5", "school p readable"),
            (
                "application/vnd.ed-fi.school.a.readable+json;q=0.5, application/vnd.ed-fi.school.b.readable+json",
                "school b readable",
            ),
            ("application/vnd.ed-fi.school.a.readable+json;q=0", "nothing"),
            ("application/vnd.ed-fi.school.a.readable+json;q=0.000", "nothing"),
            ("application/vnd.ed-fi.invalid", "malformed"),
            ("application/vnd.ed-fi.a.b.c.readable+json", "malformed"),
            ("application/vnd.ed-fi..b.readable+json", "malformed"),
            ("application/vnd.ed-fi.school..readable+json", "malformed"),
            ("application/vnd.ed-fi.", "malformed"),
            (&long, "malformed"),
            (&many, "malformed"),
        ];
        for (header, expected) in cases {
            for form in [HeaderForm::Pattern, HeaderForm::Facets] {
                assert_eq!(asked(header, form), expected, "{header} {form:?}");
            }
        }
    }

    #[test]
    fn the_forms_differ_in_names_and_suffix() {
        for (header, by_pattern, by_facets) in [
            ("application/vnd.ed-fi.school.p.readable", "malformed", "school p readable"),
            ("application/vnd.ed-fi.school.my_p.readable+json", "malformed", "school my_p readable"),
            ("application/vnd.ed-fi.school.1p.readable+json", "malformed", "school 1p readable"),
            ("application/vnd.ed-fi.school.p.legible+json", "unknown usage", "unknown usage"),
        ] {
            assert_eq!(asked(header, HeaderForm::Pattern), by_pattern, "{header}");
            assert_eq!(asked(header, HeaderForm::Facets), by_facets, "{header}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let settings = settings(HeaderForm::Pattern);
        let written = write(&settings, "School", "My-Profile", Usage::Readable);
        assert_eq!(written, "application/vnd.ed-fi.school.my-profile.readable+json");
        assert_eq!(asked(&written, HeaderForm::Pattern), "school my-profile readable");
    }
}
