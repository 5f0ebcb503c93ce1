//! The pages of a sign-in in the browser. They load nothing. The content security policy allows
//! their only script by its hash: it copies the error details, and closes the tab if the browser
//! permits that.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use url::Url;

use texts::{Describe, Language, Text};

use crate::approval::Approval;
use crate::error::SignInError;
use crate::explanation::Explanation;

/// The content of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The sign-in succeeded.
    SignedIn {
        /// The server, as the user knows it.
        server: String,
        /// The user, if known.
        user: Option<String>,
    },
    /// The sign-in failed.
    Failed {
        /// The reason and the hint.
        reason: Text,
        /// The error of the authorization server, if there was one.
        explanation: Option<Box<Explanation>>,
    },
    /// The approval page, before the authorization request.
    Approve {
        /// What is to be approved.
        approval: Box<Approval>,
        /// The server's URL.
        server_url: String,
    },
    /// The user has approved. The browser continues to the authorization server.
    Continue {
        /// The authorization server.
        issuer: String,
        /// The authorization request.
        url: Box<Url>,
    },
    /// The request belongs to no sign-in.
    NotExpected {
        status: StatusCode,
        reason: &'static str,
    },
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;\
font:16px/1.5 system-ui,sans-serif;background:Canvas;color:CanvasText}\
main{max-width:30rem;padding:2rem;text-align:center}\
.mark{width:3.5rem;height:3.5rem;margin:0 auto 1rem;border-radius:50%;display:grid;\
place-items:center;font-size:1.75rem;color:#fff;background:var(--mark)}\
h1{font-size:1.375rem;margin:0 0 .5rem}\
p{margin:0 0 .5rem;opacity:.85;overflow-wrap:anywhere}\
p.small{font-size:.8125rem;margin-top:1.25rem}\
button{font:inherit;padding:.375rem .875rem;margin-top:.5rem}";

/// Browsers let a script close a tab only if its history has one entry.
const SCRIPT: &str = "\
const b=document.querySelector('button[data-copy]');\
b?.addEventListener('click',async()=>{await navigator.clipboard.writeText(b.value);b.textContent='Copied'});\
if('close' in document.body.dataset)setTimeout(()=>window.close(),3000)";

/// Only the page's own style and script.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
});

impl Page {
    /// Returns the page for a failed sign-in.
    pub(super) fn failed(error: &SignInError) -> Self {
        Self::Failed {
            reason: error.text(),
            explanation: error.explanation().cloned().map(Box::new),
        }
    }

    /// Returns the HTTP response. It is not cached, and its URL, which may contain a code, is not
    /// passed on as a referrer.
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let response = Response::builder()
            .status(self.status())
            .header("content-type", "text/html; charset=utf-8")
            .header("cache-control", "no-store")
            .header("referrer-policy", self.referrer_policy())
            .header("x-content-type-options", "nosniff")
            .header("content-security-policy", POLICY.as_str());
        response
            .body(Full::from(self.html()))
            .expect("the headers are constants")
    }

    /// Browsers send the `Origin` of a form only if they may send the page as a referrer too.
    fn referrer_policy(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "same-origin",
            Self::SignedIn { .. }
            | Self::Failed { .. }
            | Self::Continue { .. }
            | Self::NotExpected { .. } => "no-referrer",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignedIn { .. }
            | Self::Failed { .. }
            | Self::Approve { .. }
            | Self::Continue { .. } => StatusCode::OK,
            Self::NotExpected { status, .. } => *status,
        }
    }

    fn html(&self) -> String {
        let (mark, color, title, lines) = match self {
            Self::SignedIn { server, user } => (
                "&#10003;",
                "#1a7f4b",
                "You are signed in",
                vec![
                    match user {
                        Some(user) => format!("{} as {}", escaped(server), escaped(user)),
                        None => escaped(server),
                    },
                    "You can close this tab.".to_owned(),
                ],
            ),
            Self::Failed {
                reason,
                explanation,
            } => {
                let what = reason.message(Language::English);
                let hint = reason.hint(Language::English).unwrap_or_default();
                let link = explanation
                    .as_ref()
                    .and_then(|known| known.admin_consent.as_ref())
                    .map(|link| escaped(link.as_str()))
                    .map(|link| format!("<a href=\"{link}\" rel=\"noreferrer\">{link}</a>"));
                let lines = [&what, &hint].map(|line| sentence(line)).into_iter();
                let lines = lines.filter(|line| !line.is_empty()).chain(link).collect();
                ("!", "#b3261e", "You are not signed in", lines)
            }
            Self::Approve {
                approval,
                server_url,
            } => (
                "?",
                "#0f6cbd",
                "Allow access?",
                question(approval, server_url),
            ),
            Self::Continue { issuer, url } => (
                "&#8594;",
                "#0f6cbd",
                "Continue to sign in",
                vec![format!(
                    "<a href=\"{}\" rel=\"noreferrer\">{}</a>",
                    escaped(url.as_str()),
                    escaped(issuer)
                )],
            ),
            Self::NotExpected { reason, .. } => {
                ("?", "#6b7280", "Unexpected request", vec![escaped(reason)])
            }
        };
        let paragraphs: String = lines.iter().map(|line| format!("<p>{line}</p>")).collect();
        let reference = self.reference().unwrap_or_default();
        let close = match self {
            Self::SignedIn { .. } => " data-close",
            Self::Failed { .. }
            | Self::NotExpected { .. }
            | Self::Approve { .. }
            | Self::Continue { .. } => "",
        };
        let onward = match self {
            // Some browsers apply `form-action` to redirects after a form, but not to a refresh.
            Self::Continue { url, .. } => {
                let url = escaped(url.as_str());
                format!("<meta http-equiv=\"refresh\" content=\"0;url={url}\">")
            }
            Self::SignedIn { .. }
            | Self::Failed { .. }
            | Self::NotExpected { .. }
            | Self::Approve { .. } => String::new(),
        };
        let form = match self {
            Self::Approve { .. } => FORM,
            Self::SignedIn { .. }
            | Self::Failed { .. }
            | Self::NotExpected { .. }
            | Self::Continue { .. } => "",
        };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             {onward}<title>{title} - Postern</title><style>{STYLE}</style></head>\
             <body style=\"--mark:{color}\"{close}><main><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
             <h1>{title}</h1>{paragraphs}{form}{reference}</main><script>{SCRIPT}</script></body></html>"
        )
    }

    /// Returns the error details for support, with a button that copies them.
    fn reference(&self) -> Option<String> {
        let Self::Failed {
            reason,
            explanation: Some(explanation),
        } = self
        else {
            return None;
        };
        let mut known = explanation.code().into_owned();
        if let Some(id) = &explanation.correlation_id {
            known += &format!(", correlation ID {id}");
        }
        let words = explanation.words.as_deref().unwrap_or_default();
        let text = escaped(&format!("{reason}\n{known}\n{words}"));
        let known = escaped(&known);
        Some(format!(
            "<p class=\"small\">{known}</p><button data-copy value=\"{text}\">Copy the details</button>"
        ))
    }
}

/// Returns the page for a request that is rejected.
pub(super) fn refused(status: StatusCode, reason: &'static str) -> Page {
    Page::NotExpected { status, reason }
}

/// Returns the page for a response to no sign-in in progress.
pub(super) fn not_expected() -> Page {
    refused(
        StatusCode::BAD_REQUEST,
        "No sign-in expects this response. It may belong to one that has ended. Start again from Postern.",
    )
}

/// The buttons of the approval page, which post to its URL. Pressing Enter presses none.
const FORM: &str = "<form method=\"post\" autocomplete=\"off\">\
     <button name=\"answer\" value=\"allow\">Allow</button> \
     <button name=\"answer\" value=\"deny\">Don't allow</button></form>";

/// Returns the lines of the approval page.
fn question(approval: &Approval, server_url: &str) -> Vec<String> {
    let strong = |text: &str| format!("<b>{}</b>", escaped(text));
    let (server, resource) = (&approval.server, approval.resource.as_str());
    let mut lines = vec![
        format!("{} asks for access to {}", strong(server), strong(resource)),
        format!(
            "Postern will sign you in at {} and send tokens for it to {}.",
            escaped(approval.issuer.as_str()),
            escaped(server_url)
        ),
    ];
    if let Some(previous) = &approval.previous {
        lines.push(format!(
            "Before, you allowed access to {}.",
            strong(previous.as_str())
        ));
    }
    if let Some(change) = &approval.audience {
        let before = change.previous.as_deref();
        let before = before.map(|before| format!(", before it was {}", escaped(before)));
        lines.push(format!(
            "The audience of its tokens is {}{}.",
            strong(&change.current),
            before.unwrap_or_default()
        ));
        if let Some(other) = &change.other_server {
            lines.push(format!(
                "Tokens of the server {} have this audience too: each of the two could use the other's.",
                strong(other)
            ));
        }
    }
    lines.push("Allow it only if you trust this server with that.".to_owned());
    lines
}

/// Returns `text` with an initial capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return String::new();
    };
    let text: String = first.to_uppercase().chain(characters).collect();
    format!("{}.", escaped(text.trim_end_matches('.')))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use texts::text;

    use super::Page;

    #[test]
    fn page_escapes_untrusted_text() {
        let page = Page::Failed {
            reason: text!(OauthTemporaryError {
                error: "the server said <script>alert('x')</script>"
            }),
            explanation: None,
        };
        let html = page.html();
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("<p>The server said &lt;script&gt;"));
        assert!(html.contains("<p>Try again in a moment.</p>"));
    }
}
