//! Microsoft Graph v1.0, as far as registrations go.

use std::time::Duration;

use auth::http::Fault;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::EndpointUrl;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::failure::Failure;

/// What lets somebody write registrations: to people, and to programs.
const RIGHTS: [&str; 2] = ["Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"];

/// What was made a moment ago is not known everywhere at once: how often, and first after how
/// long, it is asked for again. The pause doubles.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(300);

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

    /// Looks whether the token can do it at all, as far as it says. Graph has the last word.
    pub(super) fn check_rights(&self) -> Result<(), Failure> {
        let Some(has) = granted(self.token.expose_secret()) else {
            return Ok(());
        };
        if has.iter().any(|right| RIGHTS.contains(&right.as_str())) {
            return Ok(());
        }
        let has = match has.as_slice() {
            [] => "nothing".to_owned(),
            has => has.join(", "),
        };
        Err(Failure::new(format_args!(
            "the token does not let its bearer write registrations: it grants {has}; nothing was changed; hint: get one with {}, as an Application Administrator",
            RIGHTS[0]
        )))
    }

    /// What is at a path; `None` if there is nothing.
    pub(super) async fn find(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Value>, Failure> {
        let request = self.request(Method::GET, path).query(query);
        match self.send(request).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) if status.is_success() => Ok(Some(body)),
            (status, body) => Err(refused(&format!("GET {path}"), status, &body)),
        }
    }

    /// Writes.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let what = format!("{method} {path}");
        let request = self.request(method, path).json(body);
        match self.send(request).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => Err(refused(&what, status, &body)),
        }
    }

    /// Adds something to what was made a moment ago.
    pub(super) async fn add(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            let request = self.request(Method::POST, path).json(body);
            let (status, answer) = self.send(request).await?;
            match status {
                status if status.is_success() => return Ok(answer),
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                status => return Err(refused(&format!("POST {path}"), status, &answer)),
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

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
        let failed = |error: reqwest::Error| {
            let fault = auth::http::fault(error);
            let hint = match &fault {
                Fault::Untrusted(flaw) => flaw.hint(),
                Fault::Inside(_)
                | Fault::Unreachable(_)
                | Fault::UnknownName(_)
                | Fault::NotTls => "check the network, `proxy` under [bridge] of config.toml, and --graph for other clouds".to_owned(),
            };
            let base = &self.base;
            Failure::unreachable(format_args!(
                "Microsoft Graph at {base} cannot be reached: {fault}; hint: {hint}"
            ))
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// The scopes and roles that a token names, if it can be read.
fn granted(token: &str) -> Option<Vec<String>> {
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

fn refused(what: &str, status: StatusCode, body: &Value) -> Failure {
    let said = body["error"]["message"]
        .as_str()
        .unwrap_or("it does not say why");
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let hint = match status {
        StatusCode::UNAUTHORIZED => {
            "get a new token for Microsoft Graph; they are valid for about an hour"
        }
        StatusCode::FORBIDDEN => {
            "use the token of an Application Administrator, with Application.ReadWrite.All"
        }
        StatusCode::TOO_MANY_REQUESTS => "wait a minute, then run the command again",
        _ => "run the command again: it goes on where it ended",
    };
    Failure::new(format_args!(
        "Microsoft Graph refuses {what} ({status}): {said}; hint: {hint}"
    ))
}
