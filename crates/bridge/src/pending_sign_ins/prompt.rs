//! What the user is shown of a waiting sign-in.

use std::sync::Arc;

use auth::{Approval, DeviceFlow, PastedCallback, SignInFlow};
use control::api::{ApprovalView, SignInView, SignInWay, UnixSeconds, UserCodeView};
use tokio::sync::Notify;
use url::Url;

use crate::browser::NoBrowserReason;

/// After how many seconds a user who asks again is assumed to have closed the page.
const REOPEN_AFTER: UnixSeconds = 5;

/// A page, a device code, or an approval.
pub(crate) enum SignInPrompt {
    /// A page that hosts are asked to show, or that the bridge is about to open.
    Asked { page: Page },
    /// A page that the bridge has opened, or that a host shows.
    Opened {
        page: Page,
        /// When it was last opened.
        opened: UnixSeconds,
        browser_problem: Option<String>,
    },
    /// A page that the user opens on another machine.
    Remote {
        page: Page,
        why: Option<NoBrowserReason>,
        hand_in: PastedCallback,
    },
    /// A device code.
    Code { url: Url, code: UserCodeView },
    /// An approval that no page asks for, because the sign-in has no page on this machine.
    Approval {
        approval: Approval,
        allow: Arc<Notify>,
    },
    /// Replaced by another flow. Its URL is no longer valid.
    Replaced,
}

/// A page with a local callback.
pub(crate) struct Page {
    url: Url,
    port: u16,
    /// The approval that it asks for first.
    approval: Option<Approval>,
}

impl Page {
    pub(crate) fn from_flow(flow: &SignInFlow) -> Self {
        Self {
            url: flow.url().clone(),
            port: flow.port(),
            approval: flow.approval().cloned(),
        }
    }
}

impl SignInPrompt {
    /// Builds the prompt of a device flow.
    pub(crate) fn code(flow: &DeviceFlow) -> Self {
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

    /// Returns the view, or `None` if there is nothing to open or approve.
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

    /// Approves the resource, and the audience if there is one. Returns false if the sign-in does
    /// not wait for these.
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

    /// Returns the page to open again for a user who has closed it. Returns `None` if it was just
    /// opened.
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

    /// Marks the page as opened by the bridge or shown by a host.
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

    /// Returns true if this prompt serves a user who wants to sign in by `way`.
    pub(super) fn fits(&self, way: SignInWay) -> bool {
        match (self, way) {
            (Self::Approval { .. } | Self::Replaced, _) => false,
            (_, SignInWay::Local)
            | (Self::Code { .. }, SignInWay::DeviceCode | SignInWay::Remote)
            | (Self::Remote { .. }, SignInWay::Manual | SignInWay::Remote) => true,
            (Self::Asked { .. } | Self::Opened { .. }, _)
            | (Self::Remote { .. }, SignInWay::DeviceCode)
            | (Self::Code { .. }, SignInWay::Manual) => false,
        }
    }

    /// Returns where the URL is submitted that a remote browser ended on.
    pub(super) fn hand_in(&self) -> Option<PastedCallback> {
        match self {
            Self::Remote { hand_in, .. } => Some(hand_in.clone()),
            Self::Asked { .. }
            | Self::Opened { .. }
            | Self::Code { .. }
            | Self::Approval { .. }
            | Self::Replaced => None,
        }
    }

    /// Returns a hint for users who only see text.
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
