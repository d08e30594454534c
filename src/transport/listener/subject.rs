//! The subject of a certificate as text (RFC 4514), so that a configuration can name it.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The attribute types that have a short name (RFC 4514 section 3). Others are written as their numbers.
const NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The name as one text, its last part first: `CN=gateway,O=North`. Two names that differ have two texts; empty for a name
/// without parts.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let values: Vec<String> = part.iter().map(value).collect();
        values.join("+")
    });
    parts.collect::<Vec<_>>().join(",")
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    if let (Some(name), Ok(text)) = (name, attribute.as_str()) {
        return format!("{name}={}", escaped(text));
    }
    // Section 2.4: what has no short name or is no text is written as the bytes it is.
    let mut written = format!("{}=#{:02x}", name.unwrap_or(&number), attribute.attr_value().tag().0);
    for byte in attribute.as_slice() {
        // Writing to a text cannot fail.
        write!(written, "{byte:02x}").ok();
    }
    written
}

/// The text with a backslash before whatever would mean something else (RFC 4514 section 2.4).
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut written = String::with_capacity(text.len());
    for (index, c) in text.chars().enumerate() {
        let is_at_an_end = c == ' ' && (index == 0 || index == last) || c == '#' && index == 0;
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => written.extend(['\\', c]),
            _ if is_at_an_end => written.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // Writing to a text cannot fail.
                    write!(written, "\\{byte:02X}").ok();
                }
            }
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_something_else_is_escaped() {
        for (given, expected) in [
            ("gateway", "gateway"),
            ("a,O=b", "a\\,O=b"),
            (" a ", "\\ a\\ "),
            ("#a#", "\\#a#"),
            ("a+b;c<d>e\"f\\g", "a\\+b\\;c\\<d\\>e\\\"f\\\\g"),
            ("a\0b\n", "a\\00b\\0A"),
            ("Müller", "Müller"),
            (" ", "\\ "),
            ("", ""),
        ] {
            assert_eq!(escaped(given), expected, "{given:?}");
        }
    }
}
