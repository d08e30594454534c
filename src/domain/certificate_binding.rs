//! Proof of possession by the certificate of a TLS connection (RFC 8705 section 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::domain::token_error::TokenError;

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Checks that a client's certificate, DER or PEM, is the one that a token is bound to by its SHA-256 thumbprint
/// (`x5t#S256`, RFC 8705 section 3.1). Whether the client holds its key was found out by whoever ended the TLS connection.
///
/// # Errors
/// [`TokenError::ProofRequired`] without a certificate, [`TokenError::ProofInvalid`] with another one.
pub fn check(certificate: &[u8], expected: &[u8; 32]) -> Result<(), TokenError> {
    if certificate.is_empty() {
        return Err(TokenError::ProofRequired);
    }
    let found = thumbprint(certificate).ok_or(TokenError::ProofInvalid { reason: "the certificate cannot be read" })?;
    if found == *expected {
        Ok(())
    } else {
        Err(TokenError::ProofInvalid { reason: "the token is bound to another certificate" })
    }
}

/// The SHA-256 digest of a certificate's DER; `None` for what is neither DER nor PEM of exactly one certificate.
fn thumbprint(certificate: &[u8]) -> Option<[u8; 32]> {
    let decoded;
    let der = if certificate.first() == Some(&DER_SEQUENCE) {
        certificate
    } else {
        decoded = from_pem(str::from_utf8(certificate).ok()?)?;
        &decoded
    };
    is_one_sequence(der).then(|| Sha256::digest(der).into())
}

/// Reads the one certificate of a PEM text (RFC 7468 section 5).
fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_ascii().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

/// How DER begins a SEQUENCE (X.690 section 8.9), which a certificate is.
const DER_SEQUENCE: u8 = 0x30;

/// The bytes are one DER SEQUENCE and nothing behind it. What is in it does not matter: its digest is compared.
fn is_one_sequence(der: &[u8]) -> bool {
    let (length, rest) = match der {
        [DER_SEQUENCE, length @ ..=0x7f, rest @ ..] | [DER_SEQUENCE, 0x81, length, rest @ ..] => {
            (usize::from(*length), rest)
        }
        [DER_SEQUENCE, 0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return false,
    };
    rest.len() == length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something of the outer form of a certificate.
    fn der(content: u8) -> Vec<u8> {
        [&[0x30, 0x81, 200][..], &[content; 200]].concat()
    }

    fn pem(der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("{PEM_BEGIN}\r\n{}\r\n{PEM_END}\r\n", lines.join("\r\n"))
    }

    fn code(certificate: impl AsRef<[u8]>) -> &'static str {
        let expected = Sha256::digest(der(1)).into();
        check(certificate.as_ref(), &expected).err().map_or("OK", |error| error.code())
    }

    #[test]
    fn the_certificate_counts_as_der_and_as_pem() {
        assert_eq!(code(der(1)), "OK");
        assert_eq!(code(pem(&der(1))), "OK");
        assert_eq!(code(format!("\n {}\n", pem(&der(1)))), "OK");
    }

    #[test]
    fn another_certificate_is_no_proof_and_none_is_missing() {
        let two = pem(&der(1)) + &pem(&der(2));
        let broken = pem(&der(1)).replace("MIHI", "MI*I");
        let key = pem(&der(1)).replace("CERTIFICATE", "PUBLIC KEY");
        for other in [pem(&der(2)), two, broken, key, "no certificate".to_owned(), String::from("\u{30}")] {
            assert_eq!(code(&other), "PROOF_INVALID", "{other}");
        }
        for other in [der(2), [der(1), der(1)].concat(), der(1)[..100].to_vec(), [der(1), vec![0]].concat(), vec![0xff]]
        {
            assert_eq!(code(&other), "PROOF_INVALID", "{other:?}");
        }
        assert_eq!(code(""), "PROOF_REQUIRED");
    }

    #[test]
    fn every_length_of_der_is_read() {
        for content in [0_usize, 1, 127, 128, 255, 256, 16_000] {
            let bytes = content.to_be_bytes();
            let header = match content {
                ..=0x7f => vec![0x30, bytes[7]],
                0x80..=0xff => vec![0x30, 0x81, bytes[7]],
                _ => vec![0x30, 0x82, bytes[6], bytes[7]],
            };
            let der = [header, vec![7; content]].concat();
            assert_eq!(thumbprint(&der), Some(Sha256::digest(&der).into()), "{content}");
        }
    }
}
