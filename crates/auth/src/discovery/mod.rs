//! Finding out who protects a server, and how one signs in there.
//!
//! Owns: the order in which documents are asked for (MCP authorization, RFC 9728, RFC 8414,
//! OpenID Connect Discovery 1.0), the checks that tie each to the one before, and what is assumed
//! where there are none (MCP 2025-03-26).
//! Does not own: registration and sign-in.

mod challenge;
mod reach;
mod resource;
mod server;

use model::{EndpointUrl, Issuer};
use serde::de::DeserializeOwned;
use url::Url;

pub(crate) use challenge::Challenge;
pub(crate) use resource::ProtectedResource;
pub(crate) use server::{AuthorizationServer, IssuerRule, Proof};

use crate::dialect;
use crate::error::SignInError;
use crate::http::{Answer, Fault, send};

/// What was found out about a server.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    pub(crate) authorization_server: AuthorizationServer,
    /// What the server says of itself, if it does.
    pub(crate) resource: Option<ProtectedResource>,
    /// What the server said when it refused.
    pub(crate) challenge: Challenge,
    /// Whether the server was seen to refuse, or describes its protection.
    pub(crate) protected: bool,
}

/// How many authorization servers of one server are asked at most.
const MOST_AUTHORIZATION_SERVERS: usize = 4;

/// One search.
pub(crate) struct Discovery<'a> {
    pub(crate) http: &'a reqwest::Client,
    pub(crate) server: &'a EndpointUrl,
}

impl Discovery<'_> {
    /// Asks the server, then its authorization servers, up to the first that answers as it should
    /// and that `fits`.
    pub(crate) async fn of_server(
        &self,
        challenge: Option<Challenge>,
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<Discovered, SignInError> {
        let mut protected = challenge.is_some();
        let mut challenge = challenge.unwrap_or_default();
        let mut resource = self.resource(&challenge).await?;
        if resource.is_none()
            && !protected
            && let Some(heard) = self.knock().await?
        {
            protected = true;
            challenge = heard;
            resource = self.resource(&challenge).await?;
        }
        let named = resource.as_ref().map(|one| &*one.authorization_servers);
        let authorization_server = match named {
            Some(issuers @ [_, ..]) => self.first_of(issuers, fits).await?,
            Some([]) | None => self.of_origin().await?,
        };
        protected |= resource.is_some() || authorization_server.proof != Proof::Assumed;
        Ok(Discovered {
            authorization_server,
            resource,
            challenge,
            protected,
        })
    }

    /// The first of these that answers as it should and that `fits`, else the first that answers
    /// as it should.
    async fn first_of(
        &self,
        issuers: &[Issuer],
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<AuthorizationServer, SignInError> {
        let (mut found, mut failed) = (None, None);
        for issuer in issuers.iter().take(MOST_AUTHORIZATION_SERVERS) {
            match self.of_issuer(issuer).await {
                Ok(server) if fits(&server) => return Ok(server),
                Ok(server) => found = found.or(Some(server)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (found, failed) {
            (Some(server), _) => Ok(server),
            (None, Some(error)) => Err(error),
            (None, None) => self.of_origin().await,
        }
    }

    /// Asks the authorization server `issuer`, in the dialect it speaks.
    pub(crate) async fn of_issuer(
        &self,
        issuer: &Issuer,
    ) -> Result<AuthorizationServer, SignInError> {
        if dialect::is_entra(issuer) {
            return self.of_entra(issuer).await;
        }
        let base = self.checked(
            "its authorization server",
            issuer.as_str(),
            self.server.url(),
        )?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(&address).await? {
                return self.accept(metadata, &address, |found| found == issuer.as_str());
            }
        }
        Err(self.malformed(format!(
            "its authorization server {issuer} has no metadata (RFC 8414)"
        )))
    }

    /// Asks the Entra authority `authority`, which knows OpenID Connect Discovery alone.
    pub(crate) async fn of_entra(
        &self,
        authority: &Issuer,
    ) -> Result<AuthorizationServer, SignInError> {
        let text = authority.as_str().trim_end_matches('/');
        let address = format!("{text}/.well-known/openid-configuration");
        let address = self.checked("its authority", &address, self.server.url())?;
        let Some(metadata) = self.document(&address).await? else {
            return Err(self.malformed(format!(
                "its authority {authority} is not known there (no metadata at {})",
                address.shown()
            )));
        };
        self.accept(metadata, &address, |found| {
            dialect::names_authority(authority, found)
        })
    }

    /// The server's own origin as its authorization server, as MCP 2025-03-26 had it.
    async fn of_origin(&self) -> Result<AuthorizationServer, SignInError> {
        let origin = self.server.url().origin().ascii_serialization();
        let base = self.checked("its origin", &origin, self.server.url())?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(&address).await? {
                return self.accept(metadata, &address, |found| {
                    found.strip_suffix('/').unwrap_or(found) == origin
                });
            }
        }
        AuthorizationServer::assumed(&origin).map_err(|what| self.malformed(what))
    }

    async fn resource(
        &self,
        challenge: &Challenge,
    ) -> Result<Option<ProtectedResource>, SignInError> {
        let mut addresses = Vec::new();
        if let Some(named) = &challenge.resource_metadata {
            addresses.push(self.checked("its resource metadata", named, self.server.url())?);
        }
        addresses.extend(resource::well_known(self.server.url()));
        for address in addresses {
            if let Some(metadata) = self.document::<resource::Metadata>(&address).await? {
                let found = ProtectedResource::read(metadata, self.server)
                    .map_err(|what| self.malformed(what))?;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Asks the server for nothing in particular, to hear whether it refuses.
    async fn knock(&self) -> Result<Option<Challenge>, SignInError> {
        let request = self
            .http
            .get(self.server.url().clone())
            .header("accept", "application/json, text/event-stream");
        // Only the head of the answer counts: its body may be a stream without end.
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.fault(self.server, crate::http::fault(error))),
        };
        if response.status().is_success() {
            return Err(SignInError::NotProtected {
                server: self.server.shown().to_owned(),
            });
        }
        if response.status() != ::http::StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let header = response.headers().get(::http::header::WWW_AUTHENTICATE);
        let text = header.and_then(|value| value.to_str().ok());
        Ok(Some(text.and_then(Challenge::parse).unwrap_or_default()))
    }

    /// A JSON document; `None` if there is none: any 3xx or 4xx, or a page for people.
    async fn document<T: DeserializeOwned>(
        &self,
        address: &EndpointUrl,
    ) -> Result<Option<T>, SignInError> {
        let request = self
            .http
            .get(address.url().clone())
            .header("accept", "application/json");
        let Answer { status, body, .. } = send(request)
            .await
            .map_err(|fault| self.fault(address, fault))?;
        if status.is_server_error() {
            return Err(SignInError::Unreachable {
                server: address.shown().to_owned(),
                reason: format!("it answers {status}"),
            });
        }
        if !status.is_success() {
            return Ok(None);
        }
        match serde_json::from_slice(&body.0) {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.is_data() => {
                Err(self.malformed(format!("{} does not fit: {error}", address.shown())))
            }
            Err(_) => Ok(None),
        }
    }

    fn accept(
        &self,
        metadata: server::Metadata,
        source: &EndpointUrl,
        is_issuer: impl Fn(&str) -> bool,
    ) -> Result<AuthorizationServer, SignInError> {
        if !is_issuer(&metadata.issuer) {
            return Err(self.malformed(format!(
                "{} speaks for the issuer `{}`, which is another one",
                source.shown(),
                metadata.issuer
            )));
        }
        AuthorizationServer::read(metadata, |field, text| {
            self.checked(field, text, source.url())
        })
    }

    /// An address that a document from `source` names, if it may.
    fn checked(&self, what: &str, text: &str, source: &Url) -> Result<EndpointUrl, SignInError> {
        let address = text.parse::<EndpointUrl>().map_err(|error| {
            let error = error.to_string();
            let reason = error.split("; hint").next().unwrap_or_default();
            self.insecure(format!("{what} is not acceptable: {reason}"))
        })?;
        if !reach::may_name(source, &address) {
            return Err(self.insecure(format!(
                "{what} is at {}, inside the local network, but it was named from outside",
                address.shown()
            )));
        }
        Ok(address)
    }

    fn fault(&self, address: &EndpointUrl, fault: Fault) -> SignInError {
        SignInError::from_fault(address.shown().to_owned(), fault)
    }

    fn insecure(&self, what: String) -> SignInError {
        SignInError::Insecure {
            server: self.server.shown().to_owned(),
            what,
        }
    }

    fn malformed(&self, what: String) -> SignInError {
        SignInError::Malformed {
            server: self.server.shown().to_owned(),
            what,
        }
    }
}
