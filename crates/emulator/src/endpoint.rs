//! The endpoints that fault rules can name, and the kinds of requests to them.

use serde::{Deserialize, Serialize};

/// An endpoint that fault rules can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `/oauth2/v2.0/authorize`, and the pages behind it.
    Authorize,
    /// `/oauth2/v2.0/token`.
    Token,
    /// `/oauth2/v2.0/devicecode`.
    DeviceCode,
}

/// The kind of a request. It determines how an error is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// The authorization endpoint, and the pages behind it.
    Authorize,
    /// The same with `prompt=none`: the client wants no page.
    Silent,
    /// The token endpoint, with any grant except on-behalf-of.
    Token,
    /// The token endpoint, with the on-behalf-of grant.
    OnBehalfOf,
    /// The device authorization endpoint.
    DeviceCode,
}

impl Endpoint {
    /// All endpoints.
    pub(crate) const ALL: [Self; 3] = [Self::Authorize, Self::Token, Self::DeviceCode];

    /// Returns the name in commands and paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::DeviceCode => "devicecode",
        }
    }

    /// Returns the endpoint of a path, or `None` for other paths.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (_, last) = path.rsplit_once("/oauth2/v2.0/")?;
        Self::ALL.into_iter().find(|one| one.name() == last)
    }

    /// Returns the kind of its requests, unless their parameters tell more.
    pub(crate) fn kind(self) -> RequestKind {
        match self {
            Self::Authorize => RequestKind::Authorize,
            Self::Token => RequestKind::Token,
            Self::DeviceCode => RequestKind::DeviceCode,
        }
    }
}

impl RequestKind {
    /// Returns the endpoint of such requests.
    pub(crate) fn endpoint(self) -> Endpoint {
        match self {
            Self::Authorize | Self::Silent => Endpoint::Authorize,
            Self::Token | Self::OnBehalfOf => Endpoint::Token,
            Self::DeviceCode => Endpoint::DeviceCode,
        }
    }
}
