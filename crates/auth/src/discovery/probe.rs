//! How a server answers a request without a token, and whether endpoints are there that no metadata
//! describes.
//!
//! Owns: what the statuses mean. Does not own: documents.

use std::time::Duration;

use ::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use ::http::{HeaderMap, StatusCode};
use model::{EndpointUrl, excerpt};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::{AuthorizationServer, Challenge, Discovery};
use crate::error::SignInError;
use crate::http::{Side, fault};

/// How long the server may take to answer.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is read of the body of a refusal.
const MAX_BODY: usize = 16 * 1024;

/// Where no origin has anything, to tell an endpoint from a server that answers everything alike.
const ABSENT: &str = "/no-such-endpoint";

/// How a server answers a request without a token.
#[derive(Debug)]
pub(super) enum Probed {
    /// It lets the request in.
    Open,
    /// 401.
    Unauthorized {
        challenge: Challenge,
        words: Option<String>,
    },
    /// 403, a redirect, or another status that another request without a token would have too.
    Denied {
        status: StatusCode,
        words: Option<String>,
    },
    /// It does not like the request, which says nothing about tokens.
    Unclear,
}

/// An answer without its body, where that may be a stream.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What a status says of a place.
enum Meaning {
    Good,
    Unauthorized,
    Denied,
    Absent,
    Broken,
    Unclear,
}

impl Discovery<'_> {
    /// Asks the server for nothing in particular, to see whether it wants a token: by GET, and where
    /// that says nothing for certain by POST, which is how it gets messages.
    ///
    /// # Errors
    ///
    /// `NoSuchServer` and `WrongPath`, if there is no server at the URL; `Unreachable`, if it does
    /// not answer or is broken.
    pub(super) async fn probe_server(&self) -> Result<Probed, SignInError> {
        let url = self.server.url();
        let get = self.reply(self.http.anywhere.get(url.clone())).await?;
        match get.meaning() {
            Meaning::Unauthorized => return Ok(get.unauthorized()),
            Meaning::Good if get.is_event_stream() => return Ok(Probed::Open),
            Meaning::Good
            | Meaning::Denied
            | Meaning::Absent
            | Meaning::Broken
            | Meaning::Unclear => {}
        }
        let request = self.http.anywhere.post(url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let post = self.reply(request).await?;
        match (post.meaning(), get.meaning()) {
            (Meaning::Unauthorized, _) => Ok(post.unauthorized()),
            (Meaning::Good, _) | (Meaning::Unclear | Meaning::Absent, Meaning::Good) => {
                Ok(Probed::Open)
            }
            (Meaning::Denied, _) => Ok(post.denied()),
            (Meaning::Absent, Meaning::Denied) => Ok(get.denied()),
            (Meaning::Absent, _) => Err(self.absent(&post)),
            (Meaning::Unclear, _) => Ok(Probed::Unclear),
            (Meaning::Broken, _) => Err(SignInError::Unreachable {
                server: self.server.shown().to_owned(),
                reason: format!("it answers {}", post.status),
            }),
        }
    }

    /// Returns whether the server has an authorization endpoint where MCP 2025-03-26 has it. Without
    /// any metadata, that shows an authorization server of that revision.
    pub(super) async fn has_endpoints(
        &self,
        assumed: &AuthorizationServer,
    ) -> Result<bool, SignInError> {
        let endpoint = &assumed.authorization_endpoint;
        let there = self.status(endpoint).await?;
        let is_there = !matches!(
            there,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::GONE
                | StatusCode::NOT_IMPLEMENTED
        );
        if !is_there {
            return Ok(false);
        }
        let mut elsewhere = endpoint.url().clone();
        elsewhere.set_path(ABSENT);
        let elsewhere = self.checked("its origin", elsewhere.as_str(), Side::Inside)?;
        Ok(self.status(&elsewhere).await? != there)
    }

    async fn status(&self, address: &EndpointUrl) -> Result<StatusCode, SignInError> {
        let request = self.http.anywhere.get(address.url().clone());
        let response = request.timeout(PROBE_TIMEOUT).send().await;
        let response = response.map_err(|error| self.fault(address, fault(error)))?;
        Ok(response.status())
    }

    async fn reply(&self, request: RequestBuilder) -> Result<Reply, SignInError> {
        let request = request
            .timeout(PROBE_TIMEOUT)
            .header("accept", "application/json, text/event-stream");
        let response = request.send().await;
        let response = response.map_err(|error| self.fault(self.server, fault(error)))?;
        Ok(Reply::read(response).await)
    }

    /// The server's answer shows that there is none at its URL.
    fn absent(&self, reply: &Reply) -> SignInError {
        let server = self.server.shown().to_owned();
        match reply.is_of_gateway() {
            true => SignInError::NoSuchServer {
                server,
                gateway: self.server.url().origin().ascii_serialization(),
            },
            false => SignInError::WrongPath {
                server,
                status: reply.status.as_u16(),
            },
        }
    }
}

impl Reply {
    /// Reads the body of a refusal, as far as it comes. That of a success may be a stream without end.
    async fn read(mut response: Response) -> Self {
        let mut body = Vec::new();
        while !response.status().is_success()
            && body.len() < MAX_BODY
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        }
    }

    fn meaning(&self) -> Meaning {
        match self.status {
            StatusCode::UNAUTHORIZED => Meaning::Unauthorized,
            StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Meaning::Denied,
            StatusCode::NOT_FOUND | StatusCode::GONE => Meaning::Absent,
            status if status.is_success() => Meaning::Good,
            status if status.is_redirection() => Meaning::Denied,
            status if status.is_server_error() => Meaning::Broken,
            _ => Meaning::Unclear,
        }
    }

    fn is_event_stream(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
    }

    fn unauthorized(&self) -> Probed {
        let header = self.headers.get(WWW_AUTHENTICATE);
        let text = header.and_then(|value| value.to_str().ok());
        Probed::Unauthorized {
            challenge: text.and_then(Challenge::parse).unwrap_or_default(),
            words: self.words(),
        }
    }

    fn denied(&self) -> Probed {
        Probed::Denied {
            status: self.status,
            words: self.words(),
        }
    }

    /// Returns what the server says of its refusal: in the body, else in the challenge.
    fn words(&self) -> Option<String> {
        let header = self.headers.get(WWW_AUTHENTICATE);
        excerpt(&self.body, &[]).or_else(|| excerpt(header?.as_bytes(), &[]))
    }

    /// Returns whether a Postern gateway says that it has no such server.
    fn is_of_gateway(&self) -> bool {
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else {
            return false;
        };
        let kind = body["error"]["data"]["kind"].as_str();
        kind.is_some_and(|kind| kind.replace('_', "-") == "no-such-server")
    }
}
