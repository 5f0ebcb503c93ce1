//! Lists and revokes the consents that the user gave clients at an authorization server.

use ::http::StatusCode;
use ::http::header::{ACCEPT, AUTHORIZATION};
use model::EndpointUrl;
use model::config::ServerAuth;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use texts::{Describe, Text, error_in_english, text};

use crate::client_credentials;
use crate::error::{AuthorizationError, SignInReason};
use crate::http::{BufferedResponse, send};
use crate::identity::Identity;
use crate::target::Target;

/// A consent of the user for one client at the authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The id for revoking it at the endpoint that lists it. Another endpoint may use the same id.
    pub id: String,
    /// The endpoint that lists it.
    pub endpoint: EndpointUrl,
    /// The client that got it.
    pub client_id: String,
    /// The name with which the client registered. It is not verified.
    pub client_name: Option<String>,
    /// The server that it covers.
    pub server: String,
    /// The scopes that it covers.
    pub scopes: Vec<String>,
    /// When the user gave it, in seconds since 1970.
    pub granted_at: Option<u64>,
}

/// Why consents could not be listed or revoked.
#[derive(Clone, Debug)]
pub enum ConsentsError {
    /// The authorization server has no list of consents.
    NotOffered {
        /// The server.
        server: String,
    },
    /// There is no valid sign-in for the request.
    Authorization(AuthorizationError),
    /// The authorization server cannot be reached now.
    Unreachable {
        /// The server.
        server: String,
        /// What went wrong.
        reason: Text,
    },
    /// No consent has this id (any more).
    Unknown {
        /// The server.
        server: String,
        /// The id.
        id: String,
    },
    /// The response was invalid.
    Malformed {
        /// The server.
        server: String,
        /// What it answered.
        what: String,
    },
}

error_in_english!(ConsentsError);

impl Describe for ConsentsError {
    fn text(&self) -> Text {
        match self {
            Self::NotOffered { server } => text!(ConsentsNotOffered { server }),
            Self::Authorization(error) => error.text(),
            Self::Unreachable { server, reason } => text!(ConsentsUnreachable { server, reason }),
            Self::Unknown { server, id } => text!(ConsentUnknown { server, id }),
            Self::Malformed { server, what } => text!(ConsentsMalformed {
                server,
                reason: what
            }),
        }
    }
}

impl From<AuthorizationError> for ConsentsError {
    fn from(error: AuthorizationError) -> Self {
        Self::Authorization(error)
    }
}

impl Identity {
    /// Lists the consents of the user at the authorization server of `target`.
    ///
    /// # Errors
    ///
    /// [`ConsentsError`]. `NotOffered`, if the authorization server has no such list.
    pub async fn consents(&self, target: &Target) -> Result<Vec<Consent>, ConsentsError> {
        list(self, target).await
    }

    /// Revokes a consent.
    ///
    /// # Errors
    ///
    /// Like [`consents`](Self::consents), and `Unknown`.
    pub async fn revoke_consent(&self, target: &Target, id: &str) -> Result<(), ConsentsError> {
        revoke(self, target, id).await
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Named { consents: Vec<Row> },
    Bare(Vec<Row>),
}

#[derive(Deserialize)]
struct Row {
    id: String,
    client_id: String,
    client_name: Option<String>,
    server: String,
    #[serde(default)]
    scopes: Vec<String>,
    granted_at: Option<u64>,
}

/// Lists the consents at the authorization server of `target`.
async fn list(identity: &Identity, target: &Target) -> Result<Vec<Consent>, ConsentsError> {
    let get = |http: &reqwest::Client, endpoint: Url| {
        let request = http.get(endpoint);
        request.header(ACCEPT, "application/json")
    };
    let ConsentsResponse { response, endpoint } = request_with_token(identity, target, get).await?;
    if !response.status.is_success() {
        return Err(malformed(target, response.status.to_string()));
    }
    match serde_json::from_slice(&response.body.0) {
        Ok(Listed::Named { consents } | Listed::Bare(consents)) => {
            let consents = consents.into_iter();
            Ok(consents.map(|row| row.listed_at(&endpoint)).collect())
        }
        Err(error) => Err(malformed(target, error.to_string())),
    }
}

/// Revokes one consent.
async fn revoke(identity: &Identity, target: &Target, id: &str) -> Result<(), ConsentsError> {
    let delete = |http: &reqwest::Client, mut endpoint: Url| {
        if let Ok(mut path) = endpoint.path_segments_mut() {
            path.pop_if_empty().push(id);
        }
        http.delete(endpoint)
    };
    match request_with_token(identity, target, delete)
        .await?
        .response
        .status
    {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(ConsentsError::Unknown {
            server: target.url().shown().to_owned(),
            id: id.to_owned(),
        }),
        status => Err(malformed(target, status.to_string())),
    }
}

struct ConsentsResponse {
    response: BufferedResponse,
    endpoint: EndpointUrl,
}

/// Sends a request, and again with a refreshed token if the first one is refused. If both are
/// refused, the user must sign in again, or the client has no access to the list.
async fn request_with_token(
    identity: &Identity,
    target: &Target,
    build: impl Fn(&reqwest::Client, Url) -> RequestBuilder,
) -> Result<ConsentsResponse, ConsentsError> {
    let not_offered = || ConsentsError::NotOffered {
        server: target.url().shown().to_owned(),
    };
    if identity.consents_endpoint(target).await.is_none() {
        // The endpoint is known once there is a token.
        identity.authorization(target).await?;
    }
    let named = identity.consents_endpoint(target).await;
    let (endpoint, http) = named.ok_or_else(not_offered)?;
    for _ in 0..2 {
        // The server may accept a token that this endpoint refuses.
        let used = identity.authorization_at(target, &endpoint).await?;
        let used = used.ok_or_else(not_offered)?;
        let request = build(http, endpoint.url().clone()).header(AUTHORIZATION, &used.header);
        let response = send_to(request, target).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(ConsentsResponse { response, endpoint });
        }
        identity.refused_at(target, &endpoint, &used, None);
    }
    Err(keeps_refusing(target).into())
}

fn keeps_refusing(target: &Target) -> AuthorizationError {
    match target.auth() {
        ServerAuth::ClientCredentials(_) => client_credentials::keeps_refusing(target),
        ServerAuth::None
        | ServerAuth::Discover
        | ServerAuth::Client { .. }
        | ServerAuth::Entra { .. } => AuthorizationError::SignInNeeded {
            server: target.url().shown().to_owned(),
            reason: SignInReason::KeepsRefusing,
            explanation: None,
        },
    }
}

async fn send_to(
    request: RequestBuilder,
    target: &Target,
) -> Result<BufferedResponse, ConsentsError> {
    let unreachable = |reason: Text| ConsentsError::Unreachable {
        server: target.url().shown().to_owned(),
        reason,
    };
    match send(request).await {
        Ok(response) if response.status.is_server_error() => {
            Err(unreachable(text!(AnswersStatus {
                status: response.status.to_string()
            })))
        }
        Ok(response) => Ok(response),
        Err(error) => Err(unreachable(error.text())),
    }
}

fn malformed(target: &Target, what: String) -> ConsentsError {
    ConsentsError::Malformed {
        server: target.url().shown().to_owned(),
        what,
    }
}

impl Row {
    fn listed_at(self, endpoint: &EndpointUrl) -> Consent {
        Consent {
            id: self.id,
            endpoint: endpoint.clone(),
            client_id: self.client_id,
            client_name: self.client_name,
            server: self.server,
            scopes: self.scopes,
            granted_at: self.granted_at,
        }
    }
}
