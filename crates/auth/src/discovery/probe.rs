//! Probes how a server answers a request without a token, and whether endpoints exist without
//! metadata.
//!
//! Owns: the meaning of the statuses.
//! Does not own: metadata.

use std::time::Duration;

use ::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use ::http::{HeaderMap, StatusCode};
use model::{EndpointUrl, excerpt};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use texts::text;

use super::{AuthorizationServer, Challenge, Discovery};
use crate::error::SignInError;
use crate::http::{HttpError, NetworkZone};

/// The timeout of a probe.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of the body of a refusal.
const MAX_BODY: usize = 16 * 1024;

/// A path that no origin has, to detect a server that answers all paths alike.
const ABSENT: &str = "/no-such-endpoint";

/// How a server answers a request without a token.
#[derive(Debug)]
pub(super) enum Probed {
    /// It accepts the request.
    Open,
    /// It answers 401.
    Unauthorized {
        challenge: Challenge,
        words: Option<String>,
    },
    /// It answers 403, a redirect, or another status that any request without a token would get.
    Denied {
        status: StatusCode,
        words: Option<String>,
    },
    /// It rejects the request for another reason, which says nothing about tokens.
    Unclear,
}

/// A response. Has no body if that may be a stream.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What a status means for an endpoint.
enum StatusClass {
    Good,
    Unauthorized,
    Denied,
    Absent,
    Broken,
    Unclear,
}

impl Discovery<'_> {
    /// Probes whether the server requires a token: by GET, and if that is not conclusive by POST,
    /// which is how it gets messages.
    ///
    /// # Errors
    ///
    /// `NoSuchServer` and `WrongPath`, if there is no server at the URL. `Unreachable`, if it does
    /// not answer or fails.
    pub(super) async fn probe_server(&self) -> Result<Probed, SignInError> {
        let url = self.server.url();
        let get = self.reply(self.http.unrestricted.get(url.clone())).await?;
        match get.status_class() {
            StatusClass::Unauthorized => return Ok(get.unauthorized()),
            StatusClass::Good if get.is_event_stream() => return Ok(Probed::Open),
            StatusClass::Good
            | StatusClass::Denied
            | StatusClass::Absent
            | StatusClass::Broken
            | StatusClass::Unclear => {}
        }
        let request = self.http.unrestricted.post(url.clone());
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let post = self.reply(request).await?;
        match (post.status_class(), get.status_class()) {
            (StatusClass::Unauthorized, _) => Ok(post.unauthorized()),
            (StatusClass::Good, _)
            | (StatusClass::Unclear | StatusClass::Absent, StatusClass::Good) => Ok(Probed::Open),
            (StatusClass::Denied, _) => Ok(post.denied()),
            (StatusClass::Absent, StatusClass::Denied) => Ok(get.denied()),
            (StatusClass::Absent, _) => Err(self.absent(&post)),
            (StatusClass::Unclear, _) => Ok(Probed::Unclear),
            (StatusClass::Broken, _) => Err(SignInError::Unreachable {
                server: self.server.shown().to_owned(),
                reason: text!(AnswersStatus {
                    status: post.status.to_string()
                }),
            }),
        }
    }

    /// Returns true if the server has the authorization endpoint of MCP 2025-03-26. Without
    /// metadata, that proves an authorization server of that revision.
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
        let elsewhere = self.checked("its origin", elsewhere.as_str(), NetworkZone::Local)?;
        Ok(self.status(&elsewhere).await? != there)
    }

    async fn status(&self, address: &EndpointUrl) -> Result<StatusCode, SignInError> {
        let request = self.http.unrestricted.get(address.url().clone());
        let response = request.timeout(PROBE_TIMEOUT).send().await;
        let response =
            response.map_err(|error| self.http_error(address, HttpError::from_reqwest(error)))?;
        Ok(response.status())
    }

    async fn reply(&self, request: RequestBuilder) -> Result<Reply, SignInError> {
        let request = request
            .timeout(PROBE_TIMEOUT)
            .header("accept", "application/json, text/event-stream");
        let response = request.send().await;
        let response = response
            .map_err(|error| self.http_error(self.server, HttpError::from_reqwest(error)))?;
        Ok(Reply::read(response).await)
    }

    /// Returns the error for a response that proves that there is no server at the URL.
    fn absent(&self, reply: &Reply) -> SignInError {
        let server = self.server.shown().to_owned();
        match reply.is_from_gateway() {
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
    /// Reads the body of a refusal, as far as it arrives. The body of a success may be an endless
    /// stream.
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

    fn status_class(&self) -> StatusClass {
        match self.status {
            StatusCode::UNAUTHORIZED => StatusClass::Unauthorized,
            StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                StatusClass::Denied
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => StatusClass::Absent,
            status if status.is_success() => StatusClass::Good,
            status if status.is_redirection() => StatusClass::Denied,
            status if status.is_server_error() => StatusClass::Broken,
            _ => StatusClass::Unclear,
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

    /// Returns the message of a refusal: the body, else the challenge.
    fn words(&self) -> Option<String> {
        let header = self.headers.get(WWW_AUTHENTICATE);
        excerpt(&self.body, &[]).or_else(|| excerpt(header?.as_bytes(), &[]))
    }

    /// Returns true if a Postern gateway says that it has no such server.
    fn is_from_gateway(&self) -> bool {
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else {
            return false;
        };
        let kind = body["error"]["data"]["kind"].as_str();
        kind.is_some_and(|kind| kind.replace('_', "-") == "no-such-server")
    }
}
