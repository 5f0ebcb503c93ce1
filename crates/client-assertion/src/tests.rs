use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _, RsaKeySize,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{Claims, Signer, SignerError};

const CLAIMS: Claims<'static> = Claims {
    client_id: "client",
    audience: "https://as.example/token",
    id: "unique",
    now: 1_000,
};

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn key(pair: &KeyPair) -> String {
    pem("PRIVATE KEY", pair.serialized_der())
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn certificate(pair: &KeyPair) -> String {
    let certificate = CertificateParams::default().self_signed(pair).unwrap();
    pem("CERTIFICATE", certificate.der())
}

fn algorithm(key: &str, offered: Option<&[&str]>) -> Result<Algorithm, SignerError> {
    let offered = offered.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let offered: Option<Vec<String>> = offered;
    Signer::for_server(key, offered.as_deref()).map(|signer| signer.algorithm)
}

#[test]
fn assertion_for_entra_names_certificate_and_is_signed_with_ps256() {
    let pair = rsa();
    let certificate = certificate(&pair);
    let signer = Signer::for_entra(&key(&pair), &certificate).unwrap();
    let assertion = signer.sign(&CLAIMS).unwrap();
    let mut validation = Validation::new(Algorithm::PS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation.set_audience(&[CLAIMS.audience]);
    let public = DecodingKey::from_rsa_der(pair.der_bytes());
    let token =
        jsonwebtoken::decode::<Value>(assertion.expose_secret(), &public, &validation).unwrap();
    let thumbprint = super::certificate::thumbprint(&certificate);
    assert!(thumbprint.is_some());
    assert_eq!(token.header.x5t_s256, thumbprint);
    assert_eq!(
        token.claims,
        serde_json::json!({
            "iss": "client", "sub": "client", "aud": "https://as.example/token",
            "jti": "unique", "nbf": 1_000, "iat": 1_000, "exp": 1_300,
        })
    );
}

#[test]
fn entra_needs_rsa_key_and_certificate() {
    let pair = rsa();
    let elliptic = KeyPair::generate().unwrap();
    let error = |key: &str, certificate: &str| Signer::for_entra(key, certificate).err();
    let certificate = certificate(&pair);
    assert_eq!(error("hush", &certificate), Some(SignerError::Key));
    let elliptic = key(&elliptic);
    assert_eq!(error(&elliptic, &certificate), Some(SignerError::NotRsa));
    assert_eq!(error(&key(&pair), "none"), Some(SignerError::Certificate));
}

#[test]
fn algorithm_fits_key_and_server() {
    let rsa = key(&rsa());
    assert_eq!(algorithm(&rsa, None), Ok(Algorithm::RS256));
    assert_eq!(
        algorithm(&rsa, Some(&["ES256", "RS256", "PS256"])),
        Ok(Algorithm::PS256)
    );
    assert_eq!(algorithm(&rsa, Some(&["RS256"])), Ok(Algorithm::RS256));
    let offered = ["ES256", "ES384"];
    let refused = algorithm(&rsa, Some(&offered)).unwrap_err();
    assert!(refused.to_string().contains("ES256, ES384"), "{refused}");
    let p256 = key(&KeyPair::generate().unwrap());
    assert_eq!(algorithm(&p256, None), Ok(Algorithm::ES256));
    let p384 = key(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    assert_eq!(algorithm(&p384, Some(&offered)), Ok(Algorithm::ES384));
    let ed = key(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
    assert_eq!(algorithm(&ed, None), Ok(Algorithm::EdDSA));
}
