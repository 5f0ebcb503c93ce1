//! Inspects the URL of a server before it is added.
//!
//! Owns: which responses mean that no MCP server is there, and where one usually is then. Does not
//! own: adding it. Invariants: no credentials are sent and nothing is written. Only the origin that
//! the user gave is searched, and no redirect is followed.

mod handshake;

use std::sync::Arc;
use std::time::Duration;

use auth::{SignInError, Target};
use control::api::{Inspection, Problem, ProblemKind};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use mcp::Message;
use mcp::upstream::UpstreamError;
use model::EndpointUrl;
use model::config::ServerAuth;
use tokio::time::{Instant, timeout_at};

use crate::session::SessionContext;
use crate::{probe, problem};
use handshake::{FoundServer, Unusable, connect, words};

/// Timeout of the whole inspection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Inspects `url`, and the usual paths of its origin if it has no server.
pub(crate) async fn inspect(context: &Arc<SessionContext>, url: &EndpointUrl) -> Inspection {
    let until = Instant::now() + TIMEOUT;
    let failure = match timeout_at(until, connect(context, url)).await {
        Ok(Ok(found)) => return from_found(context, url, found, until).await,
        Ok(Err(Unusable::Refused(words))) => {
            let problem = probe::refused(&words);
            return Inspection::NotNow { problem };
        }
        Ok(Err(Unusable::Failed(failure))) => failure,
        Err(_) => {
            let problem = silent();
            return Inspection::NotNow { problem };
        }
    };
    let problem = problem_of(&failure);
    match problem.kind {
        ProblemKind::NotMcp => elsewhere(context, url, &failure, problem, until).await,
        _ => Inspection::NotNow { problem },
    }
}

async fn from_found(
    context: &Arc<SessionContext>,
    url: &EndpointUrl,
    found: FoundServer,
    until: Instant,
) -> Inspection {
    let (challenge, words) = match found {
        FoundServer::Open(report) => return Inspection::Ready { report },
        FoundServer::Protected { challenge, words } => (challenge, words),
    };
    if url.is_exposed() {
        // A sign-in over plain http is rejected.
        return Inspection::HeaderNeeded { words };
    }
    let target = Target::new(url.clone(), ServerAuth::Discover);
    let offered = context.identity.find_sign_in(&target, challenge.as_deref());
    match timeout_at(until, offered).await {
        Ok(Ok(())) | Err(_) => Inspection::SignIn,
        Ok(Err(SignInError::NoSignIn { .. })) => Inspection::HeaderNeeded { words },
        Ok(Err(error)) => Inspection::NotNow {
            problem: problem::from_new_sign_in(url, &error),
        },
    }
}

/// Searches the usual paths.
async fn elsewhere(
    context: &Arc<SessionContext>,
    url: &EndpointUrl,
    failure: &UpstreamError,
    problem: Problem,
    until: Instant,
) -> Inspection {
    let places = match failure {
        UpstreamError::NotTls => Vec::new(),
        _ => usual_places(url),
    };
    // Sends all requests at once. The first path with a server wins, so a later one that does not
    // respond costs no time.
    let mut looks = FuturesOrdered::new();
    for place in places {
        looks.push_back(connect_until(context, place, until));
    }
    while let Some(looked) = looks.next().await {
        if let Some((place, found)) = looked {
            return Inspection::Elsewhere {
                problem,
                url: place.to_string(),
                found: Box::new(from_found(context, &place, found, until).await),
            };
        }
    }
    Inspection::NoServer { problem }
}

async fn connect_until(
    context: &Arc<SessionContext>,
    place: EndpointUrl,
    until: Instant,
) -> Option<(EndpointUrl, FoundServer)> {
    let found = timeout_at(until, connect(context, &place)).await;
    let found = found.ok()?.ok()?;
    Some((place, found))
}

/// Returns other URLs where the server may be. Returns none if the path ends like that of a server,
/// or if the URL has a query, which belongs to its path.
fn usual_places(url: &EndpointUrl) -> Vec<EndpointUrl> {
    let path = url.url().path().trim_end_matches('/');
    let is_whole = path.ends_with("/mcp") || path.ends_with("/sse");
    if is_whole || url.url().query().is_some() {
        return Vec::new();
    }
    let origin = url.url().origin().ascii_serialization();
    let mut places = Vec::new();
    for place in [format!("{path}/mcp"), "/mcp".to_owned(), "/sse".to_owned()] {
        let text = format!("{origin}{place}");
        let place = match url.is_exposed() {
            true => EndpointUrl::allowing_http(&text),
            false => text.parse(),
        };
        places.extend(place.ok().filter(|place| !places.contains(place)));
    }
    places
}

/// Converts a failure. Quotes the server if its response has a message.
fn problem_of(failure: &UpstreamError) -> Problem {
    let problem = problem::from_failure(failure);
    let UpstreamError::Rejected { body, .. } = failure else {
        return problem;
    };
    match body.as_ref().and_then(Message::error) {
        Some(error) => Problem {
            message: probe::refused(&words(error.get())).message,
            ..problem
        },
        None => problem,
    }
}

fn silent() -> Problem {
    let text = format!(
        "the server has not answered within {} seconds",
        TIMEOUT.as_secs()
    );
    Problem::new(ProblemKind::Unreachable, text)
        .with_hint("check the URL and whether the server is running")
}

#[cfg(test)]
mod tests {
    use model::EndpointUrl;

    use super::usual_places;

    #[test]
    fn usual_paths_stay_at_origin() {
        let places = |url: &str| -> Vec<String> {
            let places = usual_places(&url.parse().unwrap());
            places.iter().map(EndpointUrl::to_string).collect()
        };
        assert_eq!(
            places("https://mcp.contoso.com"),
            ["https://mcp.contoso.com/mcp", "https://mcp.contoso.com/sse"]
        );
        assert_eq!(
            places("https://mcp.contoso.com:8443/api/files/"),
            [
                "https://mcp.contoso.com:8443/api/files/mcp",
                "https://mcp.contoso.com:8443/mcp",
                "https://mcp.contoso.com:8443/sse",
            ]
        );
        for whole in [
            "https://mcp.contoso.com/mcp",
            "https://mcp.contoso.com/files/mcp/",
            "https://mcp.contoso.com/sse",
            "https://mcp.contoso.com/?key=secret",
        ] {
            assert!(places(whole).is_empty(), "{whole}");
        }
    }
}
