//! Finding out who protects a server, and how one signs in there.
//!
//! Owns: the order in which documents are asked for (MCP authorization, RFC 9728, RFC 8414,
//! OpenID Connect Discovery 1.0), the checks that tie each to the one before, and what is assumed
//! where there are none (MCP 2025-03-26).
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
pub(crate) use server::{AuthorizationServer, IssuerRule, Proof};

use probe::{PROBE_TIMEOUT, Probed};

use crate::entra;
use crate::error::SignInError;
use crate::http::{Answer, Clients, Fault, Side, fetch};

/// What was found out about a server.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    pub(crate) authorization_server: AuthorizationServer,
    /// What the server says of itself, if it does.
    pub(crate) resource: Option<ProtectedResource>,
    /// What the server said when it refused.
    pub(crate) challenge: Challenge,
}

/// What is known of a server that describes nothing.
#[derive(Debug)]
enum Stance {
    /// It answers 401, in these words.
    Unauthorized(Option<String>),
    /// It answers with another status that refuses, in these words.
    Denied(u16, Option<String>),
    /// It describes itself as a protected resource, and nothing else was seen.
    Described,
    /// It was not seen to refuse.
    Unclear,
}

/// How many authorization servers of one server are asked at most.
const MOST_AUTHORIZATION_SERVERS: usize = 4;

/// One search.
pub(crate) struct Discovery<'a> {
    pub(crate) http: &'a Clients,
    pub(crate) server: &'a EndpointUrl,
    pub(crate) issuers: KnownIssuers,
}

/// A document, and where it was read.
struct Document<T> {
    content: T,
    address: EndpointUrl,
    side: Side,
}

impl Discovery<'_> {
    /// Asks the server, then its authorization servers, up to the first that answers as it should
    /// and that `fits`.
    pub(crate) async fn of_server(
        &self,
        challenge: Option<Challenge>,
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<Discovered, SignInError> {
        let mut stance = match challenge {
            Some(_) => Stance::Unauthorized(None),
            None => Stance::Described,
        };
        let is_challenged = challenge.is_some();
        let mut challenge = challenge.unwrap_or_default();
        let mut resource = self.resource(&challenge).await?;
        let is_described = matches!(&resource, Some((own, _)) if !own.is_broader_than(self.server));
        // What describes a whole origin does not show that there is a server at this path.
        if !is_challenged && !is_described {
            stance = match self.probe_server().await? {
                Probed::Open if resource.is_none() => return Err(self.not_protected()),
                Probed::Unclear if resource.is_none() => Stance::Unclear,
                Probed::Open | Probed::Unclear => Stance::Described,
                Probed::Denied { status, words } => Stance::Denied(status.as_u16(), words),
                Probed::Unauthorized {
                    challenge: heard,
                    words,
                } => {
                    if heard.resource_metadata.is_some() {
                        resource = self.resource(&heard).await?;
                    }
                    challenge = heard;
                    Stance::Unauthorized(words)
                }
            };
        }
        let side = resource.as_ref().map_or(Side::Inside, |(_, side)| *side);
        let resource = resource.map(|(resource, _)| resource);
        let named = resource.as_ref().map(|one| &*one.authorization_servers);
        let authorization_server = match named {
            Some(issuers @ [_, ..]) => self.first_of(issuers, side, fits).await?,
            Some([]) | None => self.of_origin(stance).await?,
        };
        Ok(Discovered {
            authorization_server,
            resource,
            challenge,
        })
    }

    /// The first of these that answers as it should and that `fits`, else the first that answers
    /// as it should.
    async fn first_of(
        &self,
        issuers: &[Issuer],
        namer: Side,
        fits: impl Fn(&AuthorizationServer) -> bool,
    ) -> Result<AuthorizationServer, SignInError> {
        let (mut found, mut failed) = (None, None);
        for issuer in issuers.iter().take(MOST_AUTHORIZATION_SERVERS) {
            match self.of_issuer(issuer, namer).await {
                Ok(server) if fits(&server) => return Ok(server),
                Ok(server) => found = found.or(Some(server)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (found, failed) {
            (Some(server), _) => Ok(server),
            (None, Some(error)) => Err(error),
            (None, None) => self.of_origin(Stance::Described).await,
        }
    }

    /// Asks the authorization server `issuer`, in the dialect it speaks.
    async fn of_issuer(
        &self,
        issuer: &Issuer,
        namer: Side,
    ) -> Result<AuthorizationServer, SignInError> {
        if self.issuers.is_entra(issuer) {
            return self.of_authority(issuer, namer).await;
        }
        let base = self.checked("its authorization server", issuer.as_str(), namer)?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(address, namer).await? {
                return self.accept(metadata, |found| found == issuer.as_str());
            }
        }
        Err(self.malformed(format!(
            "its authorization server {issuer} has no metadata (RFC 8414)"
        )))
    }

    /// Asks the Entra authority that the user names.
    pub(crate) async fn of_entra(
        &self,
        authority: &Issuer,
    ) -> Result<AuthorizationServer, SignInError> {
        self.of_authority(authority, Side::Inside).await
    }

    /// Asks an Entra authority, which knows OpenID Connect Discovery alone.
    async fn of_authority(
        &self,
        authority: &Issuer,
        namer: Side,
    ) -> Result<AuthorizationServer, SignInError> {
        let text = authority.as_str().trim_end_matches('/');
        let address = format!("{text}/.well-known/openid-configuration");
        let address = self.checked("its authority", &address, namer)?;
        let shown = address.shown().to_owned();
        let Some(metadata) = self.document(address, namer).await? else {
            return Err(self.malformed(format!(
                "its authority {authority} is not known there (no metadata at {shown})"
            )));
        };
        self.accept(metadata, |found| entra::names_authority(authority, found))
    }

    /// The server's own origin as its authorization server, as MCP 2025-03-26 had it. Without metadata
    /// that is so only if the server wants a token and the usual endpoint is seen to be there: a server
    /// that wants an API key answers 401 too.
    async fn of_origin(&self, stance: Stance) -> Result<AuthorizationServer, SignInError> {
        let origin = self.server.url().origin().ascii_serialization();
        let base = self.checked("its origin", &origin, Side::Inside)?;
        for address in server::well_known(base.url()) {
            if let Some(metadata) = self.document(address, Side::Inside).await? {
                return self.accept(metadata, |found| {
                    found.strip_suffix('/').unwrap_or(found) == origin
                });
            }
        }
        let (status, words) = match stance {
            Stance::Unclear => return Err(self.not_protected()),
            Stance::Denied(status, words) => return Err(self.no_sign_in(Some(status), words)),
            Stance::Unauthorized(words) => (Some(401), words),
            Stance::Described => (None, None),
        };
        let assumed = AuthorizationServer::assumed(&origin).map_err(|what| self.malformed(what))?;
        match self.has_endpoints(&assumed).await? {
            true => Ok(assumed),
            false => Err(self.no_sign_in(status, words)),
        }
    }

    /// What the server says of itself, and on which side.
    async fn resource(
        &self,
        challenge: &Challenge,
    ) -> Result<Option<(ProtectedResource, Side)>, SignInError> {
        let mut addresses = Vec::new();
        if let Some(named) = &challenge.resource_metadata {
            let namer = self.side_naming(named).await;
            let address = self.checked("its resource metadata", named, namer)?;
            addresses.push((address, namer));
        }
        let usual = resource::well_known(self.server.url()).into_iter();
        addresses.extend(usual.map(|address| (address, Side::Inside)));
        for (address, namer) in addresses {
            let document = self.document::<resource::Metadata>(address, namer).await?;
            if let Some(Document {
                content,
                address,
                side,
            }) = document
            {
                let found = ProtectedResource::read(content, self.server)
                    .map_err(|what| self.malformed(what))?;
                self.confirm(&found, &address).await?;
                return Ok(Some((found, side)));
            }
        }
        Ok(None)
    }

    /// Checks a claim to a resource that is broader than the server's own address: it counts only
    /// if the document at that resource's own well-known location makes it too (RFC 9728 §3.3).
    /// Otherwise any server could claim its whole origin, and tokens good for its siblings.
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
            self.malformed(format!("its resource `{}` is no address", found.resource))
        })?;
        if own == *read_at {
            return Ok(());
        }
        let shown = own.shown().to_owned();
        let document = self
            .document::<resource::Metadata>(own, Side::Inside)
            .await?;
        if document.is_some_and(|document| document.content.claims(&found.resource)) {
            return Ok(());
        }
        Err(self.insecure(format!(
            "its metadata claims the resource `{}`, which covers other servers too, and {shown} does not confirm that",
            found.resource
        )))
    }

    /// On which side the server is that names an address in its challenge. Its own origin is the
    /// one that the user named.
    async fn side_naming(&self, address: &str) -> Side {
        let own = self.server.url();
        let is_own = |named: &EndpointUrl| named.url().origin() == own.origin();
        if address.parse().is_ok_and(|named| is_own(&named)) {
            return Side::Inside;
        }
        let request = self.http.anywhere.get(own.clone()).timeout(PROBE_TIMEOUT);
        let peer = request.send().await.ok();
        self.http
            .side_of(own, peer.and_then(|response| response.remote_addr()))
    }

    /// A JSON document at an address that somebody on this side names; `None` if there is none: any
    /// 3xx or 4xx, or a page for people.
    async fn document<T: DeserializeOwned>(
        &self,
        address: EndpointUrl,
        namer: Side,
    ) -> Result<Option<Document<T>>, SignInError> {
        let request = self
            .http
            .named_from(namer)
            .get(address.url().clone())
            .header("accept", "application/json");
        let answer = fetch(request)
            .await
            .map_err(|fault| self.fault(&address, fault))?;
        let Answer {
            status, body, peer, ..
        } = answer;
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
            Ok(content) => Ok(Some(Document {
                content,
                side: self.http.side_of(address.url(), peer),
                address,
            })),
            Err(error) if error.is_data() => {
                Err(self.malformed(format!("{} does not fit: {error}", address.shown())))
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
            side,
        } = document;
        if !is_issuer(&metadata.issuer) {
            return Err(self.malformed(format!(
                "{} speaks for the issuer `{}`, which is another one",
                address.shown(),
                metadata.issuer
            )));
        }
        let server = AuthorizationServer::read(metadata, side, |field, text| {
            self.checked(field, text, side)
        })?;
        self.issuers
            .check(&server)
            .map_err(|taken| taken.about(self.server))?;
        Ok(server)
    }

    /// An address that somebody on this side names, if they may.
    fn checked(&self, what: &str, text: &str, namer: Side) -> Result<EndpointUrl, SignInError> {
        let address = text.parse::<EndpointUrl>().map_err(|error| {
            let error = error.to_string();
            let reason = error.split("; hint").next().unwrap_or_default();
            self.insecure(format!("{what} is not acceptable: {reason}"))
        })?;
        if !self.http.may_name(namer, address.url()) {
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
