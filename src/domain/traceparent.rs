//! The header by which a request says which trace it is part of (W3C Trace Context level 1, section 3.2).

use std::fmt;

/// The header's name.
pub const TRACEPARENT: &str = "traceparent";

/// How long the header is in version 00, in bytes. Later versions may have more behind that.
const LENGTH: usize = 55;

/// Whoever sent the request keeps its spans.
const SAMPLED: u8 = 0x01;

/// The trace of a request, and the span in it that the request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span; not 0.
    pub span_id: u64,
    /// Its spans are kept.
    pub is_sampled: bool,
}

impl Traceparent {
    /// Reads the header's value; `None` when it is malformed, and then the request is part of no trace.
    ///
    /// Hexadecimal digits are lower-case. Of a version above 00 the fields of version 00 count, and what may stand behind
    /// them; version ff is none (section 3.2.2.1, 3.2.4). Of the flags the lowest bit counts (section 3.2.2.5).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let [version, trace_id, span_id, flags] = fields(known)?;
        let version = number(version)?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let (trace_id, span_id) = (number(trace_id)?, u64::try_from(number(span_id)?).ok()?);
        let flags = u8::try_from(number(flags)?).ok()?;
        let is_good = is_whole && trace_id != 0 && span_id != 0;
        is_good.then_some(Self { trace_id, span_id, is_sampled: flags & SAMPLED != 0 })
    }
}

/// The four fields of version 00.
fn fields(known: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = known.split(|byte| *byte == b'-');
    let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let fits = parts.next().is_none() && fields.map(<[u8]>::len) == [2, 32, 16, 2];
    fits.then_some(fields)
}

/// At most 32 lower-case hexadecimal digits.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// As the header's value of version 00.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, is_sampled } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "8c3f1e5b7a9d4062b1f0e2d3c4a59687";
    const SPAN: &str = "5be1a02c97f3d648";

    fn parse(text: &str) -> Option<Traceparent> {
        Traceparent::parse(text.as_bytes())
    }

    #[test]
    fn a_header_says_trace_span_and_whether_it_is_kept() {
        let expected = |is_sampled| {
            Some(Traceparent {
                trace_id: 0x8c3f_1e5b_7a9d_4062_b1f0_e2d3_c4a5_9687,
                span_id: 0x5be1_a02c_97f3_d648,
                is_sampled,
            })
        };
        for (flags, is_sampled) in [("01", true), ("00", false), ("03", true), ("ff", true), ("02", false)] {
            assert_eq!(parse(&format!("00-{TRACE}-{SPAN}-{flags}")), expected(is_sampled), "{flags}");
        }
        for later in ["01", "cc", "fe"] {
            assert_eq!(parse(&format!("{later}-{TRACE}-{SPAN}-01")), expected(true), "{later}");
            assert_eq!(parse(&format!("{later}-{TRACE}-{SPAN}-01-what-comes-later")), expected(true), "{later}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_header() {
        let upper = TRACE.to_uppercase();
        for bad in [
            String::new(),
            "00".to_owned(),
            "-".repeat(LENGTH),
            "00-".to_owned() + TRACE,
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("FF-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("01-{TRACE}-{SPAN}-01."),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.split_at(1).1),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", SPAN.split_at(1).1),
            format!("00-{TRACE}-{SPAN}0-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.replace('8', "\u{660}")),
            format!("00-{}-{SPAN}-01", TRACE.replacen('8', "+", 1)),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_header_is_written_as_it_is_read() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
        let smallest = Traceparent { trace_id: 1, span_id: 1, is_sampled: true };
        assert_eq!(parse(&smallest.to_string()), Some(smallest));
    }
}
