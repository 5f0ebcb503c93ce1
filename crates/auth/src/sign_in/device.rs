//! A sign-in on another device (RFC 8628): a person enters a code there, and nothing has to come
//! back to this machine.
//!
//! Owns: the codes, which exist in the memory of this one flow, and how often is asked whether
//! somebody entered them.
//! Does not own: showing them.

mod poll_interval;

use std::sync::Arc;
use std::time::Duration;

use model::EndpointUrl;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use url::Url;

use self::poll_interval::Pace;
use super::Whom;
use super::callback::{CallbackListener, Port};
use super::exchange::{Exchange, ReturnTo};
use super::flow::{find_out, known_registration, wanted_port};
use crate::account::Account;
use crate::discovery::KnownIssuers;
use crate::error::SignInError;
use crate::identity::{Program, Target};
use crate::registration::{Client, Purpose};
use crate::secret::DeviceCode;
use crate::token::ObtainedBy;
use crate::token::endpoint::EndpointError;
use crate::token::form::{ask, proven};
use crate::token::source::Source;

/// The longest a person may take, whatever the server allows.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The longest user code that is shown. Real ones have eight characters or so.
const LONGEST_CODE: usize = 64;

/// A sign-in that waits for somebody to enter a code. Dropping it cancels the waiting.
pub struct DeviceFlow {
    codes: Codes,
    until: Instant,
    expires_at: u64,
    exchange: Arc<Exchange>,
}

/// What one question came to.
enum Answered {
    /// Somebody has entered the code, and the tokens are kept.
    SignedIn(Account),
    /// There are no tokens, or not yet.
    Without(EndpointError),
}

/// What a person is shown, and what is asked with. It can be read in one way only.
struct Codes {
    device_code: DeviceCode,
    user_code: String,
    verification_uri: EndpointUrl,
    complete_uri: Option<EndpointUrl>,
    life: Duration,
    pace: Pace,
}

/// The device authorization response (RFC 8628 section 3.2).
#[derive(Deserialize)]
struct Response {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl DeviceFlow {
    /// The code to enter.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.codes.user_code
    }

    /// Where to enter it: https, or http to this machine.
    #[must_use]
    pub fn verification_uri(&self) -> &EndpointUrl {
        &self.codes.verification_uri
    }

    /// The same with the code in it, where the server has that.
    #[must_use]
    pub fn complete_uri(&self) -> Option<&EndpointUrl> {
        self.codes.complete_uri.as_ref()
    }

    /// Until when, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Asks as often as the server allows until somebody has entered the code, then keeps the
    /// tokens. What is being asked when the flow is dropped goes on, and so do tokens that come of
    /// it: [`settled`](crate::Identity::settled) waits for them.
    ///
    /// # Errors
    ///
    /// All of [`SignInError`], `DeviceCode` where the authorization server refuses or the code
    /// expires; nothing is kept then, and what was there before stays.
    pub async fn finish(mut self) -> Result<Account, SignInError> {
        let ended = self.poll().await;
        if let Err(SignInError::RegistrationLost { .. }) = ended {
            self.exchange.drop_registration().await?;
        }
        ended.map_err(SignInError::by_device_code)
    }

    /// The first half: everything that comes before a person can do something.
    pub(crate) async fn start(
        source: Source,
        program: &Program,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<Self, SignInError> {
        let plan = find_out(&source, program, target, challenge).await?;
        plan.approved_elsewhere()?;
        if plan.server.device_authorization_endpoint.is_none() {
            return Err(SignInError::NoDeviceCode {
                server: target.url.shown().to_owned(),
                issuer: plan.issuer.to_string(),
            });
        }
        let known = known_registration(&source, &plan);
        let port = match wanted_port(&plan, known.as_ref()) {
            Port::Fixed(port) | Port::Favoured(port) => port,
            Port::Any => some_port().await,
        };
        let exchange = Exchange {
            redirect_uri: plan.redirect_uri(port),
            client: Client::configured(""),
            whom: Whom::Same,
            return_to: ReturnTo::Elsewhere,
            source,
            target: target.clone(),
            plan,
        };
        let exchange = exchange
            .with_device_client(known, &program.name, port)
            .await?;
        let (exchange, codes) = match exchange.codes().await {
            // A registration from before, of which the server does not know any more, or not for
            // this purpose. It stays if there is no other one: it may do for a browser.
            Err(SignInError::RegistrationLost { .. }) => {
                let exchange = exchange
                    .registered(Purpose::DeviceCode, &program.name, port)
                    .await?;
                let codes = exchange.codes().await;
                (exchange, codes.map_err(SignInError::by_device_code)?)
            }
            codes => {
                let codes = codes.map_err(SignInError::by_device_code)?;
                (exchange, codes)
            }
        };
        Ok(Self {
            until: Instant::now() + codes.life,
            expires_at: exchange.now() + codes.life.as_secs(),
            codes,
            exchange: Arc::new(exchange),
        })
    }

    async fn poll(&mut self) -> Result<Account, SignInError> {
        loop {
            let next = Instant::now() + self.codes.pace.interval();
            sleep_until(next.min(self.until)).await;
            if next > self.until {
                return Err(self.timed_out());
            }
            let (exchange, code) = (Arc::clone(&self.exchange), self.codes.device_code.clone());
            let question = async move { exchange.redeem_device_code(&code).await };
            let answered = self.exchange.source.to_its_end(question).await;
            match answered.map_err(|error| self.exchange.broken_off(&error))?? {
                Answered::SignedIn(account) => return Ok(account),
                Answered::Without(error) => self.go_on(error)?,
            }
        }
    }

    /// Whether to ask again after this, and how much later.
    fn go_on(&mut self, error: EndpointError) -> Result<(), SignInError> {
        let pace = &mut self.codes.pace;
        match error {
            EndpointError::Refused(refusal) => match refusal.error.as_str() {
                "authorization_pending" => {
                    pace.keep();
                    Ok(())
                }
                "slow_down" => {
                    pace.slow_down();
                    Ok(())
                }
                "expired_token" => Err(self.timed_out()),
                _ => Err(self.exchange.refused(&refusal)),
            },
            EndpointError::Busy { retry_after, .. } => {
                pace.back_off(retry_after);
                Ok(())
            }
            // The network may be back before the code ends.
            EndpointError::Fault(fault) => {
                tracing::info!(issuer = %self.exchange.plan.issuer, %fault, "asking again later");
                pace.back_off(None);
                Ok(())
            }
        }
    }

    fn timed_out(&self) -> SignInError {
        SignInError::TimedOut {
            server: self.exchange.server(),
            waited: self.codes.life,
        }
    }
}

impl Exchange {
    /// Asks once whether somebody has entered the code, and keeps the tokens if so.
    async fn redeem_device_code(&self, code: &DeviceCode) -> Result<Answered, SignInError> {
        let claims = self.plan.claims_parameter();
        let endpoint = self.endpoint(&[], claims.as_deref());
        let issued = match endpoint.redeem_device_code(code, self.now()).await {
            Ok(issued) => issued,
            Err(error) => return Ok(Answered::Without(error)),
        };
        let account = self.account(&issued, None).await?;
        self.keep(account.clone(), issued, ObtainedBy::DeviceCode)
            .await?;
        Ok(Answered::SignedIn(account))
    }

    /// The authorization server has no device codes, or none for programs that register themselves.
    pub(super) fn no_device_code(&self) -> SignInError {
        SignInError::NoDeviceCode {
            server: self.server(),
            issuer: self.plan.issuer.to_string(),
        }
    }

    /// Asks for the codes (RFC 8628 section 3.1).
    async fn codes(&self) -> Result<Codes, SignInError> {
        let Some(endpoint) = &self.plan.server.device_authorization_endpoint else {
            return Err(self.no_device_code());
        };
        let scope = self.plan.scopes.join(" ");
        let mut form = Vec::new();
        if !scope.is_empty() {
            form.push(("scope", &*scope));
        }
        if let Some(resource) = &self.plan.resource {
            form.push(("resource", resource.as_str()));
        }
        let request = proven(self.http(), endpoint, &self.client, form);
        let response = ask(request)
            .await
            .map_err(|error| self.not_redeemed(error))?;
        let may_name = |url: &Url| {
            let clients = &self.source.clients;
            clients.may_name(self.plan.server.side, url)
        };
        let codes = Codes::read(response, may_name).map_err(|what| SignInError::Malformed {
            server: self.server(),
            what: format!("its device authorization endpoint answers nonsense: {what}"),
        })?;
        let issuers = KnownIssuers::new(&self.source, &self.target);
        let pages = std::iter::once(&codes.verification_uri).chain(&codes.complete_uri);
        for page in pages {
            issuers
                .check_device_page(&self.plan.issuer, page)
                .map_err(|taken| taken.about(&self.target.url))?;
        }
        Ok(codes)
    }
}

impl Codes {
    fn read(response: Response, may_name: impl Fn(&Url) -> bool) -> Result<Self, String> {
        let address = |text: &str| match text.parse::<EndpointUrl>() {
            Ok(address) if may_name(address.url()) => Ok(address),
            Ok(_) | Err(_) => Err("the page it names is none that may be opened".to_owned()),
        };
        let code = response.user_code;
        let is_shown = |c: char| c == ' ' || (!c.is_control() && !c.is_whitespace());
        if code.is_empty() || code.len() > LONGEST_CODE || !code.chars().all(is_shown) {
            return Err("the user code is not one".to_owned());
        }
        let complete = response.verification_uri_complete.as_deref();
        Ok(Self {
            device_code: DeviceCode::new(response.device_code),
            user_code: code,
            verification_uri: address(&response.verification_uri)?,
            complete_uri: complete.map(address).transpose()?,
            life: Duration::from_secs(response.expires_in).min(LONGEST),
            pace: Pace::new(response.interval),
        })
    }
}

/// A port for the redirect URI of a registration, which wants one. A browser that signs in later
/// comes back to it if it is still free, and to another one otherwise.
async fn some_port() -> u16 {
    let listener = CallbackListener::bind(Port::Any).await;
    listener.map_or(0, |listener| listener.port())
}
