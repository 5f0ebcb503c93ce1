//! The claims of tokens: id tokens, and access tokens in the version that the resource requires.
//!
//! One file per kind of token. `jwt` signs and reads them.

mod access_token;
mod client_info;
pub(crate) mod graph;
mod id_token;
pub(crate) mod jwt;

use serde::Serialize;
use uuid::{Builder, Uuid};

pub(crate) use access_token::access_token;
pub(crate) use client_info::client_info;
pub(crate) use id_token::id_token;

use crate::entra::Entra;
use crate::random;
use crate::tenant::Tenant;

/// How many seconds Entra backdates tokens, for clients whose clocks are behind.
pub(crate) const BACKDATE: u64 = 5 * 60;

/// Returns the pairwise `sub`: the same user has a different one at each app.
pub(crate) fn subject(tenant: &Tenant, app: Uuid, user: Uuid) -> String {
    random::sha256(format!("{}.{app}.{user}", tenant.id))
}

/// Returns the object id of an app's service principal in `tenant`. It is `oid` and `sub` in tokens
/// of the app itself.
pub(crate) fn service_principal(tenant: &Tenant, app: Uuid) -> Uuid {
    let digest = random::digest(format!("service principal {}.{app}", tenant.id));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[derive(Serialize)]
struct Time {
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl Time {
    /// Returns the times of a token for `user`, or for an app if `None`. They are not before the
    /// time that APIs require.
    fn new(entra: &Entra, user: Option<Uuid>, lifetime: u64) -> Self {
        let now = entra.clock.unix();
        let now = user.map_or(now, |user| entra.fault_rules.not_before(user, now));
        let back = now.saturating_sub(BACKDATE);
        Self {
            iat: back,
            nbf: back,
            exp: now + lifetime,
        }
    }
}
