//! What a client asks of the authorization endpoint, after every check.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::claims_request::ClaimsRequest;
use crate::endpoint::RequestKind;
use crate::fault::Fault;
use crate::redirect::RedirectTarget;

/// An authorization request that passed every check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    /// The authority that was asked, as paths name it.
    pub(crate) authority: String,
    pub(crate) client_id: Uuid,
    pub(crate) delivery: Delivery,
    pub(crate) scope: String,
    pub(crate) resource: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) login_hint: Option<String>,
    pub(crate) claims: ClaimsRequest,
}

/// How the client learns of the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Delivery {
    /// The browser is sent back to it.
    Redirect(Box<RedirectParameters>),
    /// It is a device, which asks; with the code that the person typed.
    Device(String),
}

/// What the authorization endpoint keeps for the client's return.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RedirectParameters {
    /// As the client sent it, to be compared when the code is redeemed.
    pub(crate) redirect_uri: String,
    pub(crate) target: RedirectTarget,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    /// The client wants `client_info`.
    pub(crate) client_info: bool,
}

impl AuthorizationRequest {
    /// How an error reaches the client or the person.
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

/// The `prompt` parameter; Entra takes one value only.
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
