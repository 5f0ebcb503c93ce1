//! The authorization request of a client after validation.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::claims_request::ClaimsRequest;
use crate::endpoint::RequestKind;
use crate::fault::Fault;
use crate::redirect::RedirectTarget;

/// A validated authorization request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    /// The path segment of the requested authority.
    pub(crate) authority: String,
    pub(crate) client_id: Uuid,
    pub(crate) delivery: Delivery,
    pub(crate) scope: String,
    pub(crate) resource: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) login_hint: Option<String>,
    pub(crate) claims: ClaimsRequest,
}

/// How the client gets the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Delivery {
    /// The browser is redirected to the client.
    Redirect(Box<RedirectParameters>),
    /// The client is a device that polls. Contains the user code that the user typed.
    Device(String),
}

/// The parameters of a request that ends with a redirect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RedirectParameters {
    /// The value that the client sent. It is compared when the code is redeemed.
    pub(crate) redirect_uri: String,
    pub(crate) target: RedirectTarget,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    /// Whether the client requests `client_info`.
    pub(crate) client_info: bool,
}

impl AuthorizationRequest {
    /// Returns the kind, which determines how errors are delivered.
    pub(crate) fn kind(&self) -> RequestKind {
        match self.prompt {
            Some(Prompt::None) => RequestKind::Silent,
            None | Some(Prompt::Login | Prompt::SelectAccount | Prompt::Consent) => {
                RequestKind::Authorize
            }
        }
    }
}

/// A PKCE challenge (RFC 7636).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Challenge {
    /// The verifier itself.
    Plain(String),
    /// Its SHA-256.
    S256(String),
}

/// The `prompt` parameter. Entra accepts a single value only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Prompt {
    None,
    Login,
    SelectAccount,
    Consent,
}

impl Prompt {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "none" => Ok(Self::None),
            "login" => Ok(Self::Login),
            "select_account" => Ok(Self::SelectAccount),
            "consent" => Ok(Self::Consent),
            _ => Err(Fault::UnsupportedPrompt),
        }
    }
}
