//! Decides whether a caller may reach a server, and what the server gets to know about the caller.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use model::ServerName;

use crate::bearer::Authenticated;
use crate::scope::Scopes;
use crate::servers::Server;
use crate::sessions::LiveSession;
use crate::storage::Seconds;

/// The header that identifies the caller to a backend: `{tenant}.{object id}`. It never changes for a
/// user.
pub(super) const USER: &str = "x-postern-user";

/// The facts about a caller that a decision needs.
struct Caller<'a> {
    server: &'a ServerName,
    scopes: &'a Scopes,
}

/// The requested action.
struct Action<'a> {
    server: &'a ServerName,
    needs: &'a Scopes,
}

/// Why a caller is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PermitError {
    /// The session is for another server (RFC 8707). The response is the same as without a token.
    OtherServer,
    /// These scopes are missing.
    Missing(Scopes),
}

/// Proof that a caller may reach a server.
pub(super) struct Permit {
    session: Arc<LiveSession>,
    server: Arc<Server>,
    until: Seconds,
}

/// Decides whether the caller may reach the server. The decision itself is a pure function.
pub(super) fn decide(caller: &Authenticated, server: &Arc<Server>) -> Result<Permit, PermitError> {
    let session = caller.session();
    let known = Caller {
        server: &session.server,
        scopes: caller.scopes(),
    };
    let action = Action {
        server: &server.name,
        needs: &server.scopes,
    };
    allows(&known, &action)?;
    Ok(Permit {
        session: Arc::clone(session),
        server: Arc::clone(server),
        until: caller.expires_at(),
    })
}

fn allows(caller: &Caller<'_>, action: &Action<'_>) -> Result<(), PermitError> {
    if caller.server != action.server {
        return Err(PermitError::OtherServer);
    }
    let missing = caller.scopes.missing(action.needs);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PermitError::Missing(missing))
    }
}

impl Permit {
    pub(super) fn session(&self) -> &Arc<LiveSession> {
        &self.session
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Returns when the access token expires for which it was granted.
    pub(super) fn until(&self) -> Seconds {
        self.until
    }
}

/// The credential for a backend, in place of the caller's.
pub(super) struct BackendCredential {
    headers: HeaderMap,
}

impl BackendCredential {
    pub(super) fn of(permit: &Permit) -> Self {
        let mut headers = permit.server.injected.clone();
        let user = HeaderValue::try_from(permit.session.user.id());
        headers.insert(USER, user.expect("an id was checked to be plain ASCII"));
        Self { headers }
    }

    pub(super) fn into_headers(self) -> HeaderMap {
        self.headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permit_requires_server_and_scopes_of_session() {
        let (a, b): (ServerName, ServerName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let decided = |has: &str, server, needs: &str| {
            let scopes = Scopes::from_words(has);
            let needs = Scopes::from_words(needs);
            let caller = Caller {
                server: &a,
                scopes: &scopes,
            };
            allows(
                &caller,
                &Action {
                    server,
                    needs: &needs,
                },
            )
        };
        let missing = |words| Err(PermitError::Missing(Scopes::from_words(words)));
        assert_eq!(decided("mcp", &a, "mcp"), Ok(()));
        assert_eq!(decided("mcp more", &a, "mcp"), Ok(()));
        assert_eq!(decided("", &a, ""), Ok(()));
        assert_eq!(decided("mcp", &b, "mcp"), Err(PermitError::OtherServer));
        assert_eq!(decided("", &b, ""), Err(PermitError::OtherServer));
        assert_eq!(
            decided("read", &a, "read write admin"),
            missing("write admin")
        );
        assert_eq!(decided("READ", &a, "read"), missing("read"));
    }
}
