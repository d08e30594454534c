//! What comes beside messages: the header of a trace, and certificates.

use hallpass::domain::certificate_binding;
use hallpass::domain::traceparent::Traceparent;

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
