//! An MCP server, its authorization server and an Entra-like authority in one process, which
//! record their requests.

mod client_credentials;
mod device;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, DATE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

pub(crate) type Parameters = BTreeMap<String, String>;
type Shared = State<Arc<Authority>>;

pub(crate) const TENANT: &str = "7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11";

/// How the servers behave. Tests change it.
pub(crate) struct Behaviour {
    /// The protected resource metadata. Null means 404.
    pub(crate) resource: Value,
    /// The authorization server metadata. Null means 404.
    pub(crate) metadata: Value,
    /// The metadata of the Entra-like authority.
    pub(crate) entra: Value,
    /// The `iss` of the authorization response.
    pub(crate) issuer: Option<String>,
    /// An error instead of the code.
    pub(crate) error: Option<(&'static str, &'static str)>,
    /// The response of the token endpoint instead of tokens.
    pub(crate) trouble: Option<Trouble>,
    /// The response to a refresh that requests `nbf`.
    pub(crate) claims_trouble: Option<Trouble>,
    pub(crate) lifetime: u64,
    pub(crate) refresh_in: Option<u64>,
    pub(crate) rotation: Rotation,
    /// The time in the `Date` header, in seconds since 1970.
    pub(crate) now: u64,
    /// The user at the Entra-like authority.
    pub(crate) person: &'static str,
    /// True if the server accepts requests without a token.
    pub(crate) open: bool,
    /// The response to a request without a token.
    pub(crate) refusal: (StatusCode, &'static str),
    /// True if the default endpoints exist.
    pub(crate) endpoints: bool,
    /// The response for unknown paths.
    pub(crate) absent: (StatusCode, &'static str),
    /// The behaviour of device codes.
    pub(crate) device: device::DeviceCodes,
    /// Additional members of the registration response.
    pub(crate) registered_with: Value,
    /// The audience of the access tokens. Makes them JWTs.
    pub(crate) audience: Option<String>,
    /// True if the origin confirms a claim to all of it (RFC 9728 §3.3).
    pub(crate) confirms_origin: bool,
}

/// What happens to a used refresh token.
#[derive(Clone, Copy)]
pub(crate) enum Rotation {
    /// It is replaced and becomes invalid.
    Strict,
    /// It is replaced and stays valid, as at Entra.
    Lenient,
    /// It is not replaced.
    None,
    /// There is none, which an empty text says.
    Empty,
}

#[derive(Clone)]
pub(crate) enum Trouble {
    Refusal(StatusCode, Value),
    Busy(StatusCode, Option<&'static str>),
    Portal,
}

pub(crate) struct Authority {
    pub(crate) origin: String,
    pub(crate) behaviour: Mutex<Behaviour>,
    books: Mutex<Books>,
    /// Permits for token requests, which a test may withhold.
    pub(crate) gate: Semaphore,
    /// Notified of each token request with a permit.
    pub(crate) arrivals: Notify,
}

#[derive(Default)]
struct Books {
    asked: Vec<(&'static str, Parameters)>,
    clients: BTreeSet<String>,
    codes: BTreeMap<String, Parameters>,
    refresh_tokens: BTreeMap<String, String>,
    access_tokens: BTreeSet<String>,
    consents: BTreeSet<String>,
    issued: u64,
}

impl Authority {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let authority = Arc::new(Self {
            behaviour: Mutex::new(Behaviour::usual(&origin)),
            books: Mutex::default(),
            gate: Semaphore::new(1000),
            arrivals: Notify::new(),
            origin,
        });
        authority.books().consents.insert("c/1".to_owned());
        let router = axum::Router::new()
            .route("/", get(time))
            .route("/mcp", get(mcp).post(mcp))
            .route("/post-only/mcp", get(absent).post(mcp))
            .route("/.well-known/oauth-protected-resource/mcp", get(resource))
            .route("/.well-known/oauth-protected-resource", get(of_origin))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route(
                "/{tenant}/v2.0/.well-known/openid-configuration",
                get(entra),
            )
            .route("/register", post(register))
            .route("/authorize", get(authorize))
            .route("/device_authorization", post(device::authorization))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/revoke", post(revoke))
            .route("/account/consents", get(consents))
            .route("/account/consents/{id}", delete(withdraw))
            .fallback(absent)
            .with_state(Arc::clone(&authority));
        tokio::spawn(async move { axum::serve(listener, router).await });
        authority
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// Returns the requests to one endpoint, in order.
    pub(crate) fn asked(&self, endpoint: &str) -> Vec<Parameters> {
        let books = self.books();
        let of_endpoint = books.asked.iter().filter(|(name, _)| *name == endpoint);
        of_endpoint
            .map(|(_, parameters)| parameters.clone())
            .collect()
    }

    /// Returns the token requests with this grant type.
    pub(crate) fn grants(&self, grant_type: &str) -> Vec<Parameters> {
        let mut asked = self.asked("token");
        asked.retain(|parameters| parameters["grant_type"] == grant_type);
        asked
    }

    pub(crate) fn forget_clients(&self) {
        self.books().clients.clear();
    }

    /// Blocks token requests. Adding the returned permits unblocks them.
    pub(crate) fn hold_back(&self) -> usize {
        let permits = self.gate.available_permits();
        self.gate.forget_permits(permits);
        permits
    }

    /// Waits for a token request with this grant type.
    pub(crate) async fn asked_for(&self, grant_type: &str) {
        while self.grants(grant_type).is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Invalidates all access tokens.
    pub(crate) fn end_access(&self) {
        self.books().access_tokens.clear();
    }

    /// Invalidates all refresh tokens too.
    pub(crate) fn end_sessions(&self) {
        self.end_access();
        self.books().refresh_tokens.clear();
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        let books = self.books();
        let tokens = books
            .access_tokens
            .iter()
            .chain(books.refresh_tokens.keys());
        tokens.chain(books.codes.keys()).cloned().collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn behave<T>(&self, look: impl FnOnce(&Behaviour) -> T) -> T {
        look(&self.behaviour.lock().unwrap())
    }

    fn note(&self, endpoint: &'static str, parameters: &Parameters) {
        self.books().asked.push((endpoint, parameters.clone()));
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| self.books().access_tokens.contains(token))
    }

    fn issue(&self, client: &str, asked: &Parameters) -> Value {
        let (lifetime, refresh_in, rotation) =
            self.behave(|b| (b.lifetime, b.refresh_in, b.rotation));
        let mut books = self.books();
        books.issued += 1;
        let number = books.issued;
        let access = match self.behave(|b| b.audience.clone()) {
            None => format!("access-{number}"),
            Some(audience) => {
                let claims = json!({ "aud": audience, "number": number }).to_string();
                format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
            }
        };
        books.access_tokens.insert(access.clone());
        let refresh = match rotation {
            Rotation::Empty => String::new(),
            Rotation::Strict | Rotation::Lenient | Rotation::None => format!("refresh-{number}"),
        };
        books
            .refresh_tokens
            .insert(refresh.clone(), client.to_owned());
        drop(books);
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "refresh_token": refresh,
            "expires_in": lifetime, "ext_expires_in": lifetime,
        });
        if let Some(delay) = refresh_in {
            answer["refresh_in"] = json!(delay);
        }
        if asked
            .get("scope")
            .is_some_and(|scope| scope.contains("openid"))
        {
            answer["id_token"] = json!(self.id_token(client, asked.get("nonce")));
        }
        answer
    }

    fn id_token(&self, client: &str, nonce: Option<&String>) -> String {
        let (now, person) = self.behave(|b| (b.now, b.person));
        let claims = json!({
            "iss": format!("{}/{TENANT}/v2.0", self.origin), "aud": client, "nonce": nonce,
            "iat": now - 300, "nbf": now - 300, "exp": now + 3600, "sub": "pairwise",
            "tid": TENANT, "oid": format!("object of {person}"), "name": person,
            "preferred_username": format!("{person}@contoso.example"),
        });
        format!(
            "e30.{}.c2ln",
            BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
        )
    }
}

impl Behaviour {
    fn usual(origin: &str) -> Self {
        Self {
            resource: json!({
                "resource": format!("{origin}/mcp"),
                "authorization_servers": [origin],
                "scopes_supported": ["mcp.read"],
            }),
            metadata: json!({
                "issuer": origin,
                "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{origin}/token"),
                "registration_endpoint": format!("{origin}/register"),
                "revocation_endpoint": format!("{origin}/revoke"),
                "userinfo_endpoint": format!("{origin}/userinfo"),
                "consents_endpoint": format!("{origin}/account/consents"),
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
                "scopes_supported": ["mcp.read", "offline_access"],
            }),
            entra: json!({
                "issuer": format!("{origin}/{TENANT}/v2.0"),
                "authorization_endpoint": format!("{origin}/authorize?prompt=login&scope=x"),
                "token_endpoint": format!("{origin}/token"),
                "end_session_endpoint": format!("{origin}/logout"),
                "response_modes_supported": ["query", "fragment", "form_post"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
            }),
            issuer: Some(origin.to_owned()),
            error: None,
            trouble: None,
            claims_trouble: None,
            lifetime: 3600,
            refresh_in: None,
            rotation: Rotation::Strict,
            now: super::START,
            person: "alice",
            open: false,
            refusal: (StatusCode::UNAUTHORIZED, ""),
            endpoints: true,
            absent: (StatusCode::NOT_FOUND, ""),
            device: device::DeviceCodes::usual(),
            registered_with: json!({}),
            audience: None,
            confirms_origin: true,
        }
    }
}

fn document(value: Value) -> Response {
    if value.is_null() {
        StatusCode::NOT_FOUND.into_response()
    } else {
        Json(value).into_response()
    }
}

async fn time(State(authority): Shared) -> Response {
    let now = UNIX_EPOCH + Duration::from_secs(authority.behave(|b| b.now));
    [(DATE, httpdate::fmt_http_date(now))].into_response()
}

async fn mcp(State(authority): Shared, headers: HeaderMap) -> Response {
    if authority.behave(|b| b.open) || authority.knows(&headers) {
        return "{}".into_response();
    }
    let (status, body) = authority.behave(|b| b.refusal);
    match body.is_empty() {
        true => (status, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
        false => (status, body).into_response(),
    }
}

async fn absent(State(authority): Shared) -> Response {
    authority.behave(|b| b.absent).into_response()
}

async fn resource(State(authority): Shared) -> Response {
    document(authority.behave(|b| b.resource.clone()))
}

/// Serves the metadata of the origin: that of the server, if the server claims the origin.
async fn of_origin(State(authority): Shared) -> Response {
    let claim = authority.behave(|b| b.confirms_origin.then(|| b.resource.clone()));
    let claim = claim.unwrap_or_default();
    let claimed = claim["resource"].as_str().unwrap_or_default();
    match claimed.trim_end_matches('/') == authority.origin {
        true => document(claim),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn metadata(State(authority): Shared) -> Response {
    document(authority.behave(|b| b.metadata.clone()))
}

async fn entra(State(authority): Shared) -> Response {
    document(authority.behave(|b| b.entra.clone()))
}

async fn register(State(authority): Shared, Json(asked): Json<Value>) -> Response {
    if !authority.behave(|b| b.endpoints) {
        return absent(State(authority)).await;
    }
    let parameters = Parameters::from([("body".to_owned(), asked.to_string())]);
    authority.note("register", &parameters);
    let is_for_devices = asked["grant_types"].to_string().contains("device_code");
    if is_for_devices && !authority.behave(|b| b.device.registrable) {
        return refusal("invalid_client_metadata");
    }
    let mut answer = asked;
    let client = format!("client-{}", authority.asked("register").len());
    authority.books().clients.insert(client.clone());
    answer["client_id"] = json!(client);
    for (name, value) in authority
        .behave(|b| b.registered_with.clone())
        .as_object()
        .unwrap()
    {
        answer[name] = value.clone();
    }
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn authorize(
    State(authority): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let asked: Parameters = pairs.iter().cloned().collect();
    assert_eq!(
        asked.len(),
        pairs.len(),
        "a parameter comes twice: {pairs:?}"
    );
    if !authority.behave(|b| b.endpoints) {
        return absent(State(authority)).await;
    }
    if asked.is_empty() {
        return (StatusCode::BAD_REQUEST, "no parameters").into_response();
    }
    authority.note("authorize", &asked);
    let client = &asked["client_id"];
    if client.starts_with("client-") && !authority.books().clients.contains(client) {
        return (StatusCode::BAD_REQUEST, "unknown client").into_response();
    }
    let mut answer = vec![("state", asked["state"].clone())];
    match authority.behave(|b| b.error) {
        Some((error, description)) => {
            answer.push(("error", error.to_owned()));
            answer.push(("error_description", description.to_owned()));
        }
        None => {
            let code = format!("code-{}", authority.asked("authorize").len());
            authority.books().codes.insert(code.clone(), asked.clone());
            answer.push(("code", code));
        }
    }
    if let Some(issuer) = authority.behave(|b| b.issuer.clone()) {
        answer.push(("iss", issuer));
    }
    if asked
        .get("response_mode")
        .is_some_and(|mode| mode == "form_post")
    {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(answer)
            .finish();
        return Html(format!("POST {} {form}", asked["redirect_uri"])).into_response();
    }
    let mut redirect = url::Url::parse(&asked["redirect_uri"]).unwrap();
    redirect.query_pairs_mut().extend_pairs(answer);
    (StatusCode::FOUND, [(LOCATION, redirect.to_string())]).into_response()
}

async fn token(State(authority): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let pairs = url::form_urlencoded::parse(&body).into_owned();
    let mut asked: Parameters = pairs.collect();
    if let Some(header) = headers.get(AUTHORIZATION) {
        asked.insert("basic".to_owned(), header.to_str().unwrap().to_owned());
    }
    authority.note("token", &asked);
    authority.gate.acquire().await.unwrap().forget();
    authority.arrivals.notify_waiters();
    if let Some(trouble) = authority.behave(|b| b.trouble.clone()) {
        return trouble.into_response();
    }
    let asks_for_nbf = |asked: &Parameters| {
        asked
            .get("claims")
            .is_some_and(|claims| claims.contains("nbf"))
    };
    if let Some(trouble) = authority.behave(|b| b.claims_trouble.clone())
        && asked["grant_type"] == "refresh_token"
        && asks_for_nbf(&asked)
    {
        return trouble.into_response();
    }
    match asked["grant_type"].as_str() {
        "authorization_code" => redeem(&authority, &asked),
        "refresh_token" => renew(&authority, &asked),
        "client_credentials" => client_credentials::issue(&authority, &asked),
        "urn:ietf:params:oauth:grant-type:device_code" => device::redeem(&authority, &asked),
        other => panic!("grant type {other}"),
    }
}

fn redeem(authority: &Authority, asked: &Parameters) -> Response {
    let Some(promised) = authority.books().codes.remove(&asked["code"]) else {
        return refusal("invalid_grant");
    };
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        asked["code_verifier"].as_bytes(),
    );
    assert_eq!(
        promised["code_challenge"],
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    );
    assert_eq!(promised["code_challenge_method"], "S256");
    assert_eq!(promised["redirect_uri"], asked["redirect_uri"]);
    assert!(asked["code_verifier"].len() >= 43);
    Json(authority.issue(&promised["client_id"], &promised)).into_response()
}

fn renew(authority: &Authority, asked: &Parameters) -> Response {
    let token = &asked["refresh_token"];
    let client = authority.books().refresh_tokens.get(token).cloned();
    let Some(client) = client else {
        return refusal("invalid_grant");
    };
    let mut answer = authority.issue(&client, &Parameters::new());
    match authority.behave(|b| b.rotation) {
        Rotation::Strict => {
            authority.books().refresh_tokens.remove(token);
        }
        Rotation::Lenient | Rotation::Empty => {}
        Rotation::None => {
            answer.as_object_mut().unwrap().remove("refresh_token");
        }
    }
    Json(answer).into_response()
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::Refusal(status, body) => (status, Json(body)).into_response(),
            Self::Busy(status, Some(wait)) => (status, [(RETRY_AFTER, wait)]).into_response(),
            Self::Busy(status, None) => (status, "{\"error\":\"invalid_grant\"}").into_response(),
            Self::Portal => Html("<p>Welcome to the airport!</p>").into_response(),
        }
    }
}

async fn userinfo(State(authority): Shared, headers: HeaderMap) -> Response {
    if !authority.knows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let claims = json!({
        "sub": "alice", "name": "Alice", "preferred_username": "alice@contoso.example",
        "tid": TENANT, "oid": "object",
    });
    Json(claims).into_response()
}

async fn revoke(State(authority): Shared, body: Bytes) -> Response {
    let asked: Parameters = url::form_urlencoded::parse(&body).into_owned().collect();
    authority.note("revoke", &asked);
    if let Some(trouble) = authority.behave(|b| b.trouble.clone()) {
        return trouble.into_response();
    }
    authority.books().refresh_tokens.remove(&asked["token"]);
    StatusCode::OK.into_response()
}

async fn consents(State(authority): Shared, headers: HeaderMap) -> Response {
    if !authority.knows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let ids = authority.books().consents.clone();
    let list: Vec<_> = ids
        .iter()
        .map(|id| {
            json!({
                "id": id, "client_id": "client-1", "client_name": "Postern",
                "server": "snippets", "scopes": ["mcp.read"], "granted_at": 1_790_000_000,
                "more": true,
            })
        })
        .collect();
    Json(json!({ "consents": list })).into_response()
}

async fn withdraw(
    State(authority): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    if !authority.knows(&headers) {
        StatusCode::UNAUTHORIZED
    } else if authority.books().consents.remove(&id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}
