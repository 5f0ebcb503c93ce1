//! Discovery, client registration, sign-in, tokens, and the vault that stores them.
//!
//! Owns: everything between the server's 401 and an `Authorization` header: protected resource and
//! authorization server metadata, client registration, the browser sign-in and its loopback
//! callback, the OAuth profile of Microsoft Entra ID, refresh, and the vault, whose key lies in
//! the system keychain, with the secrets that the user stored there.
//! Does not own: MCP messages; when a browser may be opened, and opening it (both: `bridge`).

mod account;
mod approval;
mod audience;
mod callback_ports;
mod client_credentials;
mod consents;
mod diagnostics;
mod digest;
mod discovery;
mod entra;
mod error;
mod explanation;
pub mod http;
mod identity;
mod oauth_error;
mod random;
mod registration;
mod secret;
mod sign_in;
mod target;
mod text;
mod token;
mod vault;

pub use account::{Account, AccountKey};
pub use approval::{Approval, AudienceChange};
pub use audience::ConfiguredServer;
pub use consents::{Consent, ConsentsError};
pub use diagnostics::{CheckKind, Finding, Verdict};
pub use discovery::challenge_words;
pub use error::{AuthorizationError, MixUp, SecretError, SignInError, SignInReason, SignOutError};
pub use explanation::{Actor, Explanation};
pub use identity::{Identity, IdentityOptions};
pub use sign_in::{AccountSelection, DeviceFlow, PastedCallback, PastedCallbackError, SignInFlow};
pub use target::{Authorization, ClientMetadata, IsOtherUser, Target, TokenNumber};
pub use vault::{Unsaved, Vault, VaultError, VaultKind, VaultState};
