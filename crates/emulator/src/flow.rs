//! The state machine of a sign-in: from a page and the user's input to the next page or the end.
//!
//! It is pure. Between two requests the flow is sealed in the form of the page. So the server
//! stores nothing for users who never finish, and a flow opens only in the browser it was created
//! for.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::authority::AllowedUsers;
use crate::authorization_request::{AuthorizationRequest, Delivery, Prompt};
use crate::browser::Browser;
use crate::endpoint::RequestKind;
use crate::fault::Fault;
use crate::fault_injection::Requirement;
use crate::parameters::Parameters;
use crate::session::Session;

/// The sealed content of a form: a request and the current page.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) request: AuthorizationRequest,
    pub(crate) step: Step,
    /// The time of the authorization request, in seconds since 1970.
    pub(crate) started: u64,
}

/// The current page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    PickAccount,
    /// Contains what the user typed before, or the client's hint.
    Username {
        typed: String,
    },
    Password {
        user: Uuid,
    },
    StaySignedIn {
        user: Uuid,
        authenticated_at: u64,
    },
    SecondFactor {
        session: Session,
    },
    Consent {
        session: Session,
    },
    /// Asks whether the user requested the device code. Another person may have sent it.
    Confirm {
        session: Session,
    },
    /// Only an administrator can consent.
    Approval {
        session: Session,
        kind: Approval,
    },
    /// The user requested an administrator's consent.
    ApprovalRequested {
        session: Session,
    },
}

/// What a user who is not an administrator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Approval {
    /// Leave the page.
    Missing,
    /// Request the consent on the page.
    Requestable,
}

impl Approval {
    /// Returns the error for the client if the user leaves without consent.
    fn fault(self) -> Fault {
        let requirement = match self {
            Self::Missing => Requirement::AdminConsent,
            Self::Requestable => Requirement::AdminApproval,
        };
        Fault::listed(requirement.number(), RequestKind::Authorize)
    }
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Show a page.
    ShowPage(Step),
    /// Show the page again with an error message.
    ShowPageWithError(Step, &'static str),
    /// The password was correct: store the session in the browser, and continue.
    SignIn(Session),
    /// The browser already had a session: continue.
    Continue(Session),
    /// The user consented: record it, and continue.
    Consent(Session),
    /// The sign-in is complete.
    Finish(Session),
    /// Return an error to the client.
    Fail(Fault),
}

/// Returns the first step of a request.
pub(crate) fn begin(
    request: &AuthorizationRequest,
    browser: &Browser,
    users: AllowedUsers<'_>,
) -> Next {
    let hinted = request.login_hint.as_deref();
    let user = hinted.and_then(|hint| users.find(hint).ok());
    let sessions = || browser.sessions().filter(|one| users.contains(one.user));
    let known = match hinted {
        Some(_) => user.and_then(|user| browser.session_of(user)),
        None => only(sessions()),
    };
    let first_step = match user {
        Some(user) => Step::Password { user },
        None => match hinted {
            Some(hint) => username_step(hint),
            None => first_page(browser, users),
        },
    };
    match (request.prompt, known) {
        (Some(Prompt::None), Some(session)) => Next::Continue(session.clone()),
        (Some(Prompt::None), None) if hinted.is_none() && sessions().count() > 1 => {
            Next::Fail(Fault::SeveralSignedIn)
        }
        (Some(Prompt::None), None) => Next::Fail(Fault::NoUserSignedIn),
        (Some(Prompt::SelectAccount), _) => Next::ShowPage(first_page(browser, users)),
        (Some(Prompt::Login), _) => Next::ShowPage(first_step),
        (None | Some(Prompt::Consent), Some(session)) => Next::Continue(session.clone()),
        (None | Some(Prompt::Consent), None) => Next::ShowPage(first_step),
    }
}

/// Returns the step after the page `step` and the user's input.
pub(crate) fn advance(
    request: &AuthorizationRequest,
    step: Step,
    form: &Parameters,
    browser: &Browser,
    users: AllowedUsers<'_>,
    now: u64,
) -> Next {
    let back = form.optional("action") == Some("back");
    match step {
        Step::PickAccount | Step::Username { .. } if back => {
            Next::Fail(Fault::Declined(request.client_id))
        }
        Step::PickAccount if form.optional("action") == Some("other") => {
            Next::ShowPage(username_step(""))
        }
        Step::PickAccount => choose_account(request, form.optional("account"), browser, users),
        Step::Username { .. } => submit_username(form, users),
        Step::Password { .. } if back => Next::ShowPage(first_page(browser, users)),
        Step::Password { user } => match form.optional("passwd") {
            Some(_) => Next::ShowPage(Step::StaySignedIn {
                user,
                authenticated_at: now,
            }),
            None => Next::ShowPageWithError(Step::Password { user }, "Please enter your password."),
        },
        Step::StaySignedIn {
            user,
            authenticated_at,
        } => Next::SignIn(Session {
            id: Uuid::new_v4(),
            user,
            authenticated_at,
            persistent: !back,
            second_factor: false,
        }),
        Step::SecondFactor { .. } | Step::Consent { .. } | Step::Confirm { .. } if back => {
            Next::Fail(Fault::Declined(request.client_id))
        }
        Step::SecondFactor { session } => match form.optional("otc") {
            Some(_) => Next::SignIn(Session {
                second_factor: true,
                ..session
            }),
            None => {
                Next::ShowPageWithError(Step::SecondFactor { session }, "Please enter the code.")
            }
        },
        Step::Consent { session } => Next::Consent(session),
        Step::Confirm { session } => Next::Finish(session),
        Step::Approval {
            session,
            kind: Approval::Requestable,
        } if !back => Next::ShowPage(Step::ApprovalRequested { session }),
        Step::Approval { kind, .. } => Next::Fail(kind.fault()),
        Step::ApprovalRequested { .. } => Next::Fail(Approval::Requestable.fault()),
    }
}

/// Returns what policies and the client still require of a signed-in user.
pub(crate) fn after_sign_in(
    request: &AuthorizationRequest,
    session: Session,
    requirement: Option<Requirement>,
) -> Next {
    let Some(requirement) = requirement else {
        return match (&request.delivery, request.prompt) {
            (Delivery::Redirect(_), Some(Prompt::Consent)) => {
                Next::ShowPage(Step::Consent { session })
            }
            (Delivery::Device(_), _)
            | (
                Delivery::Redirect(_),
                None | Some(Prompt::None | Prompt::Login | Prompt::SelectAccount),
            ) => after_consent(request, session),
        };
    };
    let fault = Fault::listed(requirement.number(), request.kind());
    if request.prompt == Some(Prompt::None) {
        return Next::Fail(fault);
    }
    match requirement {
        Requirement::Assignment
        | Requirement::CompliantDevice
        | Requirement::DomainJoinedDevice
        | Requirement::ApprovedApp
        | Requirement::Blocked => Next::Fail(fault),
        Requirement::SecondFactor => Next::ShowPage(Step::SecondFactor { session }),
        Requirement::Consent => Next::ShowPage(Step::Consent { session }),
        Requirement::AdminConsent => Next::ShowPage(Step::Approval {
            session,
            kind: Approval::Missing,
        }),
        Requirement::AdminApproval => Next::ShowPage(Step::Approval {
            session,
            kind: Approval::Requestable,
        }),
    }
}

/// Returns the step after all requirements are met.
pub(crate) fn after_consent(request: &AuthorizationRequest, session: Session) -> Next {
    match request.delivery {
        Delivery::Device(_) => Next::ShowPage(Step::Confirm { session }),
        Delivery::Redirect(_) => Next::Finish(session),
    }
}

fn first_page(browser: &Browser, users: AllowedUsers<'_>) -> Step {
    if browser.accounts.iter().any(|one| users.contains(one.user)) {
        Step::PickAccount
    } else {
        username_step("")
    }
}

fn choose_account(
    request: &AuthorizationRequest,
    account: Option<&str>,
    browser: &Browser,
    users: AllowedUsers<'_>,
) -> Next {
    let Some(user) = account.and_then(|name| users.find(name).ok()) else {
        return Next::ShowPage(Step::PickAccount);
    };
    match browser.session_of(user) {
        Some(session) if request.prompt != Some(Prompt::Login) => Next::Continue(session.clone()),
        _ => Next::ShowPage(Step::Password { user }),
    }
}

fn submit_username(form: &Parameters, users: AllowedUsers<'_>) -> Next {
    let typed = form
        .optional("account")
        .or_else(|| form.optional("loginfmt"));
    let Some(typed) = typed else {
        return Next::ShowPageWithError(username_step(""), "Enter a user name.");
    };
    match users.find(typed) {
        Ok(user) => Next::ShowPage(Step::Password { user }),
        Err(problem) => Next::ShowPageWithError(username_step(typed), problem),
    }
}

fn username_step(typed: &str) -> Step {
    Step::Username {
        typed: typed.to_owned(),
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    first.filter(|_| items.next().is_none())
}
