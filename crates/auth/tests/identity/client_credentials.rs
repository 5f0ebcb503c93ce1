//! The client credentials grant.

use std::time::Duration;

use auth::{AuthorizationError, ConsentsError, SignInError, Target};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use model::config::{ClientCredential, ClientCredentials, ServerAuth, TokenIssuer};
use model::{Issuer, Resource, SecretName};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::START;
use super::authority::{Authority, Parameters, TENANT, Trouble};
use super::fixture::{Fixture, shown};

const DISCOVERED: TokenIssuer = TokenIssuer::Discovered { resource: None };

fn entra(fixture: &Fixture) -> TokenIssuer {
    TokenIssuer::Entra {
        authority: Issuer::new(format!("{}/{TENANT}/v2.0", fixture.authority.origin)),
        resource: Resource::new("api://the-api"),
    }
}

fn target(fixture: &Fixture, proof: ClientCredential, issuer: TokenIssuer) -> Target {
    fixture.target_with(ServerAuth::ClientCredentials(ClientCredentials {
        client_id: "a program".to_owned(),
        proof,
        issuer,
        scopes: Vec::new(),
    }))
}

/// Returns a target with the secret `s3cret:1`.
async fn with_secret(fixture: &Fixture) -> Target {
    let name: SecretName = "crm".parse().unwrap();
    let kept = fixture.identity.keep_secret(name.clone(), "s3cret:1").await;
    kept.unwrap();
    target(fixture, ClientCredential::Secret(name), DISCOVERED)
}

fn requests(fixture: &Fixture) -> Vec<Parameters> {
    fixture.authority.grants("client_credentials")
}

async fn refusal(fixture: &Fixture, target: &Target) -> String {
    let refused = fixture.identity.authorization(target).await.unwrap_err();
    assert!(
        matches!(refused, AuthorizationError::NotGranted { .. }),
        "{refused}"
    );
    refused.to_string()
}

#[tokio::test]
async fn secret_gets_token_and_refreshes_it() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let asking = || fixture.identity.authorization(&target);
    let (one, other) = tokio::join!(asking(), asking());
    assert_eq!(shown(&one.unwrap().unwrap()), "Bearer access-1");
    assert_eq!(shown(&other.unwrap().unwrap()), "Bearer access-1");
    assert_eq!(requests(&fixture).len(), 1, "one request, however many ask");
    fixture.advance(3299);
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    fixture.advance(1);
    let after = fixture
        .header_after_refresh(&target, "Bearer access-1")
        .await;
    assert_eq!(after, "Bearer access-2");

    let asked = &requests(&fixture)[0];
    let pair = BASE64_STANDARD.encode("a+program:s3cret%3A1");
    assert_eq!(asked["basic"], format!("Basic {pair}"));
    assert_eq!(asked["scope"], "mcp.read");
    assert_eq!(
        asked["resource"],
        format!("{}/mcp", fixture.authority.origin)
    );
    assert!(!asked.contains_key("client_secret"));
    let account = fixture.identity.account_for(&target).unwrap();
    assert_eq!(account.key.subject, "a program");
    assert!(
        fixture.identity.accounts().await.is_empty(),
        "no user is signed in"
    );
    assert!(fixture.authority.asked("register").is_empty());
    assert!(fixture.authority.asked("authorize").is_empty());
    let sign_in = fixture.begin(&target).await;
    assert!(matches!(
        sign_in.map(|_| ()),
        Err(SignInError::NotForPeople { .. })
    ));
}

#[tokio::test]
async fn secret_uses_method_of_metadata() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    });
    let target = with_secret(&fixture).await;
    fixture.header(&target).await;
    let asked = &requests(&fixture)[0];
    assert_eq!(asked["client_id"], "a program");
    assert_eq!(asked["client_secret"], "s3cret:1");
    assert!(!asked.contains_key("basic"));

    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    });
    let told = refusal(&fixture, &with_secret(&fixture).await).await;
    assert!(told.contains("accepts no client secret"), "{told}");
    assert!(requests(&fixture).is_empty());
}

#[tokio::test]
async fn refused_token_is_replaced_once() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let first = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    fixture.identity.refused(&target, &first, None).await;
    let second = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown(&second), "Bearer access-2");
    fixture.identity.refused(&target, &first, None).await;
    assert_eq!(fixture.header(&target).await, "Bearer access-2", "old news");
    fixture.identity.refused(&target, &second, None).await;
    let told = refusal(&fixture, &target).await;
    assert!(told.contains("hint: check the scopes"), "{told}");
    assert_eq!(requests(&fixture).len(), 2);
    fixture.advance(60);
    assert_eq!(fixture.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn error_response_is_explained_and_backed_off() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired" });
    let trouble = Trouble::Refusal(StatusCode::UNAUTHORIZED, body);
    fixture.authority.set(|b| b.trouble = Some(trouble));
    for _ in 0..3 {
        let told = refusal(&fixture, &target).await;
        assert!(told.contains("the client secret has expired"), "{told}");
        assert!(told.contains("hint: make a new one"), "{told}");
    }
    assert_eq!(requests(&fixture).len(), 1);
    fixture.authority.set(|b| b.trouble = None);
    fixture.advance(60);
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn valid_token_is_used_while_issuer_is_unreachable() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    fixture.header(&target).await;
    let busy = Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, Some("120"));
    fixture.authority.set(|b| b.trouble = Some(busy));
    fixture.advance(3400);
    for _ in 0..3 {
        let after = fixture
            .header_after_refresh(&target, "Bearer access-1")
            .await;
        assert_eq!(after, "Bearer access-1");
    }
    assert_eq!(requests(&fixture).len(), 2, "it asked to be left alone");
    fixture.advance(200);
    let away = fixture.identity.authorization(&target).await.unwrap_err();
    assert!(
        matches!(away, AuthorizationError::Unreachable { .. }),
        "{away}"
    );
    fixture.authority.set(|b| b.trouble = None);
    fixture.advance(120);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
}

#[tokio::test]
async fn valid_token_is_used_during_token_request() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    fixture.header(&target).await;
    fixture.advance(3400);
    let permits = fixture.authority.hold_back();
    for _ in 0..3 {
        let asking = fixture.header(&target);
        let sent = tokio::time::timeout(Duration::from_secs(20), asking).await;
        assert_eq!(sent.expect("nothing is waited for"), "Bearer access-1");
    }
    fixture.authority.gate.add_permits(permits);
    fixture.identity.settled().await;
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    assert_eq!(requests(&fixture).len(), 2);
}

#[tokio::test]
async fn consents_refusal_keeps_server_token() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let other = Authority::start().await;
    let elsewhere = format!("{}/account/consents", other.origin);
    fixture
        .authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    fixture.identity.consents(&target).await.unwrap_err();
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    assert_eq!(requests(&fixture).len(), 2);
}

#[tokio::test]
async fn consents_refusal_reports_missing_access() {
    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    assert_eq!(fixture.identity.consents(&target).await.unwrap().len(), 1);
    fixture.authority.end_access();
    assert_eq!(fixture.identity.consents(&target).await.unwrap().len(), 1);
    assert_eq!(requests(&fixture).len(), 2);

    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let other = Authority::start().await;
    let elsewhere = format!("{}/account/consents", other.origin);
    fixture
        .authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    let refused = fixture.identity.consents(&target).await.unwrap_err();
    assert!(
        refused.to_string().contains("give the client access"),
        "{refused}"
    );
    assert_eq!(requests(&fixture).len(), 2, "no third token");

    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired" });
    let trouble = Trouble::Refusal(StatusCode::UNAUTHORIZED, body);
    fixture.authority.set(|b| b.trouble = Some(trouble));
    let refused = fixture.identity.revoke_consent(&target, "c/1").await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("the client secret has expired"), "{told}");
    assert!(!told.contains("sign in"), "{told}");

    let fixture = Fixture::new().await;
    let target = with_secret(&fixture).await;
    fixture
        .authority
        .set(|b| b.metadata["consents_endpoint"] = Value::Null);
    let none = fixture.identity.consents(&target).await;
    assert!(matches!(none, Err(ConsentsError::NotOffered { .. })));
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

/// A certificate and its key in files.
struct Certificate {
    folder: TempDir,
    key: KeyPair,
    der: Vec<u8>,
}

impl Certificate {
    fn of(key: KeyPair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        std::fs::write(
            folder.path().join("cert.pem"),
            pem("CERTIFICATE", certificate.der()),
        )
        .unwrap();
        std::fs::write(
            folder.path().join("key.pem"),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
        .unwrap();
        Self {
            folder,
            key,
            der: certificate.der().to_vec(),
        }
    }

    fn rsa() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        Self::of(key.unwrap())
    }

    fn proof(&self) -> ClientCredential {
        ClientCredential::Certificate {
            cert: self.folder.path().join("cert.pem"),
            key: self.folder.path().join("key.pem"),
        }
    }

    /// Verifies and decodes the assertion of a request for `audience`.
    fn read(&self, asked: &Parameters, algorithm: Algorithm, audience: &str) -> TokenData<Value> {
        assert_eq!(
            asked["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert_eq!(asked["client_id"], "a program");
        let public = self.key.public_key_raw();
        let key = match algorithm {
            Algorithm::ES256 => DecodingKey::from_ec_der(public),
            _ => DecodingKey::from_rsa_der(public),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[audience]);
        validation.validate_exp = false;
        jsonwebtoken::decode(&asked["client_assertion"], &key, &validation).unwrap()
    }
}

#[tokio::test]
async fn entra_assertion_has_thumbprint() {
    let fixture = Fixture::new().await;
    let certificate = Certificate::rsa();
    let target = target(&fixture, certificate.proof(), entra(&fixture));
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    fixture.advance(3600);
    fixture.header(&target).await;
    let asked = requests(&fixture);
    let endpoint = format!("{}/token", fixture.authority.origin);
    let read = |asked| certificate.read(asked, Algorithm::PS256, &endpoint);
    let (first, second) = (read(&asked[0]), read(&asked[1]));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.der);
    assert_eq!(
        first.header.x5t_s256,
        Some(BASE64_URL_SAFE_NO_PAD.encode(digest))
    );
    let claims = &first.claims;
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("a program"), &json!("a program"))
    );
    assert_eq!(claims["iat"], START);
    assert_eq!(claims["exp"], START + 300);
    assert_ne!(claims["jti"], second.claims["jti"], "each is used once");
    assert_eq!(asked[0]["scope"], "api://the-api/.default");
    assert!(!asked[0].contains_key("resource"));
}

#[tokio::test]
async fn assertion_uses_common_algorithm() {
    let curve = Certificate::of(KeyPair::generate().unwrap());
    let rsa = Certificate::rsa();
    for (certificate, offered, algorithm) in [
        (&curve, json!(["RS256", "ES256"]), Algorithm::ES256),
        (&curve, Value::Null, Algorithm::ES256),
        (&rsa, json!(["RS256", "PS256"]), Algorithm::PS256),
        (&rsa, json!(["RS256"]), Algorithm::RS256),
        (&rsa, Value::Null, Algorithm::RS256),
    ] {
        let fixture = Fixture::new().await;
        fixture.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
            b.metadata["token_endpoint_auth_signing_alg_values_supported"] = offered.clone();
        });
        fixture
            .header(&target(&fixture, certificate.proof(), DISCOVERED))
            .await;
        let issuer = &fixture.authority.origin;
        certificate.read(&requests(&fixture)[0], algorithm, issuer);
    }
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.metadata["token_endpoint_auth_signing_alg_values_supported"] = json!(["RS256"]);
    });
    let told = refusal(&fixture, &target(&fixture, curve.proof(), DISCOVERED)).await;
    assert!(told.contains("none of which fits the key"), "{told}");
}

#[tokio::test]
async fn federated_token_is_read_for_each_request() {
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let target = target(
        &fixture,
        ClientCredential::TokenFile(path.clone()),
        entra(&fixture),
    );
    let told = refusal(&fixture, &target).await;
    assert!(told.contains("cannot be read"), "{told}");
    for text in ["first\n", "second"] {
        std::fs::write(&path, text).unwrap();
        fixture.advance(3600);
        fixture.header(&target).await;
    }
    let asked = requests(&fixture);
    let assertions: Vec<_> = asked.iter().map(|one| &*one["client_assertion"]).collect();
    assert_eq!(assertions, ["first", "second"]);
}

#[tokio::test]
async fn missing_credential_is_reported() {
    let fixture = Fixture::new().await;
    let missing = ClientCredential::Secret("crm".parse().unwrap());
    let told = refusal(&fixture, &target(&fixture, missing, DISCOVERED)).await;
    assert!(told.contains("`postern secrets set crm`"), "{told}");
    let certificate = Certificate::of(KeyPair::generate().unwrap());
    let told = refusal(
        &fixture,
        &target(&fixture, certificate.proof(), entra(&fixture)),
    )
    .await;
    assert!(told.contains("Entra accepts RSA keys only"), "{told}");
    std::fs::write(certificate.folder.path().join("key.pem"), "hush").unwrap();
    let told = refusal(&fixture, &target(&fixture, certificate.proof(), DISCOVERED)).await;
    assert!(told.contains("neither PEM RSA nor PKCS #8"), "{told}");
    assert!(!told.contains("hush"), "{told}");
}
