//! Reads the name of a certificate's issuer (RFC 5280 §4.1.2.4), to show it to the user.
//!
//! Does not own: verifying certificates.

use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate};

/// Returns the name of the issuer, or `None` if the certificate is malformed or has no such name.
/// Prefers the common name to the organization, and the last one of a kind, which is the most
/// specific one.
pub(super) fn issuer(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.issuer();
    let common = name.iter_common_name().last();
    let part = common.or_else(|| name.iter_organization().last());
    part.map(AttributeTypeAndValue::as_slice).map(shown)
}

/// Removes control characters from untrusted text, and limits its length.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(120).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::issuer;

    #[test]
    fn issuer_name_is_most_specific_one() {
        let of = |parts: &[(DnType, &str)]| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            for (kind, text) in parts {
                params.distinguished_name.push(kind.clone(), *text);
            }
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            issuer(certificate.der())
        };
        let organisation = (DnType::OrganizationName, "Contoso");
        assert_eq!(
            of(std::slice::from_ref(&organisation)).as_deref(),
            Some("Contoso")
        );
        let both = of(&[organisation, (DnType::CommonName, "Contoso\u{1b}[2J Root")]);
        assert_eq!(both.as_deref(), Some("Contoso[2J Root"));
        assert_eq!(of(&[]), None);
        for nonsense in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(issuer(nonsense), None);
        }
    }
}
