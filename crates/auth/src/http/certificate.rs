//! Reads the name of a certificate's issuer (RFC 5280 §4.1.2.4), to show it to the user.
//!
//! Does not own: verifying certificates.

/// The DER tags on the path to the name (X.690).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const VERSION: u8 = 0xa0;

/// `commonName` and `organizationName`, the more telling one first.
const NAMES: [[u8; 3]; 2] = [[0x55, 0x04, 0x03], [0x55, 0x04, 0x0a]];

/// Returns the name of the issuer, or `None` if the certificate is malformed or has no such name.
pub(super) fn issuer(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, after)) = expect(VERSION, rest) {
        rest = after;
    }
    let (_, _, rest) = element(rest)?; // The serial number.
    let (_, rest) = expect(SEQUENCE, rest)?; // The signature's algorithm.
    let (name, _) = expect(SEQUENCE, rest)?;
    NAMES.iter().find_map(|wanted| part(name, *wanted))
}

/// Returns the last value of this kind in a name, which is the most specific one.
fn part(mut name: &[u8], wanted: [u8; 3]) -> Option<String> {
    let mut found = None;
    while let Some((set, rest)) = expect(SET, name) {
        name = rest;
        let (pair, _) = expect(SEQUENCE, set)?;
        let (kind, value) = expect(OBJECT_ID, pair)?;
        let (_, text, _) = element(value)?;
        if kind == wanted {
            found = Some(shown(text));
        }
    }
    found
}

/// Removes control characters from untrusted text, and limits its length.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(120).collect()
}

/// Returns the content of an element with this tag, and the rest.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Returns the tag and the content of the first element, and the rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, rest) = der.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        der = rest;
    }
    let (content, rest) = der.split_at_checked(length)?;
    Some((tag, content, rest))
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
