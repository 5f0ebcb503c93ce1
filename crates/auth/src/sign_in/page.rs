//! The page on which a sign-in ends in the browser. Nothing is loaded from anywhere, and the one
//! script is known by its hash: it copies what to say when asking for help, and closes the tab
//! where the browser lets it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};

use crate::explanation::Explanation;

/// What the page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// It worked.
    SignedIn {
        /// The server, as the user knows it.
        server: String,
        /// The person, if known.
        person: Option<String>,
    },
    /// It did not.
    Failed {
        /// Why, and what to do.
        reason: String,
        /// What the authorization server said, if it was that.
        explanation: Option<Box<Explanation>>,
    },
    /// The request is no answer that anybody waits for.
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

/// A browser closes a tab for a script only where nobody could want to go back in it.
const SCRIPT: &str = "\
const b=document.querySelector('button');\
b?.addEventListener('click',async()=>{await navigator.clipboard.writeText(b.value);b.textContent='Copied'});\
if('close' in document.body.dataset)setTimeout(()=>window.close(),3000)";

/// Nothing but the page's own style and script.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

impl Page {
    /// The whole answer. It is not kept by anyone, and the address it was asked under, which may
    /// carry a code, is not passed on.
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let response = Response::builder()
            .status(self.status())
            .header("content-type", "text/html; charset=utf-8")
            .header("cache-control", "no-store")
            .header("referrer-policy", "no-referrer")
            .header("x-content-type-options", "nosniff")
            .header("content-security-policy", POLICY.as_str());
        response
            .body(Full::from(self.html()))
            .expect("the headers are constants")
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignedIn { .. } | Self::Failed { .. } => StatusCode::OK,
            Self::NotExpected { status, .. } => *status,
        }
    }

    fn html(&self) -> String {
        let (mark, color, title, lines) = match self {
            Self::SignedIn { server, person } => (
                "&#10003;",
                "#1a7f4b",
                "You are signed in",
                vec![
                    match person {
                        Some(person) => format!("{} as {}", escaped(server), escaped(person)),
                        None => escaped(server),
                    },
                    "You can close this tab.".to_owned(),
                ],
            ),
            Self::Failed {
                reason,
                explanation,
            } => {
                let (what, hint) = reason.split_once("; hint: ").unwrap_or((reason, ""));
                let link = explanation
                    .as_ref()
                    .and_then(|known| known.admin_consent.as_ref())
                    .map(|link| escaped(link.as_str()))
                    .map(|link| format!("<a href=\"{link}\" rel=\"noreferrer\">{link}</a>"));
                let lines = [what, hint].map(sentence).into_iter();
                let lines = lines.filter(|line| !line.is_empty()).chain(link).collect();
                ("!", "#b3261e", "You are not signed in", lines)
            }
            Self::NotExpected { reason, .. } => {
                ("?", "#6b7280", "Nothing to see here", vec![escaped(reason)])
            }
        };
        let paragraphs: String = lines.iter().map(|line| format!("<p>{line}</p>")).collect();
        let reference = self.reference().unwrap_or_default();
        let close = match self {
            Self::SignedIn { .. } => " data-close",
            Self::Failed { .. } | Self::NotExpected { .. } => "",
        };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title} - Postern</title><style>{STYLE}</style></head>\
             <body style=\"--mark:{color}\"{close}><main><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
             <h1>{title}</h1>{paragraphs}{reference}</main><script>{SCRIPT}</script></body></html>"
        )
    }

    /// What to say when asking for help, with a button that copies it.
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
            "<p class=\"small\">{known}</p><button value=\"{text}\">Copy the details</button>"
        ))
    }
}

/// `text` with a capital at its start and a full stop at its end.
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
    use super::Page;

    #[test]
    fn foreign_words_stay_words() {
        let page = Page::Failed {
            reason: "the server said <script>alert('x')</script>; hint: try again".to_owned(),
            explanation: None,
        };
        let html = page.html();
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("<p>The server said &lt;script&gt;"));
        assert!(html.contains("<p>Try again.</p>"));
    }
}
