//! An emulator on a free port, and browsers that sign in to it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use emulator::{Admin, App, Command, Emulator, Options, Platform, State, Tenant, demo};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use model::{Clock, ManualClock};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::{Uuid, uuid};

/// RFC 7636 Appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const GATEWAY_CALLBACK: &str = "http://localhost:8080/oauth-callback";
pub(crate) const BRIDGE_CALLBACK: &str = "http://localhost:40123/";
pub(crate) const SPA_ID: Uuid = uuid!("0f3c6a94-3d1b-4c57-9a43-7c1d2e3f4a03");
pub(crate) const SPA_CALLBACK: &str = "http://localhost/spa";
/// A second Application ID URI of the gateway.
pub(crate) const API_URL: &str = "https://mcp.example.com";

/// A running emulator.
pub(crate) struct Harness {
    pub(crate) base: String,
    pub(crate) clock: ManualClock,
    pub(crate) admin: Admin,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Harness {
    /// Starts an emulator with shared keys, because generating RSA keys is slow.
    pub(crate) async fn start() -> Self {
        Self::start_in(Some(shared_keys())).await
    }

    /// Starts an emulator with `tenant` instead of the default tenant.
    pub(crate) async fn with(tenant: Tenant) -> Self {
        Self::start_with(tenant, Some(shared_keys())).await
    }

    pub(crate) async fn start_in(data_dir: Option<PathBuf>) -> Self {
        Self::start_with(tenant(), data_dir).await
    }

    async fn start_with(tenant: Tenant, data_dir: Option<PathBuf>) -> Self {
        let clock = ManualClock::new(Clock::system().now());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = emulator::base_url(listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let options = Options {
            others: demo::others(),
            data_dir,
            ..Options::new(tenant, clock.clock())
        };
        let emulator = Emulator::open(options, listener).await.unwrap();
        let admin = emulator.admin();
        let server = tokio::spawn(emulator.serve(stop.clone()));
        Self {
            base,
            clock,
            admin,
            stop,
            server,
        }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.server).await.unwrap().unwrap();
    }

    /// Executes a command.
    pub(crate) async fn apply(&self, command: Command) -> State {
        self.admin.apply(command).await.unwrap()
    }

    /// Signs in as Adele. Returns the token response.
    pub(crate) async fn tokens(&self) -> Value {
        let code = self.code(&[]).await;
        self.redeem(&[("code", &code)]).await
    }

    /// Returns a refresh request with the refresh token of `tokens`.
    pub(crate) fn refresh(&self, tokens: &Value) -> RequestBuilder {
        self.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
        ])
    }

    /// Refreshes successfully. Returns the token response.
    pub(crate) async fn refreshed(&self, tokens: &Value) -> Value {
        let response = self.refresh(tokens).send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Calls the sample API with an access token.
    pub(crate) async fn echo(&self, tokens: &Value) -> Response {
        let token = tokens["access_token"].as_str().unwrap();
        let request = http().get(format!("{}/api/echo", self.base));
        request.bearer_auth(token).send().await.unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{}{path}", self.base, demo::TENANT_ID)
    }

    pub(crate) fn issuer(&self) -> String {
        self.url("/v2.0")
    }

    /// Returns an authorization request of the bridge. A pair of `parameters` replaces the default
    /// of the same name, or removes it if the value is empty.
    pub(crate) fn authorize(&self, parameters: &[(&str, &str)]) -> String {
        let client_id = demo::BRIDGE_CLIENT_ID.to_string();
        let scope = format!("openid profile offline_access {}", demo::gateway_scope());
        let mut all = vec![
            ("client_id", client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", BRIDGE_CALLBACK),
            ("scope", scope.as_str()),
            ("state", "xyz"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        replace(&mut all, parameters);
        let url = Url::parse_with_params(&self.url("/oauth2/v2.0/authorize"), all);
        url.unwrap().into()
    }

    /// Returns a token request. The pairs work as in [`Harness::authorize`].
    pub(crate) fn token(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let client_id = demo::BRIDGE_CLIENT_ID.to_string();
        let mut all = vec![
            ("client_id", client_id.as_str()),
            ("grant_type", "authorization_code"),
            ("redirect_uri", BRIDGE_CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        replace(&mut all, parameters);
        self.token_request(&demo::TENANT_ID.to_string(), &all)
    }

    /// Returns a token request through any authority with exactly this form.
    pub(crate) fn token_request(&self, authority: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let endpoint = format!("{}/{authority}/oauth2/v2.0/token", self.base);
        http().post(endpoint).form(form)
    }

    pub(crate) async fn redeem(&self, parameters: &[(&str, &str)]) -> Value {
        let response = self.token(parameters).send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Asserts the complete error response and returns it.
    pub(crate) async fn expect_error(
        &self,
        request: RequestBuilder,
        status: u16,
        error: &str,
        code: u32,
    ) -> Value {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store, no-cache");
        let got = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error_codes"], serde_json::json!([code]), "{body}");
        assert_eq!(
            (got.as_u16(), body["error"].as_str()),
            (status, Some(error)),
            "{body}"
        );
        let description = format!(
            " Trace ID: {} Correlation ID: {} Timestamp: {}",
            body["trace_id"].as_str().unwrap(),
            body["correlation_id"].as_str().unwrap(),
            body["timestamp"].as_str().unwrap(),
        );
        let text = body["error_description"].as_str().unwrap();
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        assert!(text.ends_with(&description), "{text}");
        assert_eq!(
            body["error_uri"],
            format!("{}/error?code={code}", self.base)
        );
        body
    }

    /// Signs in on a new browser. Returns the code for the client.
    pub(crate) async fn code(&self, parameters: &[(&str, &str)]) -> String {
        let browser = Browser::new();
        let response = browser
            .sign_in(&self.authorize(parameters), demo::ADELE)
            .await;
        response.parameter("code")
    }

    /// Verifies a token with the published keys as a client does. Returns its claims, or `None` if
    /// it is invalid.
    pub(crate) async fn verify(&self, token: &str, audience: Uuid) -> Option<Value> {
        let keys: JwkSet = http()
            .get(self.url("/discovery/v2.0/keys"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = DecodingKey::from_jwk(keys.find(&kid)?).unwrap();
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[audience]);
        rules.set_issuer(&[self.issuer()]);
        rules.set_required_spec_claims(&["aud", "exp", "iss", "nbf", "sub"]);
        rules.validate_nbf = true;
        Some(jsonwebtoken::decode(token, &key, &rules).ok()?.claims)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn tenant() -> Tenant {
    let mut tenant = Tenant::demo(GATEWAY_CALLBACK);
    tenant.apps[1].app_id_uris.push(API_URL.to_owned());
    tenant.apps.push(App {
        redirect_uris: vec![SPA_CALLBACK.to_owned()],
        ..App::new(SPA_ID, "Single page", Platform::Spa)
    });
    tenant
}

pub(crate) fn shared_keys() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    folder.path().to_owned()
}

/// Replaces pairs of the same name with those of `by`. An empty value removes a pair.
pub(crate) fn replace<'a>(all: &mut Vec<(&'a str, &'a str)>, by: &[(&'a str, &'a str)]) {
    all.retain(|(name, _)| by.iter().all(|(other, _)| other != name));
    all.extend(by.iter().filter(|(_, value)| !value.is_empty()));
}

/// Returns a new client that does not follow redirects.
pub(crate) fn http() -> Client {
    http_builder().build().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests reach loopback only")]
pub(crate) fn http_builder() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .cookie_store(true)
        .no_proxy()
        .timeout(Duration::from_secs(20))
}

/// A browser with cookies.
pub(crate) struct Browser(Client);

impl Browser {
    pub(crate) fn new() -> Self {
        Self(http())
    }

    pub(crate) async fn open(&self, url: &str) -> Page {
        Page::read(self.0.get(url).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        Page::read(self.0.post(url).form(fields).send().await.unwrap()).await
    }

    /// Sends the form of `page` with the user's input.
    pub(crate) async fn submit(&self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("flow", page.value_of("flow"))];
        all.extend(fields);
        let url = page.url.join(page.between("action=\"", "\"")).unwrap();
        Page::read(self.0.post(url).form(&all).send().await.unwrap()).await
    }

    /// Signs in on a browser without accounts. Returns the response to the client.
    pub(crate) async fn sign_in(&self, url: &str, username: &str) -> Page {
        let page = self.open(url).await;
        let page = self
            .submit(&page, &[("loginfmt", username), ("action", "next")])
            .await;
        self.password(&page).await
    }

    /// Continues from the password page and stays signed in. Returns the response to the client.
    pub(crate) async fn password(&self, page: &Page) -> Page {
        let page = self
            .submit(page, &[("passwd", "any"), ("action", "next")])
            .await;
        page.shows("Stay signed in?");
        self.submit(&page, &[("action", "next")]).await
    }
}

/// A page, or a redirect to a client.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
    url: Url,
}

impl Page {
    async fn read(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            url: response.url().clone(),
            body: response.text().await.unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(
            self.body.contains(text),
            "no {text:?} in: {} {}",
            self.status,
            self.body
        );
    }

    /// Asserts that this is an error page and no redirect.
    #[track_caller]
    pub(crate) fn shows_error(&self, code: u32) {
        self.shows(&format!("data-error=\"{code}\""));
        assert_eq!(self.status, StatusCode::BAD_REQUEST);
        assert!(!self.headers.contains_key(LOCATION));
    }

    /// Returns the target of the redirect.
    #[track_caller]
    pub(crate) fn location(&self) -> Url {
        let Some(location) = self.headers.get(LOCATION) else {
            panic!("no redirect: {} {}", self.status, self.body);
        };
        Url::parse(location.to_str().unwrap()).unwrap()
    }

    /// Returns a parameter of the response to the client.
    #[track_caller]
    pub(crate) fn parameter(&self, name: &str) -> String {
        let location = self.location();
        let pair = location.query_pairs().find(|(other, _)| other == name);
        let Some((_, value)) = pair else {
            panic!("no {name} in {location}");
        };
        value.into_owned()
    }

    #[track_caller]
    pub(crate) fn value_of(&self, name: &str) -> &str {
        self.between(&format!("name=\"{name}\" value=\""), "\"")
    }

    #[track_caller]
    pub(crate) fn between(&self, start: &str, end: &str) -> &str {
        let Some((_, rest)) = self.body.split_once(start) else {
            panic!("no {start:?} in: {} {}", self.status, self.body);
        };
        rest.split_once(end).unwrap().0
    }
}
