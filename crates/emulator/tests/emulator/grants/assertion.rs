//! Client assertions signed with a certificate.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use emulator::{Certificate, Tenant, demo};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{gateway, granted, reports};
use crate::harness::Harness;
use crate::tokens::claims;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A certificate and its key.
struct Pair {
    der: Vec<u8>,
    key: EncodingKey,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let signing =
            EncodingKey::from_rsa_pem(pem("PRIVATE KEY", key.serialized_der()).as_bytes());
        Self {
            der: certificate.der().to_vec(),
            key: signing.unwrap(),
        }
    }

    fn sha256(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der))
    }

    fn sha1(&self) -> String {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        URL_SAFE.encode(digest)
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

/// Shared, because generating RSA keys is slow.
fn registered() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

async fn harness() -> Harness {
    let mut tenant = Tenant::demo("http://localhost/cb");
    let file = pem("CERTIFICATE", &registered().der);
    let certificate = Certificate::from_pem(file.as_bytes()).unwrap();
    tenant.apps[1].certificates = vec![certificate];
    Harness::with(tenant).await
}

fn ps256() -> Header {
    Header {
        x5t_s256: Some(registered().sha256()),
        ..Header::new(Algorithm::PS256)
    }
}

fn good(harness: &Harness) -> Value {
    let now = harness.clock.clock().unix();
    json!({
        "iss": demo::GATEWAY_CLIENT_ID, "sub": demo::GATEWAY_CLIENT_ID, "jti": "1",
        "aud": harness.url("/oauth2/v2.0/token"), "nbf": now, "iat": now, "exp": now + 600,
    })
}

fn with(harness: &Harness, assertion: &str) -> RequestBuilder {
    let grant = [
        ("grant_type", "client_credentials"),
        ("scope", &reports()),
        ("client_secret", ""),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ];
    gateway(harness, &grant)
}

#[tokio::test]
async fn certificate_thumbprint_sha256_or_sha1_authenticates_client() {
    let harness = harness().await;
    let old = Header {
        x5t: Some(registered().sha1()),
        ..Header::new(Algorithm::RS256)
    };
    let issuer = json!(harness.issuer());
    for (header, audience) in [(ps256(), None), (old, None), (ps256(), Some(issuer))] {
        let mut asserted = good(&harness);
        asserted["exp"] = json!(asserted["exp"].as_f64().unwrap() + 0.25);
        if let Some(audience) = audience {
            asserted["aud"] = audience;
        }
        let assertion = registered().sign(&header, &asserted);
        let tokens = granted(with(&harness, &assertion)).await;
        assert_eq!(claims(&tokens["access_token"])["appidacr"], "2");
        granted(with(&harness, &assertion)).await;
    }
}

#[tokio::test]
async fn invalid_assertion_is_rejected() {
    let harness = harness().await;
    let now = harness.clock.clock().unix();
    let bridge = json!(demo::BRIDGE_CLIENT_ID);
    for (claim, value, code) in [
        (
            "aud",
            json!("https://login.microsoftonline.com/common/oauth2/v2.0/token"),
            700_023,
        ),
        ("exp", json!(now - 600), 700_024),
        ("nbf", json!(now + 600), 700_024),
        ("sub", bridge.clone(), 700_021),
        ("iss", bridge, 700_211),
        ("jti", Value::Null, 50_027),
        ("exp", Value::Null, 50_027),
    ] {
        let mut claims = good(&harness);
        claims[claim] = value;
        let assertion = registered().sign(&ps256(), &claims);
        let refused = with(&harness, &assertion);
        let body = harness
            .expect_error(refused, 401, "invalid_client", code)
            .await;
        assert!(!body.to_string().contains(&assertion));
    }
    for malformed in ["a", "a.b", "a.b.c", "a.b.c.d"] {
        let refused = with(&harness, malformed);
        harness
            .expect_error(refused, 401, "invalid_client", 50_027)
            .await;
    }
}

#[tokio::test]
async fn unregistered_certificate_is_rejected() {
    let harness = harness().await;
    let stranger = Pair::new();
    let unnamed = Header::new(Algorithm::PS256);
    let strangers = Header {
        x5t_s256: Some(stranger.sha256()),
        ..Header::new(Algorithm::PS256)
    };
    let claims = good(&harness);
    for assertion in [
        registered().sign(&unnamed, &claims),
        stranger.sign(&strangers, &claims),
        stranger.sign(&ps256(), &claims),
        registered().sign(
            &Header {
                alg: Algorithm::PS384,
                ..ps256()
            },
            &claims,
        ),
    ] {
        let refused = with(&harness, &assertion);
        harness
            .expect_error(refused, 401, "invalid_client", 700_027)
            .await;
    }
    let signed = registered().sign(&ps256(), &claims);
    let (rest, signature) = signed.rsplit_once('.').unwrap();
    let (header, _) = rest.split_once('.').unwrap();
    let mut other = claims.clone();
    other["jti"] = json!("2");
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    let swapped = with(&harness, &format!("{header}.{other}.{signature}"));
    harness
        .expect_error(swapped, 401, "invalid_client", 700_027)
        .await;
}

#[tokio::test]
async fn assertion_without_type_or_web_app_is_rejected() {
    let harness = harness().await;
    let assertion = registered().sign(&ps256(), &good(&harness));
    for (kind, code) in [
        ("", 900_144),
        ("urn:ietf:params:oauth:saml2-bearer", 9_002_313),
    ] {
        let grant = [
            ("grant_type", "client_credentials"),
            ("scope", &reports()),
            ("client_secret", ""),
            ("client_assertion_type", kind),
            ("client_assertion", &assertion),
        ];
        harness
            .expect_error(gateway(&harness, &grant), 400, "invalid_request", code)
            .await;
    }
    let public = harness.token(&[
        ("code", "x"),
        ("client_assertion_type", TYPE),
        ("client_assertion", &assertion),
    ]);
    harness
        .expect_error(public, 401, "invalid_client", 700_025)
        .await;
}

#[test]
fn certificate_must_be_rsa_in_pem() {
    let key = KeyPair::generate().unwrap();
    let elliptic = CertificateParams::default().self_signed(&key).unwrap();
    let file = pem("CERTIFICATE", elliptic.der());
    for (file, hint) in [(file.as_str(), "RSA key"), ("nothing", "in PEM")] {
        let error = Certificate::from_pem(file.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("hint: ") && error.contains(hint), "{error}");
    }
}
