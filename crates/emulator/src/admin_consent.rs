//! `/{tenant}/v2.0/adminconsent`: an administrator grants consent to a client for all users of the
//! tenant.
//!
//! Does not own: who is an administrator. The page requires no sign-in; any user who accepts counts
//! as an administrator.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use crate::authorization_request::AuthorizationRequest;
use crate::browser::Browser;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::keys::Purpose;
use crate::page::{self, Form, Notice, PermissionGroup};
use crate::parameters::Parameters;
use crate::redirect::RedirectTarget;
use crate::request_trace::RequestTrace;
use crate::scope::Scopes;
use crate::tenant::Tenant;

/// The consent that a client requests from an administrator.
#[derive(Serialize, Deserialize)]
struct Request {
    tenant: Uuid,
    client_id: Uuid,
    /// If empty, everything the client needs.
    scope: String,
    /// `None` if a page of the emulator linked here.
    target: Option<RedirectTarget>,
}

/// Returns the URL where an administrator can consent to `request`.
pub(crate) fn link(tenant: &Tenant, request: &AuthorizationRequest) -> String {
    let query = Serializer::new(String::new())
        .append_pair("client_id", &request.client_id.to_string())
        .append_pair("scope", &request.scope)
        .finish();
    format!("/{}/v2.0/adminconsent?{query}", tenant.id)
}

pub(crate) async fn get(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let browser = Browser::read(&entra, &headers);
    let query = query.unwrap_or_default();
    let shown = Parameters::parse(query.as_bytes())
        .and_then(|parameters| Request::read(&entra, &tenant, &parameters))
        .and_then(|request| show(&entra, &browser, &request));
    let mut response = shown.unwrap_or_else(|fault| page::show_fault(&trace, &fault));
    browser.set_cookies(&entra, &mut response);
    response
}

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let browser = Browser::read(&entra, &headers);
    match read_form(&entra, &tenant, &browser, &body) {
        Ok((request, true)) => accept(&entra, request),
        Ok((request, false)) => decline(&entra, &trace, &request),
        Err(fault) => page::show_fault(&trace, &fault),
    }
}

impl Request {
    fn read(entra: &Entra, tenant: &str, parameters: &Parameters) -> Result<Self, Fault> {
        let authority = entra.authority(tenant)?;
        let app = authority.client(parameters.required("client_id")?)?;
        let scope = parameters.optional("scope").unwrap_or_default();
        Scopes::resolve(authority, app, scope, None)?;
        let home = || Some(entra.cloud.registration(app.client_id)?.home);
        let tenant = authority.tenant().or_else(home).ok_or(Fault::Internal)?;
        let redirect_target = |uri| RedirectTarget::new(app, uri, parameters.owned("state"));
        let redirect_uri = parameters.optional("redirect_uri");
        Ok(Self {
            tenant: tenant.id,
            client_id: app.client_id,
            scope: scope.to_owned(),
            target: redirect_uri.map(redirect_target).transpose()?,
        })
    }
}

fn show(entra: &Entra, browser: &Browser, request: &Request) -> Result<Response, Fault> {
    let authority = entra.authority(&request.tenant.to_string())?;
    let app = authority.client(&request.client_id.to_string())?;
    let scopes = Scopes::resolve(authority, app, &request.scope, None)?;
    let flow = entra
        .keys
        .seal(Purpose::AdminConsent, &browser.id, request)
        .map_err(|_| Fault::Internal)?;
    let page = page::AdminConsent {
        form: Form {
            tenant: authority.display_name(),
            app: &app.name,
            action: format!("/{}/v2.0/adminconsent", request.tenant),
            flow,
        },
        groups: PermissionGroup::for_scopes(&scopes),
    };
    Ok(page::show(StatusCode::OK, &page))
}

/// Reads the form. Returns the request, and whether the administrator accepted.
fn read_form(
    entra: &Entra,
    tenant: &str,
    browser: &Browser,
    body: &[u8],
) -> Result<(Request, bool), Fault> {
    entra.authority(tenant)?;
    let form = Parameters::parse(body)?;
    let request = form
        .optional("flow")
        .and_then(|sealed| {
            let keys = &entra.keys;
            keys.open_sealed(Purpose::AdminConsent, &browser.id, sealed)
        })
        .ok_or(Fault::FlowBindingMismatch)?;
    Ok((request, form.optional("action") == Some("next")))
}

fn accept(entra: &Entra, request: Request) -> Response {
    tracing::info!(client = %request.client_id, "an administrator consented");
    entra.fault_rules.consent_for_all(request.client_id);
    let Some(target) = request.target else {
        return closed(
            "The application may be used now",
            "Go back to it, and sign in again.",
        );
    };
    target.send(vec![
        ("admin_consent", "True".to_owned()),
        ("tenant", request.tenant.to_string()),
        ("scope", request.scope),
    ])
}

fn decline(entra: &Entra, trace: &RequestTrace, request: &Request) -> Response {
    match &request.target {
        Some(target) => target.send_error(&entra.base, trace, &Fault::Declined(request.client_id)),
        None => closed("Nothing was changed", "The application may not be used."),
    }
}

fn closed(heading: &str, text: &str) -> Response {
    page::show(StatusCode::OK, &Notice { heading, text })
}
