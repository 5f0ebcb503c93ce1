//! `POST /{tenant}/login`: handles the forms of the sign-in pages.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use crate::admin_consent;
use crate::app::App;
use crate::authority::Authority;
use crate::authorization_request::{AuthorizationRequest, Delivery, RedirectParameters};
use crate::browser::Browser;
use crate::claims;
use crate::cloud::Member;
use crate::code::CodeGrant;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::flow::{self, Flow, Next, Step};
use crate::keys::Purpose;
use crate::page::{self, Form, Notice, PermissionGroup, Tile};
use crate::parameters::Parameters;
use crate::request_trace::RequestTrace;
use crate::scope::Scopes;
use crate::session::Session;
use crate::tenant::User;

/// The time limit for all pages of a sign-in, in seconds.
const SIGN_IN_TIMEOUT: u64 = 60 * 60;

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let trace = RequestTrace::new(&headers, entra.clock.now());
    let browser = Browser::read(&entra, &headers);
    match read_form(&entra, &tenant, &browser, &body) {
        Ok(Submission {
            authority,
            app,
            request,
            started,
            next,
        }) => SignIn {
            entra: &entra,
            trace: &trace,
            authority,
            app,
            browser,
            request,
            started,
        }
        .run(next),
        Err(fault) => page::show_fault(&trace, &fault),
    }
}

struct Submission<'e> {
    authority: Authority<'e>,
    app: &'e App,
    request: AuthorizationRequest,
    started: u64,
    next: Next,
}

fn read_form<'e>(
    entra: &'e Entra,
    tenant: &str,
    browser: &Browser,
    body: &[u8],
) -> Result<Submission<'e>, Fault> {
    entra.authority(tenant)?;
    let form = Parameters::parse(body)?;
    let Flow {
        request,
        step,
        started,
    } = form
        .optional("flow")
        .and_then(|sealed| entra.keys.open_sealed(Purpose::Flow, &browser.id, sealed))
        .ok_or(Fault::FlowBindingMismatch)?;
    let now = entra.clock.unix();
    if now > started + SIGN_IN_TIMEOUT {
        return Err(Fault::FlowExpired);
    }
    let authority = entra.authority(&request.authority)?;
    let app = authority.client(&request.client_id.to_string())?;
    let users = authority.allowed_users(app);
    let next = flow::advance(&request, step, &form, browser, users, now);
    Ok(Submission {
        authority,
        app,
        request,
        started,
        next,
    })
}

/// Executes the steps that [`flow`] returns: shows pages, and redirects to the client.
pub(crate) struct SignIn<'a> {
    pub(crate) entra: &'a Entra,
    pub(crate) trace: &'a RequestTrace,
    pub(crate) authority: Authority<'a>,
    pub(crate) app: &'a App,
    pub(crate) browser: Browser,
    pub(crate) request: AuthorizationRequest,
    /// The time of the authorization request, in seconds since 1970.
    pub(crate) started: u64,
}

impl<'a> SignIn<'a> {
    pub(crate) fn run(mut self, next: Next) -> Response {
        let mut response = match next {
            Next::SignIn(session) => {
                let session = self.entra.fault_rules.start_session(session);
                self.browser.sign_in(session.clone());
                return self.run(Next::Continue(session));
            }
            Next::Continue(session) => {
                let next = self.after_sign_in(session);
                return self.run(next);
            }
            Next::Consent(session) => {
                let client = self.request.client_id;
                self.entra.fault_rules.consent(session.user, client);
                let next = flow::after_consent(&self.request, session);
                return self.run(next);
            }
            Next::ShowPage(step) => self.show_page(step, None),
            Next::ShowPageWithError(step, problem) => self.show_page(step, Some(problem)),
            Next::Finish(session) => self.finish(session),
            Next::Fail(fault) => self.fail(&fault),
        };
        self.browser.set_cookies(self.entra, &mut response);
        response
    }

    /// Returns the step after the password: injected errors first, then policies, then the client's
    /// requirements.
    fn after_sign_in(&self, session: Session) -> Next {
        let resources = match self.scopes() {
            Ok(scopes) => scopes.resources(),
            Err(fault) => return Next::Fail(fault),
        };
        let attempt = Attempt {
            kind: self.request.kind(),
            client: self.request.client_id,
            resources,
            session: Some(&session),
        };
        let fault_rules = &self.entra.fault_rules;
        if let Err(fault) = fault_rules.check(&attempt) {
            return Next::Fail(fault);
        }
        let requirement = fault_rules.unmet_requirement(&attempt);
        flow::after_sign_in(&self.request, session, requirement)
    }

    /// Redirects to the client with a code, or grants the device.
    fn finish(&self, session: Session) -> Response {
        tracing::info!(client = %self.request.client_id, user = %session.user, "signed in");
        match &self.request.delivery {
            Delivery::Redirect(redirect) => send_code(self.entra, &self.request, redirect, session),
            Delivery::Device(code) => self.complete_device(code, Some(session)),
        }
    }

    fn fail(&self, fault: &Fault) -> Response {
        match (&self.request.delivery, fault) {
            (Delivery::Redirect(redirect), _) => {
                redirect
                    .target
                    .send_error(&self.entra.base, self.trace, fault)
            }
            (Delivery::Device(code), Fault::Declined(_)) => self.complete_device(code, None),
            (Delivery::Device(_), _) => page::show_fault(self.trace, fault),
        }
    }

    fn complete_device(&self, user_code: &str, session: Option<Session>) -> Response {
        let granted = session.is_some();
        let now = self.entra.clock.unix();
        match self.entra.devices.complete(user_code, session, now) {
            Ok(()) if granted => device_granted(&self.app.name),
            Ok(()) => device_declined(&self.app.name),
            Err(fault) => page::show_fault(self.trace, &fault),
        }
    }

    fn show_page(&self, step: Step, problem: Option<&'static str>) -> Response {
        self.render_page(step, problem)
            .unwrap_or_else(|fault| page::show_fault(self.trace, &fault))
    }

    fn render_page(&self, step: Step, problem: Option<&'static str>) -> Result<Response, Fault> {
        let flow = Flow {
            request: self.request.clone(),
            step,
            started: self.started,
        };
        let form = self.form(&flow)?;
        let user = |id: Uuid| self.entra.cloud.member(id).ok_or(Fault::UserDeleted);
        Ok(match &flow.step {
            Step::PickAccount => {
                let tiles = self.remembered_tiles();
                page::show(StatusCode::OK, &page::PickAccount { form, tiles })
            }
            Step::Username { typed } => self.username(form, typed, problem),
            Step::Password { user: id } => {
                let User { username, name, .. } = user(*id)?.user;
                let page = page::Password {
                    form,
                    username,
                    name,
                    problem,
                };
                page::show(StatusCode::OK, &page)
            }
            Step::StaySignedIn { user: id, .. } => {
                let username = &user(*id)?.user.username;
                page::show(StatusCode::OK, &page::Stay { form, username })
            }
            Step::SecondFactor { session } => {
                let username = &user(session.user)?.user.username;
                let page = page::SecondFactor {
                    form,
                    username,
                    problem,
                };
                page::show(StatusCode::OK, &page)
            }
            Step::Approval { session, kind } => {
                let Member { tenant, user } = user(session.user)?;
                let page = page::Approval {
                    form,
                    username: &user.username,
                    link: admin_consent::link(tenant, &self.request),
                    requestable: *kind == flow::Approval::Requestable,
                };
                page::show(StatusCode::OK, &page)
            }
            Step::ApprovalRequested { session } => {
                let username = &user(session.user)?.user.username;
                page::show(StatusCode::OK, &page::ApprovalRequested { form, username })
            }
            Step::Confirm { session } => {
                let username = &user(session.user)?.user.username;
                page::show(StatusCode::OK, &page::Confirm { form, username })
            }
            Step::Consent { session } => {
                let page = page::Consent {
                    form,
                    username: &user(session.user)?.user.username,
                    groups: PermissionGroup::for_scopes(&self.scopes()?),
                };
                page::show(StatusCode::OK, &page)
            }
        })
    }

    fn form(&self, flow: &Flow) -> Result<Form<'a>, Fault> {
        let flow = self
            .entra
            .keys
            .seal(Purpose::Flow, &self.browser.id, flow)
            .map_err(|_| Fault::Internal)?;
        Ok(Form {
            tenant: self.authority.display_name(),
            app: &self.app.name,
            action: format!("/{}/login", self.authority.segment()),
            flow,
        })
    }

    fn username(&self, form: Form<'_>, username: &str, problem: Option<&'static str>) -> Response {
        let users = self.authority.allowed_users(self.app);
        let domain = users
            .iter()
            .next()
            .map_or("example.com", |member| member.user.domain());
        let page = page::Username {
            form,
            tiles: users
                .iter()
                .map(|member| Tile::new(member.user, false))
                .collect(),
            username,
            domain,
            problem,
        };
        page::show(StatusCode::OK, &page)
    }

    fn remembered_tiles(&self) -> Vec<Tile<'a>> {
        let users = self.authority.allowed_users(self.app);
        let tile = |account: &crate::browser::Account| {
            let member = users
                .iter()
                .find(|one| one.user.object_id == account.user)?;
            Some(Tile::new(member.user, account.session.is_some()))
        };
        self.browser.accounts.iter().filter_map(tile).collect()
    }

    fn scopes(&self) -> Result<Scopes<'a>, Fault> {
        let AuthorizationRequest {
            scope, resource, ..
        } = &self.request;
        Scopes::resolve(self.authority, self.app, scope, resource.as_deref())
    }
}

/// Redirects to the client with an authorization code.
fn send_code(
    entra: &Entra,
    request: &AuthorizationRequest,
    redirect: &RedirectParameters,
    session: Session,
) -> Response {
    let (user, state) = (session.user, session.id.to_string());
    let grant = CodeGrant::new(request, redirect, session);
    let code = entra.codes.issue(grant, entra.clock.unix());
    let mut parameters = vec![("code", code)];
    let member = entra.cloud.member(user).filter(|_| redirect.client_info);
    if let Some(member) = member {
        parameters.push(("client_info", claims::client_info(member)));
    }
    parameters.push(("session_state", state));
    redirect.target.send(parameters)
}

/// Tells the user that the device was granted access.
fn device_granted(app: &str) -> Response {
    show_notice(
        &format!("You have signed in to {app} on your device"),
        "You may now close this window.",
    )
}

/// Tells the user that the device was not granted access.
fn device_declined(app: &str) -> Response {
    show_notice(
        &format!("You did not sign in to {app}"),
        "Your device has been notified. You may now close this window.",
    )
}

fn show_notice(heading: &str, text: &str) -> Response {
    page::show(StatusCode::OK, &Notice { heading, text })
}
