//! The state before a sign-in: the configuration, the vault, and the previous sign-in to the same
//! server.
//!
//! Invariant: what belongs to one authorization server (a client id, its secret, the scopes that
//! it granted) is used for that one only (SEP-2352).

use model::config::{ClientMetadataUrl, SecretRef, ServerAuth};
use model::{Issuer, SecretName};

use crate::discovery::{
    AuthorizationServer, Discovered, Discovery, IssuerRule, KnownIssuers, PkceSupport,
};
use crate::entra;
use crate::error::SignInError;
use crate::registration::Client;
use crate::secret::ClientSecret;
use crate::target::Target;
use crate::token::source::Source;

/// The state before a sign-in.
pub(super) struct PriorState<'a> {
    pub(super) target: &'a Target,
    pub(super) source: &'a Source,
    /// The URL of the client ID metadata document.
    pub(super) client_metadata: Option<&'a ClientMetadataUrl>,
    pub(super) previous: Option<PreviousSignIn>,
}

/// The previous sign-in to the same server.
pub(super) struct PreviousSignIn {
    /// The issuer.
    pub(super) issuer: Issuer,
    pub(super) scopes: Vec<String>,
    pub(super) claims: Option<String>,
}

/// A preregistered client.
pub(super) struct PreregisteredClient<'a> {
    prior: &'a PriorState<'a>,
    id: &'a str,
    secret: Option<&'a SecretName>,
    home: Home<'a>,
}

/// The authorization server of a client.
enum Home<'a> {
    /// This issuer, byte for byte: the configured one, else that of the previous sign-in.
    At(&'a Issuer),
    /// A configured Entra authority with another issuer, and the issuer in its metadata.
    Alias(&'a Issuer, IssuerRule),
    /// Any authorization server.
    Unknown,
}

impl<'a> PriorState<'a> {
    pub(super) fn server(&self) -> String {
        self.target.url().shown().to_owned()
    }

    /// Returns the previous sign-in at this issuer.
    fn previous_at(&self, issuer: &Issuer) -> Option<&PreviousSignIn> {
        self.previous.as_ref().filter(|one| one.issuer == *issuer)
    }

    /// Returns the scopes that this issuer granted.
    pub(super) fn granted_scopes(&self, issuer: &Issuer) -> &[String] {
        self.previous_at(issuer)
            .map_or(&[], |previous| &previous.scopes)
    }

    /// Returns the claims that this issuer requires.
    pub(super) fn challenged_claims(&self, issuer: &Issuer) -> Option<String> {
        self.previous_at(issuer)?.claims.clone()
    }

    /// Returns true if the configured client has a secret.
    pub(super) fn has_client_secret(&self) -> bool {
        matches!(
            self.target.auth(),
            ServerAuth::Client {
                client_secret: Some(_),
                ..
            }
        )
    }

    /// Returns true if there is a client id for this authorization server, or one can be
    /// registered.
    pub(super) fn can_register_at(&self, server: &AuthorizationServer) -> bool {
        server.pkce != PkceSupport::NotAdvertised
            && (server.registration_endpoint.is_some()
                || self.metadata_document_client(server).is_some()
                || self
                    .source
                    .store
                    .registration(&server.issuer.issuer())
                    .is_some())
    }

    /// Returns the client of the metadata document, if the server supports that.
    pub(super) fn metadata_document_client(&self, server: &AuthorizationServer) -> Option<Client> {
        let url = self
            .client_metadata
            .filter(|_| server.supports_client_metadata);
        url.map(Client::from_metadata_document)
    }

    /// Checks that Entra cannot respond to this client's authorization request. A client that is
    /// used at Entra too has the same redirect URIs there, and Entra sends no `iss` (RFC 9207). A
    /// hostile authorization server could redirect the browser there (mix-up attack, RFC 9700
    /// §4.4).
    ///
    /// # Errors
    ///
    /// `Insecure`, if the client is used at Entra too and the authorization server does not
    /// promise to send `iss`.
    pub(super) fn check_mix_up_with_entra(
        &self,
        client: &Client,
        found: &Discovered,
        issuers: &KnownIssuers,
    ) -> Result<(), SignInError> {
        let server = &found.authorization_server;
        if server.sends_issuer || issuers.is_entra(&server.issuer.issuer()) {
            return Ok(());
        }
        let all = self.source.servers.all();
        let is_configured = all.iter().any(|one| match one.target.auth() {
            ServerAuth::Entra { client_id, .. } => *client_id == client.id,
            ServerAuth::Client { .. }
            | ServerAuth::ClientCredentials(_)
            | ServerAuth::Discover
            | ServerAuth::None => false,
        });
        let grants = self.source.store.grants();
        let is_known = grants.iter().any(|entry| {
            entry.with_grant(|grant| grant.is_by_scope_alone() && grant.key.client_id == client.id)
        });
        if !is_configured && !is_known {
            return Ok(());
        }
        Err(SignInError::Insecure {
            server: self.server(),
            what: format!(
                "Postern uses the same client metadata document at Entra, and {} does not promise to send `iss` in its responses (RFC 9207)",
                server.issuer.issuer()
            ),
        })
    }

    /// Returns a client of the configuration.
    ///
    /// # Errors
    ///
    /// If the metadata of its Entra authority is needed and cannot be fetched.
    pub(super) async fn preregistered(
        &'a self,
        id: &'a str,
        secret: Option<&'a SecretRef>,
        issuer: Option<&'a Issuer>,
        discovery: &Discovery<'_>,
    ) -> Result<PreregisteredClient<'a>, SignInError> {
        let last = self.previous.as_ref().map(|previous| &previous.issuer);
        let home = match (issuer, last) {
            (Some(alias), _) if entra::is_alias(alias) => {
                Home::Alias(alias, discovery.fetch_entra_metadata(alias).await?.issuer)
            }
            (Some(issuer), _) | (None, Some(issuer)) => Home::At(issuer),
            (None, None) => Home::Unknown,
        };
        Ok(PreregisteredClient {
            prior: self,
            id,
            secret: secret.map(|reference| &reference.secret),
            home,
        })
    }
}

impl PreregisteredClient<'_> {
    /// Returns true if the client may be used at this authorization server.
    pub(super) fn belongs_to(&self, server: &AuthorizationServer) -> bool {
        let issuer = server.issuer.issuer();
        match &self.home {
            Home::At(home) => **home == issuer,
            Home::Alias(_, home) => home.admits(issuer.as_str()),
            Home::Unknown => true,
        }
    }

    /// Returns the client for this authorization server.
    ///
    /// # Errors
    ///
    /// `Insecure`, if it belongs to another one. `SecretMissing`, if its secret is not stored.
    pub(super) fn client_at(&self, server: &AuthorizationServer) -> Result<Client, SignInError> {
        let issuer = server.issuer.issuer();
        if let Home::At(home) | Home::Alias(home, _) = self.home
            && !self.belongs_to(server)
        {
            return Err(SignInError::Insecure {
                server: self.prior.server(),
                what: format!("the client id belongs to {home}, but the server now names {issuer}"),
            });
        }
        let Some(name) = self.secret else {
            return Ok(Client::configured(self.id));
        };
        let Some(secret) = self.prior.source.store.secret(name) else {
            return Err(SignInError::SecretMissing {
                server: self.prior.server(),
                secret: name.clone(),
            });
        };
        let secret = ClientSecret::new(secret.expose());
        Client::confidential(self.id, secret, server).map_err(|wanted| SignInError::Malformed {
            server: self.prior.server(),
            what: format!(
                "{issuer} requires client authentication by `{wanted}`, which Postern cannot do with a secret"
            ),
        })
    }
}

#[cfg(test)]
mod tests;
