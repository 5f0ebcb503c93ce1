//! The window's files, which are embedded at build time.

use axum::http::{HeaderName, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};

const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/window.rs"));

/// Allows no content of other origins and no framing. Inline styles are allowed because the component
/// library needs them. Inline scripts are not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const WITHOUT_WINDOW: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
    <body style=\"font: 1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto\">\
    <h1>This Postern was built without its window</h1>\
    <p>The window is built with Node.js: run <code>npm ci &amp;&amp; npm run build</code> in the folder \
    <code>ui</code>, then build Postern again; <code>cargo xtask run</code> does both.</p>\
    <p>Everything else works: <code>postern --help</code>.</p>";

const EXPIRED_LINK: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
    <body style=\"font: 1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto\">\
    <h1>This link has expired</h1>\
    <p>The link that <code>postern ui</code> prints works once and expires after five minutes. For a new \
    link, end that command with Ctrl-C and run it again.</p>\
    <p>A tab that the link opened works while the command runs. If you have no such tab and opened the \
    link in time, another program used it first: end the command.</p>";

/// Returns the page for a link that was already used or has expired.
pub(super) fn expired_link() -> Response {
    with_security_headers((StatusCode::GONE, Html(EXPIRED_LINK)))
}

/// Serves a file of the window, or its page if the path names no file.
pub(super) async fn file(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = uri.path().trim_start_matches('/');
    let response = match path {
        "" | "index.html" => match content("index.html") {
            Some(page) => Html(page).into_response(),
            None => Html(WITHOUT_WINDOW).into_response(),
        },
        path => match content(path) {
            Some(bytes) => ([(header::CONTENT_TYPE, content_type(path))], bytes).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    };
    with_security_headers(response)
}

fn with_security_headers(response: impl IntoResponse) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, response).into_response()
}

fn content(path: &str) -> Option<&'static [u8]> {
    FILES
        .iter()
        .find(|(name, _)| *name == path)
        .map(|(_, bytes)| *bytes)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        Some(_) | None => "application/octet-stream",
    }
}
