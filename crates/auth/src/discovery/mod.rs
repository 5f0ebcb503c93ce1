//! Discovers the authorization server of an MCP server.
//!
//! Owns: the order of the metadata requests (MCP authorization, RFC 9728, RFC 8414, OpenID Connect
//! Discovery 1.0), the checks that tie each document to the one before, and the defaults without
//! metadata (MCP 2025-03-26).
//! Does not own: registration and sign-in.

mod challenge;
mod endpoints;
mod probe;
mod resource;
mod server;
#[cfg(test)]
mod tests;

use model::{EndpointUrl, Issuer};
use serde::de::DeserializeOwned;

pub(crate) use challenge::Challenge;
pub use challenge::challenge_words;
pub(crate) use endpoints::KnownIssuers;
pub(crate) use resource::{ProtectedResource, covers};
pub(crate) use server::{AuthorizationServer, IssuerRule, PkceSupport};

use probe::{PROBE_TIMEOUT, Probed};

use texts::text;

use crate::entra;
use crate::error::SignInError;
use crate::http::{BufferedResponse, HttpClients, HttpError, NetworkZone, fetch};

/// The result of discovery.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    pub(crate) authorization_server: AuthorizationServer,
    /// The protected resource metadata, if the server has any.
    pub(crate) resource: Option<ProtectedResource>,
    /// The challenge of the server.
    pub(crate) challenge: Challenge,
}

/// How a server without protected resource metadata treats requests without a token.
#[derive(Debug)]
enum TokenRequirement {
    /// It answers 401, with this message.
    Unauthorized(Option<String>),
    /// It refuses with another status, with this message.
    Denied(u16, Option<String>),
    /// It has protected resource metadata, and sent no response that refuses.
    Described,
    /// It did not refuse.
    Unclear,
}

/// The maximum number of authorization servers that are tried for one server.
const MAX_AUTHORIZATION_SERVERS: usize = 4;

/// One discovery.
pub(crate) struct Discovery<'a> {
    pub(crate) http: &'a HttpClients,
    pub(crate) server: &'a EndpointUrl,
    pub(crate) issuers: KnownIssuers,
}

/// A document, and where it comes from.
struct Document<T> {
    content: T,
    address: EndpointUrl,
    zone: NetworkZone,
}

impl Discovery<'_> {
    /// Requests the metadata of the server, then of its authorization servers, up to the first
    /// that is valid and `fits`.
    pub(crate) async fn discover(
        &self,
        challenge: Option<Challenge>,
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<Discovered, SignInError> {
        let mut requirement = match challenge {
            Some(_) => TokenRequirement::Unauthorized(None),
            None => TokenRequirement::Described,
        };
        let is_challenged = challenge.is_some();
        let mut challenge = challenge.unwrap_or_default();
        let mut resource = self.resource(&challenge).await?;
        let is_described = matches!(&resource, Some((own, _)) if !own.is_broader_than(self.server));
        // Metadata for a whole origin does not prove that there is a server at this path.
        if !is_challenged && !is_described {
            requirement = match self.probe_server().await? {
                Probed::Open if resource.is_none() => return Err(self.not_protected()),
                Probed::Unclear if resource.is_none() => TokenRequirement::Unclear,
                Probed::Open | Probed::Unclear => TokenRequirement::Described,
                Probed::Denied { status, words } => {
                    TokenRequirement::Denied(status.as_u16(), words)
                }
                Probed::Unauthorized {
                    challenge: heard,
                    words,
                } => {
                    if heard.resource_metadata.is_some() {
                        resource = self.resource(&heard).await?;
                    }
                    challenge = heard;
                    TokenRequirement::Unauthorized(words)
                }
            };
        }
        let zone = resource
            .as_ref()
            .map_or(NetworkZone::Local, |(_, zone)| *zone);
        let resource = resource.map(|(resource, _)| resource);
        let named = resource.as_ref().map(|one| &*one.authorization_servers);
        let authorization_server = match named {
            Some(issuers @ [_, ..]) => self.first_usable(issuers, zone, fits).await?,
            Some([]) | None => self.origin_metadata(requirement).await?,
        };
        Ok(Discovered {
            authorization_server,
            resource,
            challenge,
        })
    }

    /// Returns the first of these that is valid and `fits`, else the first that is valid.
    async fn first_usable(
        &self,
        issuers: &[Issuer],
        named_by: NetworkZone,
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<AuthorizationServer, SignInError> {
        let (mut found, mut failed) = (None, None);
        for issuer in issuers.iter().take(MAX_AUTHORIZATION_SERVERS) {
            match self.fetch_metadata(issuer, named_by).await {
                Ok(server) if fits(&server) => return Ok(server),
                Ok(server) => found = found.or(Some(server)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (found, failed) {
            (Some(server), _) => Ok(server),
            (None, Some(error)) => Err(error),
            (None, None) => self.origin_metadata(TokenRequirement::Described).await,
        }
    }

    /// Fetches the metadata of `issuer`, by its OAuth profile.
    async fn fetch_metadata(
        &self,
        issuer: &Issuer,
        named_by: NetworkZone,
    ) -> Result<AuthorizationServer, SignInError> {
        if self.issuers.is_entra(issuer) {
            return self.fetch_authority_metadata(issuer, named_by).await;
        }
        let base = self.checked("its authorization server", issuer.as_str(), named_by)?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(address, named_by).await? {
                return self.accept(metadata, |found| found == issuer.as_str());
            }
        }
        Err(self.malformed(format!(
            "its authorization server {issuer} has no metadata (RFC 8414)"
        )))
    }

    /// Fetches the metadata of an Entra authority from the configuration.
    pub(crate) async fn fetch_entra_metadata(
        &self,
        authority: &Issuer,
    ) -> Result<AuthorizationServer, SignInError> {
        self.fetch_authority_metadata(authority, NetworkZone::Local)
            .await
    }

    /// Fetches the metadata of an Entra authority, which supports OpenID Connect Discovery only.
    async fn fetch_authority_metadata(
        &self,
        authority: &Issuer,
        named_by: NetworkZone,
    ) -> Result<AuthorizationServer, SignInError> {
        let text = authority.as_str().trim_end_matches('/');
        let address = format!("{text}/.well-known/openid-configuration");
        let address = self.checked("its authority", &address, named_by)?;
        let shown = address.shown().to_owned();
        let Some(metadata) = self.document(address, named_by).await? else {
            return Err(self.malformed(format!(
                "its authority {authority} does not exist (no metadata at {shown})"
            )));
        };
        self.accept(metadata, |found| entra::names_authority(authority, found))
    }

    /// Returns the server's own origin as its authorization server (MCP 2025-03-26). Without
    /// metadata this requires that the server wants a token and that the default endpoint exists,
    /// because a server that wants an API key answers 401 too.
    async fn origin_metadata(
        &self,
        requirement: TokenRequirement,
    ) -> Result<AuthorizationServer, SignInError> {
        let origin = self.server.url().origin().ascii_serialization();
        let base = self.checked("its origin", &origin, NetworkZone::Local)?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(address, NetworkZone::Local).await? {
                return self.accept(metadata, |found| {
                    found.strip_suffix('/').unwrap_or(found) == origin
                });
            }
        }
        let (status, words) = match requirement {
            TokenRequirement::Unclear => return Err(self.not_protected()),
            TokenRequirement::Denied(status, words) => {
                return Err(self.no_sign_in(Some(status), words));
            }
            TokenRequirement::Unauthorized(words) => (Some(401), words),
            TokenRequirement::Described => (None, None),
        };
        let assumed = AuthorizationServer::assumed(&origin).map_err(|what| self.malformed(what))?;
        match self.has_endpoints(&assumed).await? {
            true => Ok(assumed),
            false => Err(self.no_sign_in(status, words)),
        }
    }

    /// Fetches the protected resource metadata. Returns it with the zone of its server.
    async fn resource(
        &self,
        challenge: &Challenge,
    ) -> Result<Option<(ProtectedResource, NetworkZone)>, SignInError> {
        let mut addresses = Vec::new();
        if let Some(named) = &challenge.resource_metadata {
            let named_by = self.challenge_zone(named).await;
            let address = self.checked("its resource metadata", named, named_by)?;
            addresses.push((address, named_by));
        }
        let usual = resource::well_known(self.server.url()).into_iter();
        addresses.extend(usual.map(|address| (address, NetworkZone::Local)));
        for (address, named_by) in addresses {
            let document = self
                .document::<resource::Metadata>(address, named_by)
                .await?;
            if let Some(Document {
                content,
                address,
                zone,
            }) = document
            {
                let found = ProtectedResource::read(content, self.server)
                    .map_err(|what| self.malformed(what))?;
                self.confirm(&found, &address).await?;
                return Ok(Some((found, zone)));
            }
        }
        Ok(None)
    }

    /// Checks a claim to a resource that is broader than the server's own URL. It counts only if
    /// the metadata at that resource's own well-known location repeats it (RFC 9728 §3.3).
    /// Otherwise any server could claim its whole origin, and get tokens for the other servers
    /// there.
    async fn confirm(
        &self,
        found: &ProtectedResource,
        read_at: &EndpointUrl,
    ) -> Result<(), SignInError> {
        if !found.is_broader_than(self.server) {
            return Ok(());
        }
        let own = resource::well_known_of(&found.resource);
        let own = own.ok_or_else(|| {
            self.malformed(format!("its resource `{}` is not a URL", found.resource))
        })?;
        if own == *read_at {
            return Ok(());
        }
        let shown = own.shown().to_owned();
        let document = self
            .document::<resource::Metadata>(own, NetworkZone::Local)
            .await?;
        if document.is_some_and(|document| document.content.claims(&found.resource)) {
            return Ok(());
        }
        Err(self.insecure(format!(
            "its metadata claims the resource `{}`, which covers other servers too, and {shown} does not confirm that",
            found.resource
        )))
    }

    /// Returns the zone of the server, which names `address` in its challenge. The user named the
    /// server's own origin.
    async fn challenge_zone(&self, address: &str) -> NetworkZone {
        let own = self.server.url();
        let is_own = |named: &EndpointUrl| named.url().origin() == own.origin();
        if address.parse().is_ok_and(|named| is_own(&named)) {
            return NetworkZone::Local;
        }
        let request = self
            .http
            .unrestricted
            .get(own.clone())
            .timeout(PROBE_TIMEOUT);
        let peer = request.send().await.ok();
        self.http
            .zone_of(own, peer.and_then(|response| response.remote_addr()))
    }

    /// Fetches a JSON document at an address that a party in this zone names. Returns `None` if
    /// there is none: any 3xx or 4xx, or a page for browsers.
    async fn document<T: DeserializeOwned>(
        &self,
        address: EndpointUrl,
        named_by: NetworkZone,
    ) -> Result<Option<Document<T>>, SignInError> {
        let request = self
            .http
            .client_for(named_by)
            .get(address.url().clone())
            .header("accept", "application/json");
        let answer = fetch(request)
            .await
            .map_err(|error| self.http_error(&address, error))?;
        let BufferedResponse {
            status, body, peer, ..
        } = answer;
        if status.is_server_error() {
            return Err(SignInError::Unreachable {
                server: address.shown().to_owned(),
                reason: text!(AnswersStatus {
                    status: status.to_string()
                }),
            });
        }
        if !status.is_success() {
            return Ok(None);
        }
        match serde_json::from_slice(&body.0) {
            Ok(content) => Ok(Some(Document {
                content,
                zone: self.http.zone_of(address.url(), peer),
                address,
            })),
            Err(error) if error.is_data() => {
                Err(self.malformed(format!("{} is not valid: {error}", address.shown())))
            }
            Err(_) => Ok(None),
        }
    }

    fn accept(
        &self,
        document: Document<server::Metadata>,
        is_issuer: impl Fn(&str) -> bool,
    ) -> Result<AuthorizationServer, SignInError> {
        let Document {
            content: metadata,
            address,
            zone,
        } = document;
        if !is_issuer(&metadata.issuer) {
            return Err(self.malformed(format!(
                "{} names another issuer, `{}`",
                address.shown(),
                metadata.issuer
            )));
        }
        let server = AuthorizationServer::read(metadata, zone, |field, text| {
            self.checked(field, text, zone)
        })?;
        self.issuers
            .check(&server)
            .map_err(|taken| taken.into_error(self.server))?;
        Ok(server)
    }

    /// Parses an address, and checks that a party in this zone may name it.
    fn checked(
        &self,
        what: &str,
        text: &str,
        named_by: NetworkZone,
    ) -> Result<EndpointUrl, SignInError> {
        let address = text.parse::<EndpointUrl>().map_err(|error| {
            let error = error.to_string();
            let reason = error.split("; hint").next().unwrap_or_default();
            self.insecure(format!("{what} is not acceptable: {reason}"))
        })?;
        if !self.http.is_allowed(named_by, address.url()) {
            return Err(self.insecure(format!(
                "{what} is at {}, in the local network, but a public server names it",
                address.shown()
            )));
        }
        Ok(address)
    }

    fn http_error(&self, address: &EndpointUrl, error: HttpError) -> SignInError {
        SignInError::from_http_error(address.shown().to_owned(), error)
    }

    fn not_protected(&self) -> SignInError {
        SignInError::NotProtected {
            server: self.server.shown().to_owned(),
        }
    }

    fn no_sign_in(&self, status: Option<u16>, words: Option<String>) -> SignInError {
        SignInError::NoSignIn {
            server: self.server.shown().to_owned(),
            status,
            words,
        }
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
