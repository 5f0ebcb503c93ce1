//! The thumbprint of a certificate in PEM.
//!
//! A stricter PEM reader would not do: configuration and environment variables indent the text or
//! join its lines.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Returns `x5t#S256` (RFC 7515 §4.1.8) of the first certificate in the text, or `None` if there is
/// none.
pub(crate) fn thumbprint(pem: &str) -> Option<String> {
    let digest = digest(&SHA256, &der(pem)?);
    Some(BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref()))
}

/// Returns the bytes of the first certificate. Ignores white space in it, and all text around it.
fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate as PEM with lines of 64 characters, and its bytes.
    fn certificate() -> (String, Vec<u8>) {
        let params = CertificateParams::default();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let text = BASE64_STANDARD.encode(certificate.der());
        let lines: Vec<&[u8]> = text.as_bytes().chunks(64).collect();
        let body = String::from_utf8(lines.join(&b'\n')).unwrap();
        (
            format!("{BEGIN}\n{body}\n{END}\n"),
            certificate.der().to_vec(),
        )
    }

    #[test]
    fn certificate_is_read_with_blank_lines() {
        let (pem, der) = certificate();
        let blank = format!("\n\n{}\n\n", pem.replace('\n', "\n\n"));
        assert_eq!(super::der(&blank), Some(der));
    }

    #[test]
    fn certificate_is_read_with_crlf() {
        let (pem, der) = certificate();
        assert_eq!(super::der(&pem.replace('\n', "\r\n")), Some(der));
    }

    #[test]
    fn certificate_is_read_after_comments() {
        let (pem, der) = certificate();
        let commented = format!("# CN = postern\n# valid until 2030\n{pem}# the end\n");
        assert_eq!(super::der(&commented), Some(der));
    }

    /// As `openssl x509 -text` and `openssl pkcs12` write it.
    #[test]
    fn certificate_is_read_after_text() {
        let (pem, der) = certificate();
        let text = format!(
            "Bag Attributes\n    localKeyID: 01 00 00 00\nsubject=CN = postern\n\
             Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number:\n            \
             7a:01\n    Signature Algorithm: ecdsa-with-SHA256\n{pem}"
        );
        assert_eq!(super::der(&text), Some(der));
    }

    #[test]
    fn first_of_several_certificates_is_read() {
        let ((first, der), (second, _)) = (certificate(), certificate());
        let chain = format!("{first}{second}");
        assert_eq!(super::der(&chain), Some(der.clone()));
        let apart = format!("leaf\n{first}\nissuer\n{second}");
        assert_eq!(super::der(&apart), Some(der));
    }

    #[test]
    fn certificate_is_read_after_private_key() {
        let (pem, der) = certificate();
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(super::der(&format!("{key}{pem}")), Some(der));
    }

    #[test]
    fn certificate_is_read_indented_and_in_one_line() {
        let (pem, der) = certificate();
        let indented = pem.replace('\n', "\n    ");
        assert_eq!(super::der(&indented), Some(der.clone()));
        assert_eq!(super::der(&pem.replace('\n', " ")), Some(der));
    }

    #[test]
    fn text_without_certificate_has_no_thumbprint() {
        let (pem, _) = certificate();
        for text in [
            "",
            BEGIN,
            &pem.replace(END, ""),
            &pem.replace(BEGIN, "-----BEGIN TRUSTED CERTIFICATE-----"),
            &pem.replace(BEGIN, &format!("{BEGIN}\n# inside")),
        ] {
            assert_eq!(thumbprint(text), None, "{text}");
        }
    }
}
