//! `Mcp-Session-Id` during forwarding: a caller gets a sealed id that is valid only for that caller.
//!
//! A backend trusts every caller that knows a session's id. The gateway seals the id together with
//! user and client. So an id that leaks is useless to others, and the gateway needs to store nothing.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::permit::Permit;
use crate::crypto::{KeyRing, Purpose};

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// A backend's id and its owner.
#[derive(Serialize, Deserialize)]
struct Sealed {
    id: String,
    owner: Owner,
}

/// The owner of a backend's id or endpoint. A new sign-in of the same user has the same owner.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    user: String,
    client: String,
    server: String,
}

impl Owner {
    pub(super) fn of(permit: &Permit) -> Self {
        let session = permit.session();
        Self {
            user: session.user.id(),
            client: session.client.clone(),
            server: session.server.to_string(),
        }
    }
}

/// The id does not belong to this caller.
#[derive(Debug)]
pub(super) struct ForeignSession;

/// Opens the caller's id in `from`, and puts the backend's id into `to`.
pub(super) fn open(
    keys: &KeyRing,
    permit: &Permit,
    from: &HeaderMap,
    to: &mut HeaderMap,
) -> Result<(), ForeignSession> {
    let Some(given) = from.get(MCP_SESSION_ID) else {
        return Ok(());
    };
    let sealed: Option<Sealed> = given
        .to_str()
        .ok()
        .and_then(|text| keys.open_json(Purpose::McpSession, text));
    let sealed = sealed
        .filter(|sealed| sealed.owner == Owner::of(permit))
        .ok_or(ForeignSession)?;
    let id = HeaderValue::try_from(sealed.id).map_err(|_| ForeignSession)?;
    to.insert(MCP_SESSION_ID, id);
    Ok(())
}

/// Seals the backend's id in `from`, and puts the caller's id into `to`.
pub(super) fn seal(keys: &KeyRing, permit: &Permit, from: &HeaderMap, to: &mut HeaderMap) {
    let Some(id) = from.get(MCP_SESSION_ID).and_then(|id| id.to_str().ok()) else {
        return;
    };
    let sealed = Sealed {
        id: id.to_owned(),
        owner: Owner::of(permit),
    };
    let sealed = keys.seal_json(Purpose::McpSession, &sealed);
    if let Ok(value) = HeaderValue::try_from(sealed) {
        to.insert(MCP_SESSION_ID, value);
    }
}
