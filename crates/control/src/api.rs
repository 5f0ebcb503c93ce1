//! The typed management API for the window, the tray and the command line.
//!
//! Owns: requests, replies, and views of the state. Does not own: how requests are carried out. Views
//! contain no secrets. [`ServerModeForm`], [`Request::SetSecret`] and [`Request::FinishSignIn`]
//! contain secrets, which their `Debug` output omits.
//! A [`Request`] gets one [`Reply`] or one [`Problem`]. [`Request::Watch`] gets the current [`State`],
//! and another one after every change until the connection ends.

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

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::{DoctorOutcome, SessionView, SignInWay};

    #[test]
    fn older_spellings_are_accepted_and_not_written() {
        for (older, newer) in [
            ("here", "local"),
            ("elsewhere", "remote"),
            ("code", "device-code"),
            ("page", "manual"),
        ] {
            let way: SignInWay = from_value(json!(older)).unwrap();
            assert_eq!(to_value(way).unwrap(), newer);
        }
        for (older, newer) in [("fine", "ok"), ("broken", "failed")] {
            let outcome: DoctorOutcome = from_value(json!(older)).unwrap();
            assert_eq!(to_value(outcome).unwrap(), newer);
        }
        let older = json!({ "id": 1, "server": "crm", "host": "", "face": "http", "since": 0 });
        let session: SessionView = from_value(older).unwrap();
        assert_eq!(to_value(session).unwrap()["transport"], "http");
    }
}
