//! Programs that sign in as themselves.

use std::time::Duration;

use auth::{AuthorizationError, ConsentsError, SignInError, Target};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use model::config::{ClientCredentials, MachineIssuer, MachineProof, ServerAuth};
use model::{Issuer, Resource, SecretName};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::START;
use super::authority::{Authority, Parameters, TENANT, Trouble};
use super::fixture::{Desk, shown};

const DISCOVERED: MachineIssuer = MachineIssuer::Discovered { resource: None };

fn entra(desk: &Desk) -> MachineIssuer {
    MachineIssuer::Entra {
        authority: Issuer::new(format!("{}/{TENANT}/v2.0", desk.authority.origin)),
        resource: Resource::new("api://the-api"),
    }
}

fn target(desk: &Desk, proof: MachineProof, issuer: MachineIssuer) -> Target {
    desk.target_with(ServerAuth::ClientCredentials(ClientCredentials {
        client_id: "a program".to_owned(),
        proof,
        issuer,
        scopes: Vec::new(),
    }))
}

/// A program with the secret `s3cret:1`.
async fn with_secret(desk: &Desk) -> Target {
    let name: SecretName = "crm".parse().unwrap();
    let kept = desk.identity.keep_secret(name.clone(), "s3cret:1").await;
    kept.unwrap();
    target(desk, MachineProof::Secret(name), DISCOVERED)
}

fn requests(desk: &Desk) -> Vec<Parameters> {
    desk.authority.grants("client_credentials")
}

async fn refusal(desk: &Desk, target: &Target) -> String {
    let refused = desk.identity.authorization(target).await.unwrap_err();
    assert!(
        matches!(refused, AuthorizationError::NotGranted { .. }),
        "{refused}"
    );
    refused.to_string()
}

#[tokio::test]
async fn a_secret_brings_a_token_and_in_time_another() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let asking = || desk.identity.authorization(&target);
    let (one, other) = tokio::join!(asking(), asking());
    assert_eq!(shown(&one.unwrap().unwrap()), "Bearer access-1");
    assert_eq!(shown(&other.unwrap().unwrap()), "Bearer access-1");
    assert_eq!(requests(&desk).len(), 1, "one request, however many ask");
    desk.advance(3299);
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    desk.advance(1);
    let after = desk.header_after_refresh(&target, "Bearer access-1").await;
    assert_eq!(after, "Bearer access-2");

    let asked = &requests(&desk)[0];
    let pair = BASE64_STANDARD.encode("a+program:s3cret%3A1");
    assert_eq!(asked["basic"], format!("Basic {pair}"));
    assert_eq!(asked["scope"], "mcp.read");
    assert_eq!(asked["resource"], format!("{}/mcp", desk.authority.origin));
    assert!(!asked.contains_key("client_secret"));
    let account = desk.identity.account_for(&target).unwrap();
    assert_eq!(account.key.subject, "a program");
    assert!(desk.identity.accounts().await.is_empty(), "it is nobody");
    assert!(desk.authority.asked("register").is_empty());
    assert!(desk.authority.asked("authorize").is_empty());
    let sign_in = desk.begin(&target).await;
    assert!(matches!(
        sign_in.map(|_| ()),
        Err(SignInError::NotForPeople { .. })
    ));
}

#[tokio::test]
async fn a_secret_goes_where_the_metadata_says() {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    });
    let target = with_secret(&desk).await;
    desk.header(&target).await;
    let asked = &requests(&desk)[0];
    assert_eq!(asked["client_id"], "a program");
    assert_eq!(asked["client_secret"], "s3cret:1");
    assert!(!asked.contains_key("basic"));

    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    });
    let told = refusal(&desk, &with_secret(&desk).await).await;
    assert!(told.contains("takes no client secret"), "{told}");
    assert!(requests(&desk).is_empty());
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_not_for_ever() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let first = desk.identity.authorization(&target).await.unwrap().unwrap();
    desk.identity.refused(&target, &first, None).await;
    let second = desk.identity.authorization(&target).await.unwrap().unwrap();
    assert_eq!(shown(&second), "Bearer access-2");
    desk.identity.refused(&target, &first, None).await;
    assert_eq!(desk.header(&target).await, "Bearer access-2", "old news");
    desk.identity.refused(&target, &second, None).await;
    let told = refusal(&desk, &target).await;
    assert!(told.contains("hint: check the scopes"), "{told}");
    assert_eq!(requests(&desk).len(), 2);
    desk.advance(60);
    assert_eq!(desk.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn a_refusal_is_told_and_not_asked_for_again_at_once() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired" });
    let trouble = Trouble::Refusal(StatusCode::UNAUTHORIZED, body);
    desk.authority.set(|b| b.trouble = Some(trouble));
    for _ in 0..3 {
        let told = refusal(&desk, &target).await;
        assert!(told.contains("the client secret has expired"), "{told}");
        assert!(told.contains("hint: make a new one"), "{told}");
    }
    assert_eq!(requests(&desk).len(), 1);
    desk.authority.set(|b| b.trouble = None);
    desk.advance(60);
    assert_eq!(desk.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn while_the_server_is_away_the_old_token_does() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    desk.header(&target).await;
    let busy = Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, Some("120"));
    desk.authority.set(|b| b.trouble = Some(busy));
    desk.advance(3400);
    for _ in 0..3 {
        let after = desk.header_after_refresh(&target, "Bearer access-1").await;
        assert_eq!(after, "Bearer access-1");
    }
    assert_eq!(requests(&desk).len(), 2, "it asked to be left alone");
    desk.advance(200);
    let away = desk.identity.authorization(&target).await.unwrap_err();
    assert!(
        matches!(away, AuthorizationError::Unreachable { .. }),
        "{away}"
    );
    desk.authority.set(|b| b.trouble = None);
    desk.advance(120);
    assert_eq!(desk.header(&target).await, "Bearer access-2");
}

#[tokio::test]
async fn usable_token_of_program_is_sent_while_another_is_asked_for() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    desk.header(&target).await;
    desk.advance(3400);
    let permits = desk.authority.hold_back();
    for _ in 0..3 {
        let asking = desk.header(&target);
        let sent = tokio::time::timeout(Duration::from_secs(20), asking).await;
        assert_eq!(sent.expect("nothing is waited for"), "Bearer access-1");
    }
    desk.authority.gate.add_permits(permits);
    desk.identity.settled().await;
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    assert_eq!(requests(&desk).len(), 2);
}

#[tokio::test]
async fn consents_that_refuse_a_program_leave_server_its_token() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let other = Authority::start().await;
    let elsewhere = format!("{}/account/consents", other.origin);
    desk.authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    desk.identity.consents(&target).await.unwrap_err();
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    assert_eq!(requests(&desk).len(), 2);
}

#[tokio::test]
async fn consents_that_a_program_may_not_see_are_for_its_rights_and_no_sign_in() {
    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    assert_eq!(desk.identity.consents(&target).await.unwrap().len(), 1);
    desk.authority.end_access();
    assert_eq!(desk.identity.consents(&target).await.unwrap().len(), 1);
    assert_eq!(requests(&desk).len(), 2);

    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let other = Authority::start().await;
    let elsewhere = format!("{}/account/consents", other.origin);
    desk.authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    let refused = desk.identity.consents(&target).await.unwrap_err();
    assert!(
        refused.to_string().contains("give the client access"),
        "{refused}"
    );
    assert_eq!(requests(&desk).len(), 2, "no third token");

    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    let body = json!({ "error": "invalid_client", "error_description": "AADSTS7000222: expired" });
    let trouble = Trouble::Refusal(StatusCode::UNAUTHORIZED, body);
    desk.authority.set(|b| b.trouble = Some(trouble));
    let refused = desk.identity.revoke_consent(&target, "c/1").await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("the client secret has expired"), "{told}");
    assert!(!told.contains("sign in"), "{told}");

    let desk = Desk::new().await;
    let target = with_secret(&desk).await;
    desk.authority
        .set(|b| b.metadata["consents_endpoint"] = Value::Null);
    let none = desk.identity.consents(&target).await;
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

    fn proof(&self) -> MachineProof {
        MachineProof::Certificate {
            cert: self.folder.path().join("cert.pem"),
            key: self.folder.path().join("key.pem"),
        }
    }

    /// The assertion of a request, which this certificate's key has signed for `audience`.
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
async fn entra_finds_the_certificate_by_its_thumbprint() {
    let desk = Desk::new().await;
    let certificate = Certificate::rsa();
    let target = target(&desk, certificate.proof(), entra(&desk));
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    desk.advance(3600);
    desk.header(&target).await;
    let asked = requests(&desk);
    let endpoint = format!("{}/token", desk.authority.origin);
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
async fn elsewhere_the_key_signs_for_the_issuer_as_both_can() {
    let curve = Certificate::of(KeyPair::generate().unwrap());
    let rsa = Certificate::rsa();
    for (certificate, offered, algorithm) in [
        (&curve, json!(["RS256", "ES256"]), Algorithm::ES256),
        (&curve, Value::Null, Algorithm::ES256),
        (&rsa, json!(["RS256", "PS256"]), Algorithm::PS256),
        (&rsa, json!(["RS256"]), Algorithm::RS256),
        (&rsa, Value::Null, Algorithm::RS256),
    ] {
        let desk = Desk::new().await;
        desk.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
            b.metadata["token_endpoint_auth_signing_alg_values_supported"] = offered.clone();
        });
        desk.header(&target(&desk, certificate.proof(), DISCOVERED))
            .await;
        let issuer = &desk.authority.origin;
        certificate.read(&requests(&desk)[0], algorithm, issuer);
    }
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.metadata["token_endpoint_auth_signing_alg_values_supported"] = json!(["RS256"]);
    });
    let told = refusal(&desk, &target(&desk, curve.proof(), DISCOVERED)).await;
    assert!(told.contains("which the key cannot make"), "{told}");
}

#[tokio::test]
async fn a_federated_token_is_read_anew_each_time() {
    let desk = Desk::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let target = target(&desk, MachineProof::TokenFile(path.clone()), entra(&desk));
    let told = refusal(&desk, &target).await;
    assert!(told.contains("cannot be read"), "{told}");
    for text in ["first\n", "second"] {
        std::fs::write(&path, text).unwrap();
        desk.advance(3600);
        desk.header(&target).await;
    }
    let asked = requests(&desk);
    let assertions: Vec<_> = asked.iter().map(|one| &*one["client_assertion"]).collect();
    assert_eq!(assertions, ["first", "second"]);
}

#[tokio::test]
async fn a_proof_that_is_not_there_is_named() {
    let desk = Desk::new().await;
    let missing = MachineProof::Secret("crm".parse().unwrap());
    let told = refusal(&desk, &target(&desk, missing, DISCOVERED)).await;
    assert!(told.contains("`postern secrets set crm`"), "{told}");
    let certificate = Certificate::of(KeyPair::generate().unwrap());
    let told = refusal(&desk, &target(&desk, certificate.proof(), entra(&desk))).await;
    assert!(told.contains("Entra takes RSA keys alone"), "{told}");
    std::fs::write(certificate.folder.path().join("key.pem"), "hush").unwrap();
    let told = refusal(&desk, &target(&desk, certificate.proof(), DISCOVERED)).await;
    assert!(told.contains("no RSA key in PEM"), "{told}");
    assert!(!told.contains("hush"), "{told}");
}
