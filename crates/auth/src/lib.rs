//! Who the user is: discovery, registration, sign-in, tokens and the vault that keeps them.
//!
//! Owns: everything between "the server said 401" and an `Authorization` header: protected
//! resource and authorization server metadata, client registration, the browser sign-in and its
//! loopback callback, the dialect of Microsoft Entra ID, refreshing, and the sealed files whose
//! key lies in the keychain of the operating system, with the secrets that a person stored there.
//! Does not own: MCP messages, when a browser may be opened, and opening it.

mod account;
mod audience;
mod client_credentials;
mod consents;
mod diagnostics;
mod discovery;
mod entra;
mod error;
mod explanation;
pub mod http;
mod identity;
mod random;
mod registration;
mod secret;
mod sign_in;
mod token;
mod vault;

pub use account::{Account, AccountKey};
pub use audience::{Approval, AudienceChange, ConfiguredServer};
pub use consents::{Consent, ConsentsError};
pub use diagnostics::{Aspect, Finding, Verdict};
pub use discovery::challenge_words;
pub use error::{AuthorizationError, MixUp, SecretError, SignInError, SignInReason, SignOutError};
pub use explanation::{Actor, Explanation};
pub use identity::{
    Authorization, Identity, IdentityOptions, IsOtherUser, NamedTarget, Program, Target,
    TokenNumber,
};
pub use sign_in::{DeviceFlow, HandIn, HandInError, SignInFlow, Whom};
pub use vault::{Unsaved, Vault, VaultError, VaultKind, VaultState};
