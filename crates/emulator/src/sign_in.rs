//! `POST /{tenant}/login`: what a person answers on the pages of the sign-in.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use crate::admin_consent;
use crate::app::App;
use crate::authority::Authority;
use crate::browser::{Browser, Session};
use crate::cloud::Member;
use crate::code::CodeGrant;
use crate::device;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault_injection::Attempt;
use crate::flow::{self, Back, Flow, Next, Request, Step, Way};
use crate::keys::Purpose;
use crate::page::{self, Form, PermissionGroup, Tile};
use crate::parameters::Parameters;
use crate::request_trace::{self, Occurrence, Refusal};
use crate::scope::Scopes;
use crate::tenant::User;

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
            authority,
            app,
            request,
            started,
            next,
        }) => SignIn {
            entra: &entra,
            occurrence: &occurrence,
            authority,
            app,
            browser,
            request,
            started,
        }
        .go(next),
        Err(fault) => page::show_fault(&occurrence, &fault),
    }
}

struct Answered<'e> {
    authority: Authority<'e>,
    app: &'e App,
    request: Request,
    started: u64,
    next: Next,
}

fn answer<'e>(
    entra: &'e Entra,
    tenant: &str,
    browser: &Browser,
    body: &[u8],
) -> Result<Answered<'e>, Fault> {
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
    let authority = entra.authority(&request.authority)?;
    let app = authority.client(&request.client_id.to_string())?;
    let people = authority.people(app);
    let next = flow::advance(&request, step, &answer, browser, people, now);
    Ok(Answered {
        authority,
        app,
        request,
        started,
        next,
    })
}

/// Carries out what [`flow`] decides: shows the page, or sends the person back to the client.
pub(crate) struct SignIn<'a> {
    pub(crate) entra: &'a Entra,
    pub(crate) occurrence: &'a Occurrence,
    pub(crate) authority: Authority<'a>,
    pub(crate) app: &'a App,
    pub(crate) browser: Browser,
    pub(crate) request: Request,
    /// When the client asked, in seconds since 1970.
    pub(crate) started: u64,
}

impl<'a> SignIn<'a> {
    pub(crate) fn go(mut self, next: Next) -> Response {
        let mut response = match next {
            Next::SignIn(session) => {
                let session = self.entra.switches.begun(session);
                self.browser.sign_in(session.clone());
                return self.go(Next::GoOn(session));
            }
            Next::GoOn(session) => {
                let next = self.after_sign_in(session);
                return self.go(next);
            }
            Next::Consent(session) => {
                let client = self.request.client_id;
                self.entra.switches.consent(session.user, client);
                let next = flow::after_consent(&self.request, session);
                return self.go(next);
            }
            Next::Ask(step) => self.ask(step, None),
            Next::AskAgain(step, problem) => self.ask(step, Some(problem)),
            Next::Finish(session) => self.finish(session),
            Next::Refuse(fault) => self.refuse(&fault),
        };
        self.browser.remember(self.entra, &mut response);
        response
    }

    /// What comes after the password: whatever is switched on, policies, then the client.
    fn after_sign_in(&self, session: Session) -> Next {
        let resources = match self.scopes() {
            Ok(scopes) => scopes.resources(),
            Err(fault) => return Next::Refuse(fault),
        };
        let attempt = Attempt {
            occasion: self.request.occasion(),
            client: self.request.client_id,
            resources,
            session: Some(&session),
        };
        let switches = &self.entra.switches;
        if let Err(fault) = switches.check(&attempt) {
            return Next::Refuse(fault);
        }
        let demand = switches.demand(&attempt);
        flow::after_sign_in(&self.request, session, demand)
    }

    /// Tells the client of its success, or lets a device find out.
    fn finish(&self, session: Session) -> Response {
        tracing::info!(client = %self.request.client_id, user = %session.user, "signed in");
        match &self.request.way {
            Way::Back(back) => send_code(self.entra, &self.request, back, session),
            Way::Device(code) => self.settle(code, Some(session)),
        }
    }

    fn refuse(&self, fault: &Fault) -> Response {
        match (&self.request.way, fault) {
            (Way::Back(back), _) => refuse(self.entra, self.occurrence, &back.reply, fault),
            (Way::Device(code), Fault::Declined(_)) => self.settle(code, None),
            (Way::Device(_), _) => page::show_fault(self.occurrence, fault),
        }
    }

    fn settle(&self, user_code: &str, session: Option<Session>) -> Response {
        let granted = session.is_some();
        let now = self.entra.clock.unix();
        match self.entra.devices.settle(user_code, session, now) {
            Ok(()) if granted => device::page::granted(&self.app.name),
            Ok(()) => device::page::declined(&self.app.name),
            Err(fault) => page::show_fault(self.occurrence, &fault),
        }
    }

    fn ask(&self, step: Step, problem: Option<&'static str>) -> Response {
        self.page(step, problem)
            .unwrap_or_else(|fault| page::show_fault(self.occurrence, &fault))
    }

    fn page(&self, step: Step, problem: Option<&'static str>) -> Result<Response, Fault> {
        let flow = Flow {
            request: self.request.clone(),
            step,
            started: self.started,
        };
        let form = self.form(&flow)?;
        let user = |id: Uuid| self.entra.cloud.member(id).ok_or(Fault::UserGone);
        Ok(match &flow.step {
            Step::PickAccount => {
                let tiles = self.remembered();
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
                    groups: permission_groups(&self.scopes()?),
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
        let people = self.authority.people(self.app);
        let domain = people
            .iter()
            .next()
            .map_or("example.com", |member| member.user.domain());
        let page = page::Username {
            form,
            tiles: people
                .iter()
                .map(|member| Tile::new(member.user, false))
                .collect(),
            username,
            domain,
            problem,
        };
        page::show(StatusCode::OK, &page)
    }

    fn remembered(&self) -> Vec<Tile<'a>> {
        let people = self.authority.people(self.app);
        let tile = |account: &crate::browser::Account| {
            let member = people
                .iter()
                .find(|one| one.user.object_id == account.user)?;
            Some(Tile::new(member.user, account.session.is_some()))
        };
        self.browser.accounts.iter().filter_map(tile).collect()
    }

    fn scopes(&self) -> Result<Scopes<'a>, Fault> {
        let Request {
            scope, resource, ..
        } = &self.request;
        Scopes::resolve(self.authority, self.app, scope, resource.as_deref())
    }
}

/// What a client would be allowed, in words.
pub(crate) fn permission_groups<'a>(scopes: &Scopes<'a>) -> Vec<PermissionGroup<'a>> {
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
    groups
}

/// Sends the client its code.
fn send_code(entra: &Entra, request: &Request, back: &Back, session: Session) -> Response {
    let (user, state) = (session.user, session.id.to_string());
    let grant = CodeGrant::new(request, back, session);
    let code = entra.codes.issue(grant, entra.clock.unix());
    let mut parameters = vec![("code", code)];
    let member = entra.cloud.member(user).filter(|_| back.client_info);
    if let Some(member) = member {
        parameters.push(("client_info", client_info(member)));
    }
    parameters.push(("session_state", state));
    back.reply.send(parameters)
}

/// Tells the client why not; or the person, where the client must not learn it.
pub(crate) fn refuse(
    entra: &Entra,
    occurrence: &Occurrence,
    reply: &crate::redirect::Reply,
    fault: &Fault,
) -> Response {
    if fault.is_page() {
        return page::show_fault(occurrence, fault);
    }
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
    parameters.push(("error_uri", request_trace::error_uri(&entra.base, fault)));
    if let Some(claims) = fault.claims() {
        parameters.push(("claims", claims.to_owned()));
    }
    let mut response = reply.send(parameters);
    response.extensions_mut().insert(Refusal(fault.code()));
    response
}

/// `client_info`: who signed in, as MSAL wants it.
pub(crate) fn client_info(Member { tenant, user }: Member<'_>) -> String {
    let info = serde_json::json!({ "uid": user.object_id, "utid": tenant.id });
    URL_SAFE_NO_PAD.encode(info.to_string())
}
