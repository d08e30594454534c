//! What comes beside messages: the header of a trace, and certificates.

use hallpass::domain::certificate_binding;
use hallpass::domain::traceparent::Traceparent;
use hallpass::transport::listener;

/// Reads bytes as the header of a trace: what is read is written and read as the same.
pub(crate) fn traceparent(bytes: &[u8]) {
    let Some(read) = Traceparent::parse(bytes) else { return };
    assert!(read.trace_id != 0 && read.span_id != 0);
    assert_eq!(Traceparent::parse(read.to_string().as_bytes()), Some(read));
}

/// Reads bytes as the certificate that an end client showed, DER or PEM: none has this hash.
pub(crate) fn certificate(bytes: &[u8]) {
    assert!(certificate_binding::check(bytes, &[0x5a; 32]).is_err());
}

/// Reads bytes as the certificate that a caller showed in its handshake: what is read is read as the same, to its end, and as a
/// name that can be written on one line.
pub(crate) fn peer_certificate(bytes: &[u8]) {
    let Some(read) = listener::certificate(bytes) else { return };
    assert!(listener::certificate(bytes).as_ref() == Some(&read));
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(listener::certificate(&longer).is_none(), "something stands behind it");
    assert!(read.spiffe.as_ref().is_none_or(|id| id.starts_with("spiffe://")));
    assert!(!read.subject.chars().any(char::is_control), "{:?}", read.subject);
    let printed = format!("{read:?}");
    assert_eq!(printed.len(), "PeerCertificate()".len() + 64, "its digest is shown, and nothing else");
}
