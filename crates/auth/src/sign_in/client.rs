//! From a planned sign-in to one with its client: configured, registered before, or registered now.
//!
//! Owns: these two states of a sign-in. Only this module makes the second one, so nothing that needs
//! the client runs before the client is known.

use ::http::StatusCode;

use super::plan::Plan;
use super::{AccountSelection, AuthorizationRequest, BrowserLocation};
use crate::entra::AuthProfile;
use crate::error::SignInError;
use crate::explanation::Explanation;
use crate::http::send;
use crate::oauth_error::OAuthError;
use crate::random;
use crate::registration::{Client, Purpose, RegisterError, Registration, register};
use crate::target::Target;
use crate::token::source::Source;

/// A sign-in whose client is not known yet.
pub(super) struct PlannedSignIn {
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) plan: Plan,
    /// The port of the redirect URI.
    port: u16,
    pub(super) redirect_uri: String,
    account: AccountSelection,
    browser: BrowserLocation,
}

/// A sign-in with its client.
pub(super) struct ReadySignIn {
    pub(super) planned: PlannedSignIn,
    client: Client,
}

impl PlannedSignIn {
    /// Plans a sign-in whose redirect URI has this port.
    pub(super) fn new(
        source: Source,
        target: Target,
        plan: Plan,
        port: u16,
        account: AccountSelection,
        browser: BrowserLocation,
    ) -> Self {
        Self {
            redirect_uri: plan.redirect_uri(port),
            source,
            target,
            plan,
            port,
            account,
            browser,
        }
    }

    /// Chooses the client: configured, else registered with this port and still valid, else
    /// registered now.
    pub(super) async fn with_client(
        self,
        known: Option<Registration>,
        client_name: &str,
    ) -> Result<ReadySignIn, SignInError> {
        if let Some(client) = self.plan.client.clone() {
            return Ok(self.ready(client));
        }
        self.check_registers()?;
        let Some(known) = known.filter(|known| known.port == self.port) else {
            return self.register(Purpose::Browser, client_name).await;
        };
        let ready = self.ready(known.client);
        if !ready.is_forgotten().await {
            return Ok(ready);
        }
        ready.drop_registration().await?;
        ready.registered_again(Purpose::Browser, client_name).await
    }

    /// Chooses the client for a sign-in by device code: configured, else registered before, else
    /// registered now, for a browser on this port as well.
    pub(super) async fn with_device_client(
        self,
        known: Option<Registration>,
        client_name: &str,
    ) -> Result<ReadySignIn, SignInError> {
        if let Some(client) = self.plan.client.clone() {
            return Ok(self.ready(client));
        }
        self.check_registers()?;
        match known {
            Some(known) => Ok(self.ready(known.client)),
            None => self.register(Purpose::DeviceCode, client_name).await,
        }
    }

    /// Returns the server's URL for messages.
    pub(super) fn server(&self) -> String {
        self.target.url().shown().to_owned()
    }

    /// Returns the HTTP client for the endpoints of the authorization server.
    pub(super) fn http(&self) -> &reqwest::Client {
        self.source.clients.client_for(self.plan.server.zone)
    }

    pub(super) fn now(&self) -> u64 {
        self.source.clock.unix()
    }

    fn ready(self, client: Client) -> ReadySignIn {
        ReadySignIn {
            planned: self,
            client,
        }
    }

    /// Checks that a client can be registered. Entra registers none, and what the user approves is
    /// for one client.
    fn check_registers(&self) -> Result<(), SignInError> {
        match self.plan.profile {
            AuthProfile::Mcp => Ok(()),
            AuthProfile::Entra => Err(self.no_registration()),
        }
    }

    /// Registers a client, and stores the registration.
    async fn register(
        self,
        purpose: Purpose,
        client_name: &str,
    ) -> Result<ReadySignIn, SignInError> {
        let (http, server, uri) = (self.http(), &self.plan.server, &self.redirect_uri);
        let registration = register(http, server, purpose, client_name, uri, self.port)
            .await
            .map_err(|error| self.not_registered(error))?;
        let client = registration.client.clone();
        self.source.store.keep_registration(registration).await?;
        Ok(self.ready(client))
    }

    fn not_registered(&self, error: RegisterError) -> SignInError {
        let server = self.server();
        match error {
            RegisterError::NotOffered => self.no_registration(),
            RegisterError::NotForDeviceCodes => self.plan.no_device_code(&self.target),
            RegisterError::Refused(oauth_error) => {
                let issuer = &self.plan.issuer;
                let explanation = Explanation::from_error(&oauth_error, issuer, None);
                refused(server, &oauth_error, explanation)
            }
            RegisterError::Http(error) => {
                SignInError::from_http_error(self.plan.issuer.to_string(), error)
            }
            RegisterError::Malformed(what) => SignInError::Malformed { server, what },
        }
    }

    fn no_registration(&self) -> SignInError {
        SignInError::NoRegistration {
            server: self.server(),
            issuer: self.plan.issuer.to_string(),
        }
    }
}

impl ReadySignIn {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn authorization_request(&self) -> AuthorizationRequest<'_> {
        let plan = &self.planned.plan;
        AuthorizationRequest {
            server: &plan.server,
            client_id: &self.client.id,
            redirect_uri: &self.planned.redirect_uri,
            scopes: &plan.scopes,
            resource: plan.resource.as_ref(),
            response_mode: match self.planned.browser {
                BrowserLocation::Local => plan.response_mode(),
                BrowserLocation::Remote => None,
            },
            claims: plan.claims_parameter(),
            account: &self.planned.account,
        }
    }

    /// Replaces the client by one that is registered now.
    pub(super) async fn registered_again(
        self,
        purpose: Purpose,
        client_name: &str,
    ) -> Result<Self, SignInError> {
        self.planned.register(purpose, client_name).await
    }

    pub(super) async fn drop_registration(&self) -> Result<(), SignInError> {
        let PlannedSignIn { source, plan, .. } = &self.planned;
        let forgotten = source
            .store
            .forget_registration(&plan.issuer, &self.client.id);
        Ok(forgotten.await?)
    }

    /// Returns true if the authorization server rejects the authorization request of a stored
    /// registration. It must not redirect then (RFC 6749 §4.1.2.1), so the browser would end on an
    /// error page and Postern would get no response.
    async fn is_forgotten(&self) -> bool {
        let (url, _) = self.authorization_request().start(&mut random::fill);
        let refused = [
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::NOT_FOUND,
        ];
        match send(self.planned.http().get(url)).await {
            Ok(answer) => refused.contains(&answer.status),
            Err(_) => false,
        }
    }

    /// Returns the error for an OAuth error about this client.
    pub(super) fn refused(&self, oauth_error: &OAuthError) -> SignInError {
        let server = self.planned.server();
        let code = &*oauth_error.error;
        if matches!(code, "invalid_client" | "unauthorized_client") && self.client.is_registered() {
            return SignInError::RegistrationLost {
                server,
                error: code.to_owned(),
            };
        }
        let issuer = &self.planned.plan.issuer;
        let explanation = Explanation::from_error(oauth_error, issuer, Some(&self.client.id));
        refused(server, oauth_error, explanation)
    }
}

fn refused(server: String, oauth_error: &OAuthError, explanation: Box<Explanation>) -> SignInError {
    match oauth_error.error.as_str() {
        // Entra uses the second one for device codes.
        "access_denied" | "authorization_declined" => SignInError::Declined {
            server,
            explanation,
        },
        _ => SignInError::Refused {
            server,
            explanation,
        },
    }
}
