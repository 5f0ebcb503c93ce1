//! What the user has granted to clients at an authorization server, listed and revoked.

use ::http::StatusCode;
use ::http::header::{ACCEPT, AUTHORIZATION};
use model::EndpointUrl;
use model::config::ServerAuth;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use crate::client_credentials;
use crate::error::{AuthorizationError, SignInReason};
use crate::http::{Answer, send};
use crate::identity::{Identity, Target};

/// One grant of the user to one client at the authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// What to revoke it by at the endpoint that lists it. Another endpoint may use the same id.
    pub id: String,
    /// The endpoint that lists it.
    pub endpoint: EndpointUrl,
    /// The client it was given to.
    pub client_id: String,
    /// That client's name as it registered itself: not verified by anyone.
    pub client_name: Option<String>,
    /// The server it opens.
    pub server: String,
    /// What it allows there.
    pub scopes: Vec<String>,
    /// When it was given, in seconds since 1970.
    pub granted_at: Option<u64>,
}

/// Why consents could not be listed or revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsentsError {
    /// The authorization server has no list of consents.
    #[error("{server} keeps no list of consents; hint: look at its own account page")]
    NotOffered {
        /// The server asked for.
        server: String,
    },
    /// No valid sign-in to ask with.
    #[error(transparent)]
    Authorization(#[from] AuthorizationError),
    /// The authorization server cannot be reached now.
    #[error("the consents of {server} could not be read: {reason}; hint: try again in a moment")]
    Unreachable {
        /// The server asked for.
        server: String,
        /// What went wrong on the way.
        reason: String,
    },
    /// No consent has this id (any more).
    #[error("{server} knows no consent `{id}`; hint: list the consents again")]
    Unknown {
        /// The server asked for.
        server: String,
        /// The id asked for.
        id: String,
    },
    /// The answer made no sense.
    #[error(
        "{server} answered the question for consents with {what}; hint: tell who runs the server"
    )]
    Malformed {
        /// The server asked for.
        server: String,
        /// What it answered.
        what: String,
    },
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
pub(crate) async fn list(
    identity: &Identity,
    target: &Target,
) -> Result<Vec<Consent>, ConsentsError> {
    let get = |http: &reqwest::Client, endpoint: Url| {
        let request = http.get(endpoint);
        request.header(ACCEPT, "application/json")
    };
    let Asked { answer, endpoint } = ask(identity, target, get).await?;
    if !answer.status.is_success() {
        return Err(strange(target, answer.status.to_string()));
    }
    match serde_json::from_slice(&answer.body.0) {
        Ok(Listed::Named { consents } | Listed::Bare(consents)) => {
            let consents = consents.into_iter();
            Ok(consents.map(|row| row.listed_at(&endpoint)).collect())
        }
        Err(error) => Err(strange(target, format!("something else: {error}"))),
    }
}

/// Takes one consent back.
pub(crate) async fn revoke(
    identity: &Identity,
    target: &Target,
    id: &str,
) -> Result<(), ConsentsError> {
    let delete = |http: &reqwest::Client, mut endpoint: Url| {
        if let Ok(mut path) = endpoint.path_segments_mut() {
            path.pop_if_empty().push(id);
        }
        http.delete(endpoint)
    };
    match ask(identity, target, delete).await?.answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(ConsentsError::Unknown {
            server: target.url.shown().to_owned(),
            id: id.to_owned(),
        }),
        status => Err(strange(target, status.to_string())),
    }
}

struct Asked {
    answer: Answer,
    endpoint: EndpointUrl,
}

/// Asks, and once more with a renewed token if the first one is refused. A server that takes
/// neither wants a new sign-in, or gives a program no right to ask.
async fn ask(
    identity: &Identity,
    target: &Target,
    request: impl Fn(&reqwest::Client, Url) -> RequestBuilder,
) -> Result<Asked, ConsentsError> {
    let not_offered = || ConsentsError::NotOffered {
        server: target.url.shown().to_owned(),
    };
    if identity.consents_endpoint(target).await.is_none() {
        // It is known with the first token at the latest.
        identity.authorization(target).await?;
    }
    let named = identity.consents_endpoint(target).await;
    let (endpoint, http) = named.ok_or_else(not_offered)?;
    for _ in 0..2 {
        // What this endpoint refuses, the server may accept.
        let used = identity.authorization_at(target, &endpoint).await?;
        let used = used.ok_or_else(not_offered)?;
        let request = request(http, endpoint.url().clone()).header(AUTHORIZATION, &used.header);
        let answer = answered(request, target).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(Asked { answer, endpoint });
        }
        identity.refused_at(target, &endpoint, &used, None);
    }
    Err(keeps_refusing(target).into())
}

fn keeps_refusing(target: &Target) -> AuthorizationError {
    match target.auth {
        ServerAuth::ClientCredentials(_) => client_credentials::keeps_refusing(target),
        ServerAuth::None
        | ServerAuth::Discover
        | ServerAuth::Client { .. }
        | ServerAuth::Entra { .. } => AuthorizationError::SignInNeeded {
            server: target.url.shown().to_owned(),
            reason: SignInReason::KeepsRefusing,
            explanation: None,
        },
    }
}

async fn answered(request: RequestBuilder, target: &Target) -> Result<Answer, ConsentsError> {
    let unreachable = |reason: String| ConsentsError::Unreachable {
        server: target.url.shown().to_owned(),
        reason,
    };
    match send(request).await {
        Ok(answer) if answer.status.is_server_error() => {
            Err(unreachable(format!("it answers {}", answer.status)))
        }
        Ok(answer) => Ok(answer),
        Err(fault) => Err(unreachable(fault.to_string())),
    }
}

fn strange(target: &Target, what: String) -> ConsentsError {
    ConsentsError::Malformed {
        server: target.url.shown().to_owned(),
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
