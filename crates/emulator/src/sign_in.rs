//! `POST /{tenant}/login`: what a person answers on the pages of the sign-in.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use crate::browser::{Browser, Session};
use crate::code::CodeGrant;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::flow::{self, Flow, Next, Request, Step};
use crate::keys::Purpose;
use crate::occurrence::{self, Occurrence};
use crate::page::{self, Form, PermissionGroup, Tile};
use crate::parameters::Parameters;
use crate::scope::Scopes;
use crate::tenant::{App, User};

/// How long a person may take for all pages together, in seconds.
const PATIENCE: u64 = 60 * 60;

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let occurrence = Occurrence::new(&headers, entra.clock.now());
    let browser = Browser::read(&entra, &headers);
    match answer(&entra, &tenant, &browser, &body) {
        Ok(Answered {
            request,
            started,
            next,
        }) => SignIn::new(&entra, &occurrence, browser, request, started).go(next),
        Err(fault) => page::show_fault(&occurrence, &fault),
    }
}

struct Answered {
    request: Request,
    started: u64,
    next: Next,
}

fn answer(entra: &Entra, tenant: &str, browser: &Browser, body: &[u8]) -> Result<Answered, Fault> {
    entra.authority(tenant)?;
    let answer = Parameters::parse(body)?;
    let Flow {
        request,
        step,
        started,
    } = answer
        .optional("flow")
        .and_then(|sealed| entra.keys.open_sealed(Purpose::Flow, &browser.id, sealed))
        .ok_or(Fault::ForeignFlow)?;
    let now = entra.clock.unix();
    if now > started + PATIENCE {
        return Err(Fault::FlowExpired);
    }
    let next = flow::advance(&request, step, &answer, browser, &entra.tenant, now);
    Ok(Answered {
        request,
        started,
        next,
    })
}

/// Carries out what [`flow`] decides: shows the page, or sends the person back to the client.
pub(crate) struct SignIn<'a> {
    entra: &'a Entra,
    occurrence: &'a Occurrence,
    browser: Browser,
    request: Request,
    started: u64,
    signed_in: bool,
}

impl<'a> SignIn<'a> {
    pub(crate) fn new(
        entra: &'a Entra,
        occurrence: &'a Occurrence,
        browser: Browser,
        request: Request,
        started: u64,
    ) -> Self {
        Self {
            entra,
            occurrence,
            browser,
            request,
            started,
            signed_in: false,
        }
    }

    pub(crate) fn go(mut self, next: Next) -> Response {
        let mut response = match next {
            Next::SignIn(session) => {
                self.signed_in = true;
                self.browser.sign_in(session.clone());
                let next = flow::after_sign_in(&self.request, session);
                return self.go(next);
            }
            Next::GoOn(session) => {
                let next = flow::after_sign_in(&self.request, session);
                return self.go(next);
            }
            Next::Ask(step) => self.ask(step, None),
            Next::AskAgain(step, problem) => self.ask(step, Some(problem)),
            Next::Finish(session) => finish(self.entra, &self.request, session),
            Next::Refuse(fault) => refuse(self.entra, self.occurrence, &self.request.reply, &fault),
        };
        self.browser.bind(self.entra, &mut response);
        if self.signed_in {
            self.browser.remember(self.entra, &mut response);
        }
        response
    }

    fn ask(&self, step: Step, problem: Option<&'static str>) -> Response {
        self.page(step, problem)
            .unwrap_or_else(|fault| page::show_fault(self.occurrence, &fault))
    }

    fn page(&self, step: Step, problem: Option<&'static str>) -> Result<Response, Fault> {
        let entra = self.entra;
        let app = entra.tenant.app(self.request.client_id);
        let app = app.ok_or(Fault::Internal)?;
        let flow = Flow {
            request: self.request.clone(),
            step,
            started: self.started,
        };
        let form = self.form(app, &flow)?;
        let user = |id: Uuid| entra.tenant.user(id).ok_or(Fault::UserGone);
        Ok(match &flow.step {
            Step::PickAccount => {
                let tiles = self.remembered();
                page::show(StatusCode::OK, &page::PickAccount { form, tiles })
            }
            Step::Username { typed } => self.username(form, typed, problem),
            Step::Password { user: id } => {
                let User { username, name, .. } = user(*id)?;
                let page = page::Password {
                    form,
                    username,
                    name,
                    problem,
                };
                page::show(StatusCode::OK, &page)
            }
            Step::StaySignedIn { user: id, .. } => {
                let username = &user(*id)?.username;
                page::show(StatusCode::OK, &page::Stay { form, username })
            }
            Step::Consent { session } => {
                let page = page::Consent {
                    form,
                    username: &user(session.user)?.username,
                    groups: permissions(entra, app, &self.request)?,
                };
                page::show(StatusCode::OK, &page)
            }
        })
    }

    fn form(&self, app: &'a App, flow: &Flow) -> Result<Form<'a>, Fault> {
        let flow = self
            .entra
            .keys
            .seal(Purpose::Flow, &self.browser.id, flow)
            .map_err(|_| Fault::Internal)?;
        Ok(Form {
            tenant: &self.entra.tenant.name,
            app: &app.name,
            action: format!("/{}/login", self.entra.tenant.id),
            flow,
        })
    }

    fn username(&self, form: Form<'_>, username: &str, problem: Option<&'static str>) -> Response {
        let users = &self.entra.tenant.users;
        let domain = users
            .first()
            .and_then(|user| user.username.rsplit_once('@'))
            .map_or("example.com", |(_, domain)| domain);
        let page = page::Username {
            form,
            tiles: users.iter().map(|user| Tile::new(user, false)).collect(),
            username,
            domain,
            problem,
        };
        page::show(StatusCode::OK, &page)
    }

    fn remembered(&self) -> Vec<Tile<'a>> {
        let tile = |account: &crate::browser::Account| {
            let user = self.entra.tenant.user(account.user)?;
            Some(Tile::new(user, account.session.is_some()))
        };
        self.browser.accounts.iter().filter_map(tile).collect()
    }
}

fn permissions<'a>(
    entra: &'a Entra,
    app: &App,
    request: &Request,
) -> Result<Vec<PermissionGroup<'a>>, Fault> {
    let resource = request.resource.as_deref();
    let scopes = Scopes::resolve(&entra.tenant, app, &request.scope, resource)?;
    let mut own = Vec::new();
    if scopes.oidc.openid || scopes.oidc.profile || scopes.oidc.email {
        own.push("Sign you in and read your profile");
    }
    if scopes.oidc.offline_access {
        own.push("Maintain access to data you have given it access to");
    }
    let mut groups = Vec::new();
    if !own.is_empty() {
        groups.push(PermissionGroup {
            title: "Your account",
            lines: own,
        });
    }
    groups.extend(scopes.asked.iter().map(|asked| PermissionGroup {
        title: asked.resource.display_name(),
        lines: asked.granted(crate::scope::Oidc::default()),
    }));
    Ok(groups)
}

/// Sends the client its code.
fn finish(entra: &Entra, request: &Request, session: Session) -> Response {
    tracing::info!(client = %request.client_id, user = %session.user, "signed in");
    let (user, state) = (session.user, session.id.to_string());
    let grant = CodeGrant::new(request, session);
    let code = entra.codes.issue(grant, entra.clock.unix());
    let mut parameters = vec![("code", code)];
    if request.client_info {
        parameters.push(("client_info", client_info(entra, user)));
    }
    parameters.push(("session_state", state));
    request.reply.send(parameters)
}

/// Tells the client why not.
pub(crate) fn refuse(
    entra: &Entra,
    occurrence: &Occurrence,
    reply: &crate::redirect::Reply,
    fault: &Fault,
) -> Response {
    tracing::info!(
        code = fault.code(),
        error = fault.error(),
        "refused, by redirect"
    );
    let mut parameters = vec![("error", fault.error().to_owned())];
    if matches!(fault, Fault::Declined(_)) {
        parameters.push(("error_subcode", "cancel".to_owned()));
    }
    parameters.push(("error_description", occurrence.describe(fault)));
    parameters.push(("error_uri", occurrence::error_uri(&entra.base, fault)));
    reply.send(parameters)
}

/// `client_info`: who signed in, as MSAL wants it.
pub(crate) fn client_info(entra: &Entra, user: Uuid) -> String {
    let info = serde_json::json!({ "uid": user, "utid": entra.tenant.id });
    URL_SAFE_NO_PAD.encode(info.to_string())
}
