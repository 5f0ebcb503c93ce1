//! A browser: the cookie that binds forms to it, and the accounts that it remembers.
//!
//! The names of both cookies contain the port, because cookies are not separated by port.

use axum::response::Response;
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entra::Entra;
use crate::keys::Purpose;
use crate::random;
use crate::session::{PERSISTENT_LIFETIME, Session};

/// An account that a browser remembers, whether signed in or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) user: Uuid,
    pub(crate) session: Option<Session>,
}

/// The state of a browser, read from its cookies.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    /// A random id. Forms are sealed with it.
    pub(crate) id: String,
    is_new: bool,
    has_changed: bool,
    pub(crate) accounts: Vec<Account>,
}

impl Browser {
    /// Reads the cookies of a request, or creates a new browser. Expired sessions count as signed
    /// out.
    pub(crate) fn read(entra: &Entra, headers: &HeaderMap) -> Self {
        let now = entra.clock.unix();
        let id = cookie(headers, &id_cookie(entra));
        let mut accounts: Vec<Account> = cookie(headers, &accounts_cookie(entra))
            .and_then(|sealed| entra.keys.open_sealed(Purpose::Accounts, "", sealed))
            .unwrap_or_default();
        accounts.retain(|account| entra.cloud.member(account.user).is_some());
        for account in &mut accounts {
            account
                .session
                .take_if(|session| !session.is_live(now) || entra.fault_rules.has_ended(session));
        }
        Self {
            is_new: id.is_none(),
            has_changed: false,
            id: id.map_or_else(random::token::<16>, str::to_owned),
            accounts,
        }
    }

    /// Returns the sessions that can sign in without a password.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.accounts.iter().filter_map(|a| a.session.as_ref())
    }

    pub(crate) fn session_of(&self, user: Uuid) -> Option<&Session> {
        self.sessions().find(|session| session.user == user)
    }

    /// Adds `session` at the start of the list.
    pub(crate) fn sign_in(&mut self, session: Session) {
        self.has_changed = true;
        self.accounts.retain(|account| account.user != session.user);
        self.accounts.insert(
            0,
            Account {
                user: session.user,
                session: Some(session),
            },
        );
    }

    /// Ends the sessions of `user`, or of all users if `None`. The accounts stay remembered.
    pub(crate) fn sign_out(&mut self, user: Option<Uuid>) {
        self.has_changed = true;
        for account in &mut self.accounts {
            if user.is_none_or(|user| user == account.user) {
                account.session = None;
            }
        }
    }

    /// Sets the id cookie of a new browser, and the accounts cookie if the accounts changed.
    pub(crate) fn set_cookies(&self, entra: &Entra, response: &mut Response) {
        if self.is_new {
            set_cookie(response, &id_cookie(entra), &self.id, None);
        }
        if self.has_changed {
            self.set_accounts_cookie(entra, response);
        }
    }

    fn set_accounts_cookie(&self, entra: &Entra, response: &mut Response) {
        let lasting = self.sessions().any(|session| session.persistent);
        match entra.keys.seal(Purpose::Accounts, "", &self.accounts) {
            Ok(sealed) => {
                let age = lasting.then_some(PERSISTENT_LIFETIME);
                set_cookie(response, &accounts_cookie(entra), &sealed, age);
            }
            Err(error) => tracing::error!(%error, "cannot store the accounts of a browser"),
        }
    }
}

fn id_cookie(entra: &Entra) -> String {
    format!("entra-browser-{}", port(entra))
}

fn accounts_cookie(entra: &Entra) -> String {
    format!("entra-accounts-{}", port(entra))
}

fn port(entra: &Entra) -> &str {
    entra.base.rsplit(':').next().unwrap_or_default()
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == name)
        .find_map(|cookie| cookie.value_raw().filter(|value| !value.is_empty()))
}

/// Sets a cookie with `SameSite=Lax`: the browser sends it with redirects from applications, and
/// does not send it with forms of other sites.
fn set_cookie(response: &mut Response, name: &str, value: &str, max_age: Option<u64>) {
    let mut cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .build();
    cookie.set_max_age(max_age.map(|age| Duration::seconds(age.cast_signed())));
    if let Ok(cookie) = HeaderValue::try_from(cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
