//! A registered MCP client that can sign in at the gateway.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use http::StatusCode;
use serde_json::{Value, json};

use super::browser::{Browser, Page};
use super::world::World;

pub(crate) const VERIFIER: &str = "a-verifier-of-the-client-that-is-43-characters-long";
pub(crate) const STATE: &str = "the state of the client";

/// A registered client.
#[derive(Clone)]
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World,
    pub(crate) id: String,
    pub(crate) redirect: String,
    pub(crate) resource: Option<String>,
}

/// The tokens of a sign-in.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl<'a> Client<'a> {
    /// Registers a client with unique metadata, because clients with equal metadata are one.
    pub(crate) async fn register(world: &'a World, redirect: &str) -> Client<'a> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("Test client {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let metadata = json!({"client_name": name, "redirect_uris": [redirect]});
        let (status, client) = world.post_json("/register", &metadata).await;
        assert_eq!(status, StatusCode::CREATED, "{client}");
        Client {
            world,
            id: client["client_id"].as_str().unwrap().to_owned(),
            redirect: redirect.to_owned(),
            resource: None,
        }
    }

    /// Returns the authorization URL. `changes` replaces parameters, and removes them if the value is
    /// empty.
    pub(crate) fn authorize_url(&self, changes: &[(&str, &str)]) -> String {
        let challenge = s256(VERIFIER);
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect),
            ("state", STATE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        parameters.extend(
            self.resource
                .iter()
                .map(|resource| ("resource", resource.as_str())),
        );
        for (name, value) in changes {
            parameters.retain(|(given, _)| given != name);
            if !value.is_empty() {
                parameters.push((name, value));
            }
        }
        self.world.url_with("/authorize", &parameters)
    }

    /// Consents and signs in. Returns the last redirect, to the client.
    pub(crate) async fn approve(&self, browser: &Browser) -> Page {
        let page = browser.open(&self.authorize_url(&[])).await;
        if page.is_consent() {
            browser.press(&page, "allow").await
        } else {
            page
        }
    }

    /// Like [`Self::approve`]. Returns the code.
    pub(crate) async fn code(&self, browser: &Browser) -> String {
        let page = self.approve(browser).await;
        page.parameter("code")
            .unwrap_or_else(|| panic!("{page:#?}"))
    }

    pub(crate) async fn sign_in(&self, browser: &Browser) -> Tokens {
        let code = self.code(browser).await;
        let (status, answer) = self.redeem(&code, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Tokens::of(&answer)
    }

    pub(crate) async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> (StatusCode, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect),
            ("code_verifier", VERIFIER),
        ];
        self.world
            .post_form("/token", &changed(&form, changes))
            .await
    }

    pub(crate) async fn refresh(
        &self,
        token: &str,
        changes: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", &self.id),
        ];
        self.world
            .post_form("/token", &changed(&form, changes))
            .await
    }
}

impl Tokens {
    pub(crate) fn of(answer: &Value) -> Self {
        Self {
            access: answer["access_token"].as_str().unwrap().to_owned(),
            refresh: answer["refresh_token"].as_str().unwrap().to_owned(),
        }
    }
}

fn changed<'a>(
    form: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut form = form.to_vec();
    for (name, value) in changes {
        form.retain(|(given, _)| given != name);
        if !value.is_empty() {
            form.push((name, value));
        }
    }
    form
}

pub(crate) fn s256(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_ref())
}
