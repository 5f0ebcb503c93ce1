//! What a person is shown of a sign-in that waits.

use std::sync::Arc;

use auth::{Approval, DeviceFlow, HandIn, SignInFlow};
use control::api::{ApprovalView, SignInView, SignInWay, UnixSeconds, UserCodeView};
use tokio::sync::Notify;
use url::Url;

use crate::browser::NoBrowserReason;

/// After how many seconds a person who asks again is taken to have lost the page.
const REOPEN_AFTER: UnixSeconds = 5;

/// A page, or a code to enter on one.
pub(super) enum SignInPrompt {
    /// A page that hosts are asked to show, or that the bridge is about to open.
    Asked { page: Page },
    /// A page that the bridge opens, or a host.
    Opened {
        page: Page,
        /// When it was opened last.
        opened: UnixSeconds,
        browser_problem: Option<String>,
    },
    /// A page that somebody opens on another machine.
    Remote {
        page: Page,
        why: Option<NoBrowserReason>,
        hand_in: HandIn,
    },
    /// A code.
    Code { url: Url, code: UserCodeView },
    /// A question to the user that no page asks, because the sign-in has no page on this machine.
    Approval {
        approval: Approval,
        allow: Arc<Notify>,
    },
    /// What another flow takes the place of. Its address is not good any longer.
    Replaced,
}

/// A page that the browser comes back from.
pub(super) struct Page {
    url: Url,
    port: u16,
    /// What it asks the user first.
    approval: Option<Approval>,
}

impl Page {
    pub(super) fn from_flow(flow: &SignInFlow) -> Self {
        Self {
            url: flow.url().clone(),
            port: flow.port(),
            approval: flow.approval().cloned(),
        }
    }
}

impl SignInPrompt {
    /// The code of a flow.
    pub(super) fn code(flow: &DeviceFlow) -> Self {
        let page = flow.verification_uri();
        Self::Code {
            url: flow.complete_uri().unwrap_or(page).url().clone(),
            code: UserCodeView {
                code: flow.user_code().to_owned(),
                page: page.url().to_string(),
                until: flow.expires_at(),
            },
        }
    }

    /// Returns `None` if there is nothing that a user can open or answer.
    pub(super) fn view(&self, server: String, since: UnixSeconds) -> Option<SignInView> {
        let view = SignInView {
            server,
            url: self.url().map(Url::to_string).unwrap_or_default(),
            browser_problem: None,
            code: None,
            callback_port: None,
            approval: self.approval(),
            takes_address: self.hand_in().is_some(),
            since,
        };
        Some(match self {
            Self::Asked { page } => SignInView {
                callback_port: Some(page.port),
                ..view
            },
            Self::Opened {
                page,
                browser_problem,
                ..
            } => SignInView {
                browser_problem: browser_problem.clone(),
                callback_port: Some(page.port),
                ..view
            },
            Self::Remote { page, why, .. } => SignInView {
                browser_problem: why.map(|why| why.to_string()),
                callback_port: Some(page.port),
                ..view
            },
            Self::Code { code, .. } => SignInView {
                code: Some(code.clone()),
                ..view
            },
            Self::Approval { .. } => view,
            Self::Replaced => return None,
        })
    }

    fn approval(&self) -> Option<ApprovalView> {
        let (approval, on_page) = match self {
            Self::Asked { page } | Self::Opened { page, .. } | Self::Remote { page, .. } => {
                (page.approval.as_ref()?, true)
            }
            Self::Approval { approval, .. } => (approval, false),
            Self::Code { .. } | Self::Replaced => return None,
        };
        let change = approval.audience.as_ref();
        Some(ApprovalView {
            resource: approval.resource.to_string(),
            issuer: approval.issuer.to_string(),
            previous: approval.previous.as_ref().map(ToString::to_string),
            audience: change.map(|change| change.current.clone()),
            previous_audience: change.and_then(|change| change.previous.clone()),
            other_server: change.and_then(|change| change.other_server.clone()),
            on_page,
        })
    }

    /// Approves the resource, and the audience if there is one, that the sign-in waits for. Returns
    /// whether it waits for these.
    pub(super) fn approve(&self, resource: &str, audience: Option<&str>) -> bool {
        match self {
            Self::Approval { approval, allow }
                if approval.resource.as_str() == resource
                    && approval.audience.as_ref().map(|change| &*change.current) == audience =>
            {
                allow.notify_one();
                true
            }
            Self::Approval { .. }
            | Self::Asked { .. }
            | Self::Opened { .. }
            | Self::Remote { .. }
            | Self::Code { .. }
            | Self::Replaced => false,
        }
    }

    /// The page to open again for a person who has lost it.
    pub(super) fn page_to_reopen(&mut self, now: UnixSeconds) -> Option<Url> {
        match self {
            Self::Opened { page, opened, .. } if now >= *opened + REOPEN_AFTER => {
                *opened = now;
                Some(page.url.clone())
            }
            Self::Asked { .. }
            | Self::Opened { .. }
            | Self::Remote { .. }
            | Self::Code { .. }
            | Self::Approval { .. }
            | Self::Replaced => None,
        }
    }

    /// A host shows the page that it was asked to, or the bridge opens it.
    pub(super) fn opened(self, now: UnixSeconds) -> Self {
        match self {
            Self::Asked { page } => Self::Opened {
                page,
                opened: now,
                browser_problem: None,
            },
            prompt @ (Self::Opened { .. }
            | Self::Remote { .. }
            | Self::Code { .. }
            | Self::Approval { .. }
            | Self::Replaced) => prompt,
        }
    }

    /// Whether this is what somebody is after who wants to sign in on that way.
    pub(super) fn fits(&self, way: SignInWay) -> bool {
        match (self, way) {
            (Self::Approval { .. } | Self::Replaced, _) => false,
            (_, SignInWay::Here)
            | (Self::Code { .. }, SignInWay::Code | SignInWay::Elsewhere)
            | (Self::Remote { .. }, SignInWay::Page | SignInWay::Elsewhere) => true,
            (Self::Asked { .. } | Self::Opened { .. }, _)
            | (Self::Remote { .. }, SignInWay::Code)
            | (Self::Code { .. }, SignInWay::Page) => false,
        }
    }

    /// Where the address is handed in that the browser ends on.
    pub(super) fn hand_in(&self) -> Option<HandIn> {
        match self {
            Self::Remote { hand_in, .. } => Some(hand_in.clone()),
            Self::Asked { .. }
            | Self::Opened { .. }
            | Self::Code { .. }
            | Self::Approval { .. }
            | Self::Replaced => None,
        }
    }

    /// What somebody can do who sees nothing but a sentence.
    pub(super) fn hint(&self, server: &str) -> Option<String> {
        match self {
            Self::Approval { approval, .. } => Some(format!(
                "{server} asks for access to {}: approve that in Postern's window, or at a terminal with `postern sign-in {server}`, then try again",
                approval.resource
            )),
            Self::Code { code, .. } => Some(format!(
                "open {} on any device and enter the code {}, then try again",
                code.page, code.code
            )),
            Self::Opened {
                browser_problem: None,
                ..
            } => Some(
                "complete the sign-in on the page that is open in the browser, then try again"
                    .to_owned(),
            ),
            Self::Asked { .. } => Some(
                "agree to open the sign-in page, where this application asks for that, and complete the sign-in, then try again"
                    .to_owned(),
            ),
            Self::Opened { .. } | Self::Remote { .. } => Some(format!(
                "open the sign-in page that `postern sign-in {server}` shows at a terminal, complete the sign-in, then try again"
            )),
            Self::Replaced => None,
        }
    }

    fn url(&self) -> Option<&Url> {
        match self {
            Self::Asked { page } | Self::Opened { page, .. } | Self::Remote { page, .. } => {
                Some(&page.url)
            }
            Self::Code { url, .. } => Some(url),
            Self::Approval { .. } | Self::Replaced => None,
        }
    }
}

impl std::fmt::Debug for SignInPrompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(…)")
    }
}
