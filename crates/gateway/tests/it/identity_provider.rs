//! An identity provider that imitates Entra, as far as the gateway needs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::Clock;
use serde_json::{Value, json};

pub(crate) const TENANT: &str = "8f1c6e4e-0000-4000-8000-000000000001";
pub(crate) const CLIENT_ID: &str = "11111111-0000-4000-8000-000000000001";
pub(crate) const CLIENT_SECRET: &str = "canary-entra-client-secret";

/// A running provider.
#[derive(Clone)]
pub(crate) struct IdentityProvider {
    pub(crate) origin: String,
    state: Arc<Mutex<Known>>,
    clock: Clock,
}

/// The data and the behaviour of the provider.
struct Known {
    person: &'static str,
    codes: HashMap<String, HashMap<String, String>>,
    issued: u32,
    discoveries: u32,
    behaviour: Behaviour,
    /// The requests at the token endpoint.
    requests: Vec<HashMap<String, String>>,
}

/// The behaviour that a test can change.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// Parameters of the callback instead of a code.
    pub(crate) callback: Option<Vec<(&'static str, &'static str)>>,
    /// The response of the token endpoint instead of tokens.
    pub(crate) token_error: Option<(u16, Value)>,
    /// Whether its metadata is unavailable.
    pub(crate) no_metadata: bool,
    /// Claims that replace those of the id token.
    pub(crate) claims: Option<Value>,
    /// Whether it signs with a key other than the published one.
    pub(crate) foreign_key: bool,
    /// The lifetime of tokens in seconds, if not an hour.
    pub(crate) life: Option<u64>,
    /// The id of the key, published and used.
    pub(crate) key_id: Option<&'static str>,
}

impl IdentityProvider {
    pub(crate) async fn start(clock: Clock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            clock,
            state: Arc::new(Mutex::new(Known {
                person: "ada",
                codes: HashMap::new(),
                issued: 0,
                discoveries: 0,
                behaviour: Behaviour::default(),
                requests: Vec::new(),
            })),
        };
        let base = format!("/{TENANT}");
        let router = Router::new()
            .route(
                &format!("{base}/v2.0/.well-known/openid-configuration"),
                get(discovery),
            )
            .route(&format!("{base}/keys"), get(keys))
            .route(&format!("{base}/authorize"), get(authorize))
            .route(&format!("{base}/token"), post(token))
            .with_state(provider.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        provider
    }

    pub(crate) fn authority(&self) -> String {
        format!("{}/{TENANT}/v2.0", self.origin)
    }

    /// Sets the user who signs in from now on. All users have a session at the provider.
    pub(crate) fn sign_in_as(&self, person: &'static str) {
        self.state.lock().unwrap().person = person;
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().behaviour = behaviour;
    }

    /// Returns the requests at the token endpoint so far.
    pub(crate) fn requests(&self) -> Vec<HashMap<String, String>> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Returns how often its metadata was requested.
    pub(crate) fn discoveries(&self) -> u32 {
        self.state.lock().unwrap().discoveries
    }

    /// Returns how often a code was redeemed.
    pub(crate) fn redemptions(&self) -> usize {
        let is_code = |request: &&HashMap<_, _>| request["grant_type"] == "authorization_code";
        self.requests().iter().filter(is_code).count()
    }

    /// Returns how often a refresh token was used.
    pub(crate) fn refreshes(&self) -> usize {
        let is_refresh = |request: &&HashMap<_, _>| request["grant_type"] == "refresh_token";
        self.requests().iter().filter(is_refresh).count()
    }

    fn behaviour(&self) -> Behaviour {
        self.state.lock().unwrap().behaviour.clone()
    }
}

async fn discovery(
    State(provider): State<IdentityProvider>,
) -> Result<axum::Json<Value>, StatusCode> {
    provider.state.lock().unwrap().discoveries += 1;
    if provider.behaviour().no_metadata {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let base = format!("{}/{TENANT}", provider.origin);
    Ok(axum::Json(json!({
        "issuer": provider.authority(),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/keys"),
    })))
}

async fn keys(State(provider): State<IdentityProvider>) -> axum::Json<Value> {
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(key(false), Algorithm::RS256).unwrap())
            .unwrap();
    jwk["kid"] = json!(provider.behaviour().key_id.unwrap_or("key-1"));
    jwk["use"] = json!("sig");
    jwk["issuer"] = json!(provider.authority());
    axum::Json(json!({"keys": [{"kty": "unheard-of", "kid": "x"}, jwk]}))
}

async fn authorize(
    State(provider): State<IdentityProvider>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], CLIENT_ID);
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(!asked.contains_key("resource"), "AADSTS9010010");
    let mut back = url::Url::parse(&asked["redirect_uri"]).unwrap();
    let behaviour = provider.behaviour();
    if let Some(callback) = behaviour.callback {
        back.query_pairs_mut().extend_pairs(callback);
    } else {
        let mut known = provider.state.lock().unwrap();
        known.issued += 1;
        let code = format!("canary-entra-code-{}", known.issued);
        let mut kept = asked.clone();
        kept.insert("person".to_owned(), known.person.to_owned());
        known.codes.insert(code.clone(), kept);
        back.query_pairs_mut().append_pair("code", &code);
    }
    back.query_pairs_mut().append_pair("state", &asked["state"]);
    Redirect::to(back.as_str()).into_response()
}

async fn token(
    State(provider): State<IdentityProvider>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    provider.state.lock().unwrap().requests.push(form.clone());
    let behaviour = provider.behaviour();
    if let Some((status, error)) = behaviour.token_error {
        return (StatusCode::from_u16(status).unwrap(), axum::Json(error)).into_response();
    }
    assert_eq!(form["client_id"], CLIENT_ID);
    check_credential(&provider, &form);
    assert!(!form.contains_key("resource"), "AADSTS9010010");
    let asked = match form["grant_type"].as_str() {
        "authorization_code" => {
            let asked = provider
                .state
                .lock()
                .unwrap()
                .codes
                .remove(&form["code"])
                .unwrap();
            let verifier = &form["code_verifier"];
            assert!((43..=128).contains(&verifier.len()), "T22");
            assert_eq!(super::client::s256(verifier), asked["code_challenge"]);
            assert_eq!(form["redirect_uri"], asked["redirect_uri"]);
            asked
        }
        "refresh_token" => {
            assert!(form["refresh_token"].starts_with("canary-entra-refresh-"));
            HashMap::new()
        }
        other => panic!("{other}"),
    };
    axum::Json(provider.tokens(&asked, &behaviour)).into_response()
}

/// Checks the client's credential: a secret, or an assertion that the certificate signed, or one of a
/// federated credential.
fn check_credential(provider: &IdentityProvider, form: &HashMap<String, String>) {
    let Some(assertion) = form.get("client_assertion") else {
        assert_eq!(form["client_secret"], CLIENT_SECRET);
        return;
    };
    assert!(!form.contains_key("client_secret"));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(form["client_assertion_type"], kind);
    if assertion.starts_with("federated-") {
        return;
    }
    let mut validation = jsonwebtoken::Validation::new(Algorithm::PS256);
    validation.validate_exp = false;
    let token_endpoint = format!("{}/{TENANT}/token", provider.origin);
    validation.set_audience(&[token_endpoint]);
    validation.set_issuer(&[CLIENT_ID]);
    let jwk = Jwk::from_encoding_key(key(true), Algorithm::PS256).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let token = jsonwebtoken::decode::<Value>(assertion, &key, &validation).unwrap();
    assert_eq!(
        token.header.x5t_s256.as_deref(),
        Some(&*super::client::s256("certificate"))
    );
    let life = token.claims["exp"].as_u64().unwrap() - provider.clock.unix();
    assert!(life <= 600 && token.claims["sub"] == CLIENT_ID);
}

impl IdentityProvider {
    fn tokens(&self, asked: &HashMap<String, String>, behaviour: &Behaviour) -> Value {
        let number = {
            let mut known = self.state.lock().unwrap();
            known.issued += 1;
            known.issued
        };
        let mut tokens = json!({
            "token_type": "Bearer",
            "expires_in": behaviour.life.unwrap_or(3600),
            "scope": "openid profile",
            "access_token": format!("canary-entra-access-{number}"),
            "refresh_token": format!("canary-entra-refresh-{number}"),
        });
        if let Some(person) = asked.get("person") {
            let now = self.clock.unix();
            let mut claims = json!({
                "iss": self.authority(), "aud": CLIENT_ID, "tid": TENANT,
                "oid": format!("oid-{person}"), "sub": format!("sub-{person}"),
                "iat": now, "nbf": now, "exp": now + 3600, "nonce": asked["nonce"],
                "name": person, "preferred_username": format!("{person}@contoso.example"),
            });
            for (name, value) in behaviour.claims.iter().flat_map(|c| c.as_object().unwrap()) {
                claims[name] = value.clone();
            }
            let mut header = Header::new(Algorithm::RS256);
            header.kid = Some(behaviour.key_id.unwrap_or("key-1").to_owned());
            let signed = jsonwebtoken::encode(&header, &claims, key(behaviour.foreign_key));
            tokens["id_token"] = json!(signed.unwrap());
        }
        tokens
    }
}

/// Returns the provider's signing key, or another one. Created once per run.
fn key(foreign: bool) -> &'static EncodingKey {
    static KEYS: [OnceLock<EncodingKey>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[usize::from(foreign)]
        .get_or_init(|| EncodingKey::from_rsa_pem(pem(foreign).as_bytes()).unwrap())
}

/// Returns the same key as PEM.
pub(crate) fn pem(foreign: bool) -> &'static str {
    static KEYS: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[usize::from(foreign)].get_or_init(|| {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    })
}
