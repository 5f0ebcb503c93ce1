//! The notifications: a pure function of two statuses.

use control::api::{AccountState, Actor, Problem, ServerModeState, State};

use crate::bridge_status::BridgeStatus;
use crate::menu::pending_approval;

/// A desktop notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DesktopNotification {
    pub(crate) title: String,
    pub(crate) body: String,
}

impl DesktopNotification {
    /// Creates the notification of a failed action.
    pub(crate) fn from_problem(problem: &Problem) -> Self {
        Self {
            title: problem.message.clone(),
            body: problem.hint.clone().unwrap_or_default(),
        }
    }
}

/// Returns the notifications of a change. Problems that existed when the app started are only shown
/// by the icon.
pub(crate) fn notifications(
    before: &BridgeStatus,
    after: &BridgeStatus,
) -> Vec<DesktopNotification> {
    let (BridgeStatus::Connected(before), BridgeStatus::Connected(after)) = (before, after) else {
        return Vec::new();
    };
    [
        account_expired(before, after),
        sign_in_refused(before, after),
        browser_failed(before, after),
        approval_requested(before, after),
        user_code_shown(before, after),
        gateway_failed(before, after),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn account_expired(before: &State, after: &State) -> Option<DesktopNotification> {
    let usable = |id: &str| {
        let same = |account: &&control::api::AccountView| account.id == id;
        before
            .accounts
            .iter()
            .find(same)
            .is_some_and(|account| account.state == AccountState::SignedIn)
    };
    let ended = after
        .accounts
        .iter()
        .find(|one| one.state == AccountState::SignInNeeded && usable(&one.id))?;
    let who = ended.username.as_ref().or(ended.name.as_ref());
    Some(DesktopNotification {
        title: "Sign in again".to_owned(),
        body: format!(
            "{} must sign in again before apps can continue.",
            who.unwrap_or(&ended.issuer)
        ),
    })
}

/// Returns a notification if another person must act before a sign-in can succeed.
fn sign_in_refused(before: &State, after: &State) -> Option<DesktopNotification> {
    let known = |name: &str| {
        let mut servers = before.servers.iter();
        servers.any(|one| one.name == name && one.sign_in_problem.is_some())
    };
    let mut servers = after.servers.iter();
    let (server, problem) = servers.find_map(|server| {
        let problem = server.sign_in_problem.as_ref()?;
        let refusal = problem.refusal.as_ref()?;
        let news = !known(&server.name) && refusal.actor != Actor::You;
        news.then_some((server, problem))
    })?;
    Some(DesktopNotification {
        title: format!("{} is unavailable", server.name),
        body: DesktopNotification::from_problem(problem).body,
    })
}

fn browser_failed(before: &State, after: &State) -> Option<DesktopNotification> {
    let known = |server: &str| {
        before
            .sign_ins
            .iter()
            .any(|one| one.server == server && one.browser_problem.is_some())
    };
    let waiting = after
        .sign_ins
        .iter()
        .find(|one| one.browser_problem.is_some() && !known(&one.server))?;
    Some(DesktopNotification {
        title: format!(
            "The browser could not be opened to sign in to {}",
            waiting.server
        ),
        body: "Open Postern to copy the link.".to_owned(),
    })
}

/// Returns a notification if a server asks for access and no page shows that.
fn approval_requested(before: &State, after: &State) -> Option<DesktopNotification> {
    let known = |server: &str| {
        let mut waiting = before.sign_ins.iter();
        waiting.any(|one| one.server == server && pending_approval(one).is_some())
    };
    let mut waiting = after.sign_ins.iter();
    let (server, resource) = waiting.find_map(|one| {
        let resource = pending_approval(one)?;
        (!known(&one.server)).then_some((&one.server, resource))
    })?;
    Some(DesktopNotification {
        title: format!("{server} asks for access to {resource}"),
        body: "Open Postern to allow it.".to_owned(),
    })
}

fn user_code_shown(before: &State, after: &State) -> Option<DesktopNotification> {
    let known = |code: &control::api::UserCodeView| {
        before
            .sign_ins
            .iter()
            .any(|one| one.code.as_ref() == Some(code))
    };
    let mut waiting = after.sign_ins.iter();
    waiting.find_map(|one| {
        let code = one.code.as_ref().filter(|code| !known(code))?;
        Some(DesktopNotification {
            title: format!("Enter {} to sign in to {}", code.code, one.server),
            body: format!("On any device, at {}", code.page),
        })
    })
}

fn gateway_failed(before: &State, after: &State) -> Option<DesktopNotification> {
    match (&before.server_mode, &after.server_mode) {
        (
            ServerModeState::Running { .. } | ServerModeState::Starting,
            ServerModeState::Failed { problem },
        ) => Some(DesktopNotification::from_problem(problem)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use control::api::{AccountState, Problem, ProblemKind, ServerModeState, SignInView};

    use super::{DesktopNotification, notifications};
    use crate::bridge_status::BridgeStatus;
    use crate::menu::canned::{account, approval, sign_in, state, user_code};

    fn titles(before: &BridgeStatus, after: &BridgeStatus) -> Vec<String> {
        let new = notifications(before, after).into_iter();
        new.map(|notification: DesktopNotification| notification.title)
            .collect()
    }

    fn status(change: impl FnOnce(&mut control::api::State)) -> BridgeStatus {
        let mut state = state();
        change(&mut state);
        BridgeStatus::Connected(Box::new(state))
    }

    #[test]
    fn expired_account_is_reported_once() {
        let with = |is| {
            status(|state| {
                state.accounts = vec![account("a", "Ada")];
                state.accounts[0].state = is;
            })
        };
        let (fine, expired) = (
            with(AccountState::SignedIn),
            with(AccountState::SignInNeeded),
        );
        assert_eq!(titles(&fine, &expired), ["Sign in again"]);
        assert!(titles(&expired, &expired).is_empty());
        assert!(titles(&BridgeStatus::Starting, &expired).is_empty());
    }

    #[test]
    fn failed_browser_is_reported() {
        let waiting = |problem: Option<&str>| {
            status(|state| {
                state.sign_ins = vec![SignInView {
                    browser_problem: problem.map(str::to_owned),
                    ..sign_in("https://login.example.com")
                }];
            })
        };
        let failed = waiting(Some("no browser"));
        assert_eq!(
            titles(&waiting(None), &failed),
            ["The browser could not be opened to sign in to snippets"]
        );
        assert!(titles(&failed, &failed).is_empty());
    }

    #[test]
    fn pending_approval_is_reported_once_unless_page_asks() {
        let waiting = |on_page: bool| {
            status(|state| {
                state.sign_ins = vec![SignInView {
                    approval: Some(approval(on_page)),
                    ..sign_in("")
                }];
            })
        };
        let (asked, on_page) = (waiting(false), waiting(true));
        assert_eq!(
            titles(&status(|_| {}), &asked),
            ["snippets asks for access to api://snippets"]
        );
        assert!(titles(&asked, &asked).is_empty());
        assert!(titles(&status(|_| {}), &on_page).is_empty());
    }

    #[test]
    fn user_code_is_reported_once() {
        let waiting = |code: &str| {
            status(|state| {
                state.sign_ins = vec![SignInView {
                    code: Some(user_code(code, "https://login.example.com")),
                    ..sign_in("https://login.example.com")
                }];
            })
        };
        let (first, second) = (waiting("WDJB-MJHT"), waiting("XXXX-YYYY"));
        assert_eq!(
            titles(&status(|_| {}), &first),
            ["Enter WDJB-MJHT to sign in to snippets"]
        );
        assert!(titles(&first, &first).is_empty());
        assert_eq!(titles(&first, &second).len(), 1);
    }

    #[test]
    fn failed_gateway_is_reported_and_stopped_one_is_not() {
        let mode = |is| status(|state| state.server_mode = is);
        let running = mode(ServerModeState::Running {
            url: "http://127.0.0.1:4180".into(),
            pid: 1,
        });
        let failed = mode(ServerModeState::Failed {
            problem: Problem::new(ProblemKind::Failed, "The gateway ended"),
        });
        assert_eq!(titles(&running, &failed), ["The gateway ended"]);
        assert!(titles(&running, &mode(ServerModeState::Off)).is_empty());
    }
}
