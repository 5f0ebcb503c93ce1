//! The one typed management API: what the window, the tray and the command line ask of the
//! bridge, and what they see of it.
//!
//! Owns: requests, replies, and the view that a client is shown. No view carries a secret; of the
//! requests [`ServerModeForm`], [`Request::SetSecret`] and [`Request::FinishSignIn`] do, and show
//! none.
//! One [`Request`] gets one [`Reply`] or one [`Problem`]; [`Request::Watch`] gets a [`State`] at
//! once and another after every change, until the connection ends.

mod problem;
mod request;
mod secret;
mod view;

pub use problem::{Actor, AuthErrorView, Problem, ProblemKind};
pub use request::{
    ConsentList, ConsentView, DoctorCheck, DoctorOutcome, HostChange, HostImport, ImportedServer,
    Inspection, NotAsked, Reply, Request, SecretView, ServerModeForm, SignInCheck, SignInWay,
    SkippedEntry, TestReport, ToolResult,
};
pub use secret::{BrowserAnswer, ClientSecret, HeaderSecret};
pub use view::{
    AccountState, AccountView, ApprovalView, BridgeView, HostId, HostView, ServerModeState,
    ServerState, ServerView, SessionState, SessionView, SignInView, State, ToolView, UserCodeView,
    VaultState, VaultView,
};

/// Whole seconds since 1970.
pub type UnixSeconds = u64;
