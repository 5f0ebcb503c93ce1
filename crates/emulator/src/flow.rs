//! A sign-in under way: what the client asked for, and which page the person is at.
//!
//! Pure: from a page and an answer to the next page, or to the end. Between two requests the
//! flow lies sealed in the page's form, so that the server remembers nothing of people who
//! never finish, and opens only for the browser it was made for.

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

/// What lies sealed in a form: a request, and the page that the form is on.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) request: AuthorizationRequest,
    pub(crate) step: Step,
    /// When the client asked, in seconds since 1970.
    pub(crate) started: u64,
}

/// The page that the person is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    PickAccount,
    /// With what was typed before, or what the client hinted at.
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
    /// Whether the person asked for the device's code, and nobody else did.
    Confirm {
        session: Session,
    },
    /// Only an administrator can consent.
    Approval {
        session: Session,
        kind: Approval,
    },
    /// An administrator was asked to.
    ApprovalRequested {
        session: Session,
    },
}

/// What a person can do who is not an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Approval {
    /// Nothing.
    Missing,
    /// Ask for it on the page.
    Requestable,
}

impl Approval {
    /// What the client reads of somebody who leaves without.
    fn fault(self) -> Fault {
        let requirement = match self {
            Self::Missing => Requirement::AdminConsent,
            Self::Requestable => Requirement::AdminApproval,
        };
        Fault::listed(requirement.number(), RequestKind::Authorize)
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Show a page.
    ShowPage(Step),
    /// Show it again, and say why.
    ShowPageWithError(Step, &'static str),
    /// The password was right: remember the session, and go on with it.
    SignIn(Session),
    /// The browser knew the person: go on.
    Continue(Session),
    /// The person agreed to what the client wants to do: remember that, and go on.
    Consent(Session),
    /// Nothing is left to ask.
    Finish(Session),
    /// Tell the client no.
    Fail(Fault),
}

/// Where a request starts.
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

/// From the page `step` and what the person answered to what comes next.
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

/// What the tenant's policies and the client still want of a person who is signed in.
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

/// What is left when nobody wants anything more of the person.
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
