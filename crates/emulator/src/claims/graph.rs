//! Tokens for Microsoft Graph, as Graph reads them.

use serde::Deserialize;
use uuid::Uuid;

use super::jwt;
use crate::entra::Entra;
use crate::scope::GRAPH_ID;

/// The claims of a user's token for Graph.
#[derive(Deserialize)]
pub(crate) struct GraphClaims {
    aud: Uuid,
    exp: u64,
    pub(crate) appid: Uuid,
    pub(crate) oid: Uuid,
    scp: String,
}

impl GraphClaims {
    /// Returns the claims of a valid token for Graph. Returns `None` if Graph would reject it now.
    pub(crate) fn read(entra: &Entra, token: &str) -> Option<Self> {
        let claims: Self = jwt::read_for_graph(entra, token)?;
        (claims.aud == GRAPH_ID && entra.clock.unix() < claims.exp).then_some(claims)
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scp.split(' ').any(|granted| granted == scope)
    }
}
