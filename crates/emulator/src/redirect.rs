//! Redirects to clients: validates redirect URIs, and implements the three response modes.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::app::App;
use crate::fault::Fault;
use crate::page;
use crate::request_trace::{AadstsCode, RequestTrace, error_uri};

/// How parameters are sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResponseMode {
    Query,
    Fragment,
    FormPost,
}

impl ResponseMode {
    /// Parses `response_mode`. The default of the code flow is `query`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Fault> {
        match text {
            None | Some("query") => Ok(Self::Query),
            Some("fragment") => Ok(Self::Fragment),
            Some("form_post") => Ok(Self::FormPost),
            Some(other) => Err(Fault::UnsupportedResponseMode(other.to_owned())),
        }
    }
}

/// A validated redirect URI of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RedirectTarget {
    redirect_uri: Url,
    pub(crate) mode: ResponseMode,
    state: Option<String>,
}

impl RedirectTarget {
    /// Validates a redirect URI.
    ///
    /// # Errors
    /// If the app did not register `redirect_uri`. This fault must be shown, never sent to that
    /// URI.
    pub(crate) fn new(app: &App, redirect_uri: &str, state: Option<String>) -> Result<Self, Fault> {
        let mismatch = || Fault::RedirectMismatch {
            redirect_uri: redirect_uri.to_owned(),
            client_id: app.client_id,
        };
        let url = Url::parse(redirect_uri).map_err(|_| mismatch())?;
        if app
            .redirect_uris
            .iter()
            .any(|known| matches(known, &url, redirect_uri))
        {
            Ok(Self {
                redirect_uri: url,
                mode: ResponseMode::Query,
                state,
            })
        } else {
            Err(mismatch())
        }
    }

    /// Redirects to the client with `parameters` and its state.
    pub(crate) fn send(&self, parameters: Vec<(&'static str, String)>) -> Response {
        let mut fields = parameters;
        if let Some(state) = &self.state {
            fields.push(("state", state.clone()));
        }
        match self.mode {
            ResponseMode::Query => {
                let mut url = self.redirect_uri.clone();
                if !fields.is_empty() {
                    url.query_pairs_mut().extend_pairs(&fields);
                }
                redirect(url.as_str())
            }
            ResponseMode::Fragment => {
                let mut url = self.redirect_uri.clone();
                url.set_fragment(Some(&encode(&fields)));
                redirect(url.as_str())
            }
            ResponseMode::FormPost => page::show(
                StatusCode::OK,
                &page::FormPost {
                    action: self.redirect_uri.as_str(),
                    fields: &fields,
                },
            ),
        }
    }

    /// Redirects to the client with an error. If the client must not learn the fault, shows a page
    /// instead.
    pub(crate) fn send_error(&self, base: &str, trace: &RequestTrace, fault: &Fault) -> Response {
        if fault.is_page() {
            return page::show_fault(trace, fault);
        }
        tracing::info!(
            code = fault.code(),
            error = fault.error(),
            "redirected to the client with an error"
        );
        let mut parameters = vec![("error", fault.error().to_owned())];
        if matches!(fault, Fault::Declined(_)) {
            parameters.push(("error_subcode", "cancel".to_owned()));
        }
        parameters.push(("error_description", trace.describe(fault)));
        parameters.push(("error_uri", error_uri(base, fault)));
        if let Some(claims) = fault.claims() {
            parameters.push(("claims", claims.to_owned()));
        }
        let mut response = self.send(parameters);
        response.extensions_mut().insert(AadstsCode(fault.code()));
        response
    }
}

/// Redirects by GET, even after a POST.
pub(crate) fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, page::no_store()),
            ];
            (StatusCode::FOUND, headers).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn encode(fields: &[(&'static str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// Returns whether the registered URI `known` allows `url`, which the client wrote as `text`.
///
/// The port of `localhost` is ignored. Paths are compared with case. An empty path equals `/`. For
/// IP addresses the port counts, and `[::1]` is not supported.
fn matches(known: &str, url: &Url, text: &str) -> bool {
    let Ok(registered) = Url::parse(known) else {
        return false;
    };
    if url.fragment().is_some() || matches!(url.host(), Some(Host::Ipv6(_))) {
        return false;
    }
    if url.host_str() == Some("localhost") {
        return registered.scheme() == url.scheme()
            && registered.host_str() == url.host_str()
            && registered.path() == url.path()
            && registered.query() == url.query()
            && url.username().is_empty()
            && url.password().is_none();
    }
    known == text || (registered == *url && url.path() == "/")
}

#[cfg(test)]
mod tests {
    use super::RedirectTarget;
    use crate::app::App;
    use crate::tenant::Tenant;

    fn app(registered: &str) -> App {
        let mut app = Tenant::demo("http://localhost/cb").apps.remove(0);
        app.redirect_uris = vec![registered.to_owned()];
        app
    }

    #[test]
    fn redirect_uri_match_follows_entra_rules() {
        for (registered, requested, allowed) in [
            ("http://localhost", "http://localhost:4711", true),
            ("http://localhost", "http://localhost:4711/", true),
            ("http://localhost", "http://localhost", true),
            ("http://localhost", "http://localhost:4711/callback", false),
            ("http://localhost", "http://127.0.0.1:4711", false),
            ("http://localhost", "http://[::1]:4711", false),
            ("http://localhost", "https://localhost:4711", false),
            ("http://localhost", "http://localhost:1/?next=x", false),
            ("http://localhost", "http://localhost:1/#x", false),
            ("http://localhost", "http://user@localhost:1/", false),
            ("http://localhost", "http://localhost.evil.example/", false),
            ("http://localhost:8080/cb", "http://localhost:9090/cb", true),
            (
                "http://localhost:8080/cb",
                "http://localhost:8080/CB",
                false,
            ),
            (
                "http://localhost:8080/cb",
                "http://localhost:8080/cb/",
                false,
            ),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1:8080/cb", true),
            (
                "http://127.0.0.1:8080/cb",
                "http://127.0.0.1:9090/cb",
                false,
            ),
            ("http://127.0.0.1", "http://127.0.0.1:9090", false),
            ("http://[::1]:1/cb", "http://[::1]:1/cb", false),
            ("https://app.example", "https://app.example/", true),
            ("https://app.example/a", "https://app.example/a", true),
            ("https://app.example/a", "https://app.example/A", false),
            ("https://app.example/a", "https://app.example/a?b", false),
            ("https://app.example/a", "https://app.example:444/a", false),
            ("https://app.example/a", "https://app.example/x/../a", false),
            ("msal1://auth", "msal1://auth", true),
            ("msal1://auth", "msal1://other", false),
            ("http://localhost", "not a url", false),
        ] {
            let target = RedirectTarget::new(&app(registered), requested, None);
            assert_eq!(target.is_ok(), allowed, "{registered} {requested}");
        }
    }

    #[test]
    fn redirect_keeps_existing_query() {
        let app = app("http://localhost/cb?x=1");
        let target =
            RedirectTarget::new(&app, "http://localhost:5/cb?x=1", Some("a b".to_owned())).unwrap();
        let response = target.send(vec![("code", "c".to_owned())]);
        assert_eq!(
            response.headers()["location"],
            "http://localhost:5/cb?x=1&code=c&state=a+b"
        );
    }
}
