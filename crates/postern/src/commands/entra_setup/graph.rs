//! A client for app registrations in Microsoft Graph v1.0.

use std::time::Duration;

use auth::http::HttpError;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::EndpointUrl;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use texts::{Describe, Language};

use crate::error::CliError;

/// The permissions that allow writing registrations: delegated by a user, and of an application.
const PERMISSIONS: [&str; 2] = ["Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"];

/// The retries for a new object, which Microsoft Graph replicates with a delay. The pause doubles
/// after each attempt.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(300);

pub(super) struct Graph {
    base: String,
    http: reqwest::Client,
    token: SecretString,
}

impl Graph {
    pub(super) fn new(base: &EndpointUrl, token: SecretString, http: reqwest::Client) -> Self {
        let base = base.to_string();
        Self {
            base: format!("{}/v1.0", base.trim_end_matches('/')),
            http,
            token,
        }
    }

    /// Checks the permissions in the token, if it is readable. Microsoft Graph makes the final
    /// decision.
    ///
    /// # Errors
    ///
    /// If the token is readable and lacks the permissions.
    pub(super) fn check_permissions(&self) -> Result<(), CliError> {
        let Some(has) = token_permissions(self.token.expose_secret()) else {
            return Ok(());
        };
        if has
            .iter()
            .any(|right| PERMISSIONS.contains(&right.as_str()))
        {
            return Ok(());
        }
        let has = match has.as_slice() {
            [] => "nothing".to_owned(),
            has => has.join(", "),
        };
        Err(CliError::new(format_args!(
            "the token does not permit writing registrations: it grants {has}; nothing was changed; hint: get one with {}, as an Application Administrator",
            PERMISSIONS[0]
        )))
    }

    /// Gets the object at a path. Returns `None` if there is none.
    pub(super) async fn find(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Value>, CliError> {
        let request = self.request(Method::GET, path).query(query);
        match self.send(request).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) if status.is_success() => Ok(Some(body)),
            (status, body) => Err(graph_error(&format!("GET {path}"), status, &body)),
        }
    }

    /// Sends a write request and returns the response body.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, CliError> {
        let what = format!("{method} {path}");
        let request = self.request(method, path).json(body);
        match self.send(request).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => Err(graph_error(&what, status, &body)),
        }
    }

    /// Adds an object that refers to a new one, and retries while that is not replicated.
    pub(super) async fn add(&self, path: &str, body: &Value) -> Result<Value, CliError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            let request = self.request(Method::POST, path).json(body);
            let (status, answer) = self.send(request).await?;
            match status {
                status if status.is_success() => return Ok(answer),
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                status => return Err(graph_error(&format!("POST {path}"), status, &answer)),
            }
        }
        self.write(Method::POST, path, body).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(StatusCode, Value), CliError> {
        let failed = |error: reqwest::Error| {
            let fault = auth::http::HttpError::from_reqwest(error);
            let text = fault.text();
            let (reason, hint) = (
                text.message(Language::English),
                text.hint(Language::English),
            );
            let hint = match &fault {
                HttpError::Untrusted(_) => hint.unwrap_or_default(),
                HttpError::PrivateAddress(_)
                | HttpError::Unreachable(_)
                | HttpError::UnknownName(_)
                | HttpError::NotTls => "check the network, `proxy` under [bridge] of config.toml, and --graph for other clouds".to_owned(),
            };
            let base = &self.base;
            CliError::unreachable(format_args!(
                "Microsoft Graph at {base} cannot be reached: {reason}; hint: {hint}"
            ))
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// Returns the scopes and roles of a token. Returns `None` if the token is opaque.
fn token_permissions(token: &str) -> Option<Vec<String>> {
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?)
        .ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let scopes = claims["scp"].as_str().unwrap_or_default().split(' ');
    let roles = claims["roles"].as_array().into_iter().flatten();
    let all = scopes.chain(roles.filter_map(Value::as_str));
    Some(
        all.filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn graph_error(what: &str, status: StatusCode, body: &Value) -> CliError {
    let said = body["error"]["message"]
        .as_str()
        .unwrap_or("no reason given");
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let hint = match status {
        StatusCode::UNAUTHORIZED => {
            "get a new token for Microsoft Graph; they are valid for about an hour"
        }
        StatusCode::FORBIDDEN => {
            "use the token of an Application Administrator, with Application.ReadWrite.All"
        }
        StatusCode::TOO_MANY_REQUESTS => "wait a minute, then run the command again",
        _ => "run the command again; it continues where it stopped",
    };
    CliError::new(format_args!(
        "Microsoft Graph rejects {what} ({status}): {said}; hint: {hint}"
    ))
}
