//! The endpoints that rules name, and the kinds of requests that they answer.

use serde::{Deserialize, Serialize};

/// An endpoint that switches know by name.
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

/// Where a request came in that is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// The authorization endpoint, and the pages behind it.
    Authorize,
    /// The same, for a client that wants no page (`prompt=none`).
    Silent,
    /// The token endpoint, with any grant but the next.
    Token,
    /// The token endpoint, on behalf of a person.
    OnBehalfOf,
    /// The device authorization endpoint.
    DeviceCode,
}

impl Endpoint {
    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Authorize, Self::Token, Self::DeviceCode];

    /// As commands name it, and paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::DeviceCode => "devicecode",
        }
    }

    /// The endpoint that a path leads to.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (_, last) = path.rsplit_once("/oauth2/v2.0/")?;
        Self::ALL.into_iter().find(|one| one.name() == last)
    }

    /// What its requests are occasions of.
    pub(crate) fn kind(self) -> RequestKind {
        match self {
            Self::Authorize => RequestKind::Authorize,
            Self::Token => RequestKind::Token,
            Self::DeviceCode => RequestKind::DeviceCode,
        }
    }
}

impl RequestKind {
    /// The endpoint of it.
    pub(crate) fn endpoint(self) -> Endpoint {
        match self {
            Self::Authorize | Self::Silent => Endpoint::Authorize,
            Self::Token | Self::OnBehalfOf => Endpoint::Token,
            Self::DeviceCode => Endpoint::DeviceCode,
        }
    }
}
