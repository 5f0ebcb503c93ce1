//! Chooses the client of a sign-in: configured, registered before, or registered now.

use ::http::StatusCode;

use super::exchange::CodeExchange;
use crate::entra::AuthProfile;
use crate::error::SignInError;
use crate::http::send;
use crate::random;
use crate::registration::{Purpose, RegisterError, Registration, register};

impl CodeExchange {
    /// Chooses the client: configured, else registered with this port and still valid, else
    /// registered now.
    pub(super) async fn with_client(
        mut self,
        known: Option<Registration>,
        client_name: &str,
        port: u16,
    ) -> Result<Self, SignInError> {
        if let Some(client) = self.plan.client.take() {
            self.client = client;
            return Ok(self);
        }
        self.registers()?;
        if let Some(known) = known.filter(|known| known.port == port) {
            self.client = known.client;
            if !self.is_forgotten().await {
                return Ok(self);
            }
            self.drop_registration().await?;
        }
        self.registered(Purpose::Browser, client_name, port).await
    }

    /// Chooses the client for a sign-in by device code: configured, else registered before, else
    /// registered now, for a browser on `port` as well.
    pub(super) async fn with_device_client(
        mut self,
        known: Option<Registration>,
        client_name: &str,
        port: u16,
    ) -> Result<Self, SignInError> {
        if self.plan.client.is_none() {
            self.registers()?;
        }
        let known = known.map(|known| known.client);
        match self.plan.client.take().or(known) {
            Some(client) => {
                self.client = client;
                Ok(self)
            }
            None => {
                let purpose = Purpose::DeviceCode;
                self.registered(purpose, client_name, port).await
            }
        }
    }

    /// Checks that a client can be registered. Entra registers none, and what the user approves is
    /// for one client.
    fn registers(&self) -> Result<(), SignInError> {
        match self.plan.profile {
            AuthProfile::Mcp => Ok(()),
            AuthProfile::Entra => Err(SignInError::NoRegistration {
                server: self.server(),
                issuer: self.plan.issuer.to_string(),
            }),
        }
    }

    /// Registers a client, and stores the registration.
    pub(super) async fn registered(
        mut self,
        purpose: Purpose,
        client_name: &str,
        port: u16,
    ) -> Result<Self, SignInError> {
        let (http, server, uri) = (self.http(), &self.plan.server, &self.redirect_uri);
        let registration = register(http, server, purpose, client_name, uri, port)
            .await
            .map_err(|error| self.not_registered(error))?;
        self.client = registration.client.clone();
        self.source.store.keep_registration(registration).await?;
        Ok(self)
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
        match send(self.http().get(url)).await {
            Ok(answer) => refused.contains(&answer.status),
            Err(_) => false,
        }
    }

    pub(super) async fn drop_registration(&self) -> Result<(), SignInError> {
        let store = &self.source.store;
        let id = &self.client.id;
        Ok(store.forget_registration(&self.plan.issuer, id).await?)
    }

    fn not_registered(&self, error: RegisterError) -> SignInError {
        let server = self.server();
        match error {
            RegisterError::NotOffered => SignInError::NoRegistration {
                server,
                issuer: self.plan.issuer.to_string(),
            },
            RegisterError::NotForDeviceCodes => self.no_device_code(),
            RegisterError::Refused(oauth_error) => self.refused(&oauth_error),
            RegisterError::Http(error) => {
                SignInError::from_http_error(self.plan.issuer.to_string(), error)
            }
            RegisterError::Malformed(what) => SignInError::Malformed { server, what },
        }
    }
}
