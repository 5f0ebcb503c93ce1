//! `/{tenant}/oauth2/v2.0/authorize`, by GET and POST: validates the request, then starts the
//! sign-in.
//!
//! A fault is shown as a page until the redirect URI is known to be registered. Later faults are
//! sent to the client.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;

use crate::app::{App, Platform};
use crate::authority::Authority;
use crate::authorization_request::{
    AuthorizationRequest, Challenge, Delivery, Prompt, RedirectParameters,
};
use crate::browser::Browser;
use crate::claims_request::ClaimsRequest;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::flow;
use crate::page;
use crate::parameters::{EncodedParameters, Parameters};
use crate::redirect::{RedirectTarget, ResponseMode};
use crate::request_trace::RequestTrace;
use crate::scope::Scopes;
use crate::sign_in::SignIn;

pub(crate) async fn authorize(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    EncodedParameters(encoded): EncodedParameters,
) -> Response {
    let entra = &*entra;
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let checked = Parameters::parse(&encoded)
        .and_then(|parameters| Ok((client(entra, &tenant, &parameters)?, parameters)));
    let (client, parameters) = match checked {
        Ok(checked) => checked,
        Err(fault) => return page::show_fault(&trace, &fault),
    };
    let Client {
        authority,
        app,
        mut target,
    } = client;
    match check(entra, authority, app, &mut target, &parameters) {
        Ok(request) => {
            let browser = Browser::read(entra, &headers);
            let next = flow::begin(&request, &browser, authority.allowed_users(app));
            let started = entra.clock.unix();
            SignIn {
                entra,
                trace: &trace,
                authority,
                app,
                browser,
                request,
                started,
            }
            .run(next)
        }
        Err(fault) => target.send_error(&entra.base, &trace, &fault),
    }
}

struct Client<'e> {
    authority: Authority<'e>,
    app: &'e App,
    target: RedirectTarget,
}

/// Returns the client and its redirect target.
fn client<'e>(
    entra: &'e Entra,
    tenant: &str,
    parameters: &Parameters,
) -> Result<Client<'e>, Fault> {
    let authority = entra.authority(tenant)?;
    let app = authority.client(parameters.required("client_id")?)?;
    let redirect_uri = parameters.required("redirect_uri")?;
    let target = RedirectTarget::new(app, redirect_uri, parameters.owned("state"))?;
    Ok(Client {
        authority,
        app,
        target,
    })
}

fn check(
    entra: &Entra,
    authority: Authority<'_>,
    app: &App,
    target: &mut RedirectTarget,
    parameters: &Parameters,
) -> Result<AuthorizationRequest, Fault> {
    target.mode = ResponseMode::parse(parameters.optional("response_mode"))?;
    check_response_type(parameters.required("response_type")?)?;
    let prompt = parameters
        .optional("prompt")
        .map(Prompt::parse)
        .transpose()?;
    let scope = parameters.required("scope")?;
    let resource = parameters.optional("resource");
    let scopes = Scopes::resolve(authority, app, scope, resource)?;
    let request = AuthorizationRequest {
        authority: authority.segment(),
        client_id: app.client_id,
        delivery: Delivery::Redirect(Box::new(RedirectParameters {
            redirect_uri: parameters.required("redirect_uri")?.to_owned(),
            target: target.clone(),
            nonce: parameters.owned("nonce"),
            challenge: challenge(app, parameters)?,
            client_info: parameters.wants_client_info(),
        })),
        scope: scope.to_owned(),
        resource: resource.map(str::to_owned),
        prompt,
        login_hint: parameters.owned("login_hint"),
        claims: ClaimsRequest::read(parameters)?,
    };
    entra.fault_rules.check(&Attempt {
        kind: request.kind(),
        client: app.client_id,
        resources: scopes.resources(),
        session: None,
    })?;
    Ok(request)
}

/// Accepts `code` only. No app of the emulator has the implicit grant enabled.
fn check_response_type(response_type: &str) -> Result<(), Fault> {
    let mut types: Vec<&str> = response_type.split_ascii_whitespace().collect();
    types.sort_unstable();
    match types.as_slice() {
        ["code"] => Ok(()),
        ["token"] | ["id_token", "token"] => Err(Fault::TokenResponseDisabled),
        ["id_token"] | ["code", "id_token"] => Err(Fault::IdTokenResponseDisabled),
        _ => Err(Fault::UnsupportedResponseType(response_type.to_owned())),
    }
}

/// Returns the PKCE challenge. PKCE is optional except for single-page apps.
fn challenge(app: &App, parameters: &Parameters) -> Result<Option<Challenge>, Fault> {
    let method = parameters.optional("code_challenge_method");
    let Some(challenge) = parameters.owned("code_challenge") else {
        return match (&app.platform, method) {
            (Platform::Spa, _) => Err(Fault::ChallengeRequired),
            (_, Some(_)) => Err(Fault::ChallengeSize),
            (_, None) => Ok(None),
        };
    };
    if !(43..=128).contains(&challenge.len()) {
        return Err(Fault::ChallengeSize);
    }
    match method {
        None | Some("plain") => Ok(Some(Challenge::Plain(challenge))),
        Some("S256") => Ok(Some(Challenge::S256(challenge))),
        Some(_) => Err(Fault::ChallengeMethod),
    }
}
