//! A sign-in by device code (RFC 8628): the user enters a code on another device, and no callback
//! is needed.
//!
//! Owns: the codes, which exist only in the memory of this flow, and polling.
//! Does not own: showing them.

mod poll_interval;

use std::sync::Arc;
use std::time::Duration;

use model::EndpointUrl;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use url::Url;

use self::poll_interval::PollInterval;
use super::callback::{CallbackListener, Port};
use super::client::{PlannedSignIn, ReadySignIn};
use super::flow::{known_registration, prepare, wanted_port};
use super::{AccountSelection, BrowserLocation};
use crate::account::Account;
use crate::error::SignInError;
use crate::registration::Purpose;
use crate::secret::DeviceCode;
use crate::target::{ClientMetadata, Target};
use crate::token::ObtainedBy;
use crate::token::endpoint::EndpointError;
use crate::token::form::{form_request, send_json};
use crate::token::source::Source;

/// The maximum lifetime of the codes, whatever the server allows.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The maximum length of a user code. Real ones have about eight characters.
const MAX_USER_CODE: usize = 64;

/// A sign-in by device code. Dropping it cancels the sign-in.
pub struct DeviceFlow {
    authorization: DeviceAuthorization,
    until: Instant,
    expires_at: u64,
    sign_in: Arc<ReadySignIn>,
}

/// The result of one poll.
enum PollResult {
    /// The user entered the code, and the tokens are stored.
    SignedIn(Account),
    /// There are no tokens, or not yet.
    Without(EndpointError),
}

/// The validated codes of one sign-in. The user code has no characters that could hide or move
/// text.
struct DeviceAuthorization {
    device_code: DeviceCode,
    user_code: String,
    verification_uri: EndpointUrl,
    complete_uri: Option<EndpointUrl>,
    lifetime: Duration,
    poll_interval: PollInterval,
}

/// The device authorization response (RFC 8628 §3.2).
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
    /// Returns the code to enter.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.authorization.user_code
    }

    /// Returns where to enter it: https, or http on this machine.
    #[must_use]
    pub fn verification_uri(&self) -> &EndpointUrl {
        &self.authorization.verification_uri
    }

    /// Returns the verification URI with the code in it, if the server sent one.
    #[must_use]
    pub fn complete_uri(&self) -> Option<&EndpointUrl> {
        self.authorization.complete_uri.as_ref()
    }

    /// Returns when the codes expire, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Polls until the user has entered the code, then stores the tokens. A request in progress
    /// continues if the flow is dropped, and its tokens are stored:
    /// [`settled`](crate::Identity::settled) waits for it.
    ///
    /// # Errors
    ///
    /// Any [`SignInError`]. `DeviceCode`, if the authorization server refuses or the code expires.
    /// Nothing is stored then, and a previous grant is kept.
    pub async fn finish(mut self) -> Result<Account, SignInError> {
        let ended = self.poll().await;
        if let Err(SignInError::RegistrationLost { .. }) = ended {
            self.sign_in.drop_registration().await?;
        }
        ended.map_err(SignInError::by_device_code)
    }

    /// Prepares the sign-in: everything before the user can act.
    pub(crate) async fn start(
        source: Source,
        client: &ClientMetadata,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<Self, SignInError> {
        let plan = prepare(&source, client, target, challenge).await?;
        plan.approved_elsewhere()?;
        if plan.server.device_authorization_endpoint.is_none() {
            return Err(plan.no_device_code(target));
        }
        let known = known_registration(&source, &plan);
        let port = match wanted_port(&plan, known.as_ref()) {
            Port::Fixed(port) | Port::Favoured(port) => port,
            Port::Any => free_port().await,
        };
        let (account, browser) = (AccountSelection::Last, BrowserLocation::Remote);
        let planned = PlannedSignIn::new(source, target.clone(), plan, port, account, browser);
        let sign_in = planned.with_device_client(known, &client.name).await?;
        let (sign_in, authorization) = sign_in.with_codes(&client.name).await?;
        Ok(Self {
            until: Instant::now() + authorization.lifetime,
            expires_at: sign_in.planned.now() + authorization.lifetime.as_secs(),
            authorization,
            sign_in: Arc::new(sign_in),
        })
    }

    async fn poll(&mut self) -> Result<Account, SignInError> {
        loop {
            let next = Instant::now() + self.authorization.poll_interval.duration();
            sleep_until(next.min(self.until)).await;
            if next > self.until {
                return Err(self.timed_out());
            }
            let (sign_in, code) = (
                Arc::clone(&self.sign_in),
                self.authorization.device_code.clone(),
            );
            let request = async move { sign_in.redeem_device_code(&code).await };
            let result = self.sign_in.planned.source.run_to_completion(request).await;
            match result.map_err(|error| self.sign_in.task_failed(&error))?? {
                PollResult::SignedIn(account) => return Ok(account),
                PollResult::Without(error) => self.after_error(error)?,
            }
        }
    }

    /// Returns an error if polling must stop. Else adjusts the interval.
    fn after_error(&mut self, error: EndpointError) -> Result<(), SignInError> {
        let poll_interval = &mut self.authorization.poll_interval;
        match error {
            EndpointError::Refused(oauth_error) => match oauth_error.error.as_str() {
                "authorization_pending" => {
                    poll_interval.reset();
                    Ok(())
                }
                "slow_down" => {
                    poll_interval.slow_down();
                    Ok(())
                }
                "expired_token" => Err(self.timed_out()),
                _ => Err(self.sign_in.refused(&oauth_error)),
            },
            EndpointError::Busy { retry_after, .. } => {
                poll_interval.back_off(retry_after);
                Ok(())
            }
            // The network may be back before the code expires.
            EndpointError::Http(error) => {
                tracing::info!(issuer = %self.sign_in.planned.plan.issuer, %error, "asking again later");
                poll_interval.back_off(None);
                Ok(())
            }
        }
    }

    fn timed_out(&self) -> SignInError {
        SignInError::TimedOut {
            server: self.sign_in.planned.server(),
            waited: self.authorization.lifetime,
        }
    }
}

impl ReadySignIn {
    /// Polls once. Stores the tokens if the user has entered the code.
    async fn redeem_device_code(&self, code: &DeviceCode) -> Result<PollResult, SignInError> {
        let claims = self.planned.plan.claims_parameter();
        let endpoint = self.endpoint(&[], claims.as_deref());
        let issued = match endpoint.redeem_device_code(code, self.planned.now()).await {
            Ok(issued) => issued,
            Err(error) => return Ok(PollResult::Without(error)),
        };
        let account = self.account(&issued, None).await?;
        self.keep(account.clone(), issued, ObtainedBy::DeviceCode)
            .await?;
        Ok(PollResult::SignedIn(account))
    }

    /// Requests the codes. Registers again if the server does not know the stored registration any
    /// more, or not for this purpose. The registration is kept if there is no other one, because it
    /// may work in a browser.
    async fn with_codes(
        self,
        client_name: &str,
    ) -> Result<(Self, DeviceAuthorization), SignInError> {
        let (sign_in, authorization) = match self.device_authorization().await {
            Err(SignInError::RegistrationLost { .. }) => {
                let again = self.registered_again(Purpose::DeviceCode, client_name);
                let sign_in = again.await?;
                let authorization = sign_in.device_authorization().await;
                (sign_in, authorization)
            }
            authorization => (self, authorization),
        };
        let authorization = authorization.map_err(SignInError::by_device_code)?;
        Ok((sign_in, authorization))
    }

    /// Requests the codes (RFC 8628 §3.1).
    async fn device_authorization(&self) -> Result<DeviceAuthorization, SignInError> {
        let PlannedSignIn { target, plan, .. } = &self.planned;
        let Some(endpoint) = &plan.server.device_authorization_endpoint else {
            return Err(plan.no_device_code(target));
        };
        let scope = plan.scopes.join(" ");
        let mut form = Vec::new();
        if !scope.is_empty() {
            form.push(("scope", &*scope));
        }
        if let Some(resource) = &plan.resource {
            form.push(("resource", resource.as_str()));
        }
        let request = form_request(self.planned.http(), endpoint, self.client(), form);
        let response = send_json(request)
            .await
            .map_err(|error| self.exchange_error(error))?;
        self.planned.read_device_authorization(response)
    }
}

impl PlannedSignIn {
    /// Checks the codes, and that their pages belong to the authorization server.
    fn read_device_authorization(
        &self,
        response: Response,
    ) -> Result<DeviceAuthorization, SignInError> {
        let Self {
            source,
            target,
            plan,
            ..
        } = self;
        let is_allowed = |url: &Url| source.clients.is_allowed(plan.server.zone, url);
        let authorization = DeviceAuthorization::read(response, is_allowed).map_err(|what| {
            SignInError::Malformed {
                server: self.server(),
                what: format!("invalid device authorization response: {what}"),
            }
        })?;
        let issuers = source.known_issuers(target);
        let pages =
            std::iter::once(&authorization.verification_uri).chain(&authorization.complete_uri);
        for page in pages {
            issuers
                .check_device_page(&plan.issuer, page)
                .map_err(|taken| taken.into_error(target.url()))?;
        }
        Ok(authorization)
    }
}

impl DeviceAuthorization {
    fn read(response: Response, is_allowed: impl Fn(&Url) -> bool) -> Result<Self, String> {
        let address = |text: &str| match text.parse::<EndpointUrl>() {
            Ok(address) if is_allowed(address.url()) => Ok(address),
            Ok(_) | Err(_) => Err("its verification URI is not acceptable".to_owned()),
        };
        let code = response.user_code;
        let is_shown = |c: char| c == ' ' || (!c.is_control() && !c.is_whitespace());
        if code.is_empty() || code.len() > MAX_USER_CODE || !code.chars().all(is_shown) {
            return Err("its user code is not valid".to_owned());
        }
        let complete = response.verification_uri_complete.as_deref();
        Ok(Self {
            device_code: DeviceCode::new(response.device_code),
            user_code: code,
            verification_uri: address(&response.verification_uri)?,
            complete_uri: complete.map(address).transpose()?,
            lifetime: Duration::from_secs(response.expires_in).min(MAX_LIFETIME),
            poll_interval: PollInterval::new(response.interval),
        })
    }
}

/// Returns a port for the redirect URI of a registration, which requires one. A later sign-in in a
/// browser uses it if it is still free, and another one otherwise.
async fn free_port() -> u16 {
    let listener = CallbackListener::bind(Port::Any).await;
    listener.map_or(0, |listener| listener.port())
}
