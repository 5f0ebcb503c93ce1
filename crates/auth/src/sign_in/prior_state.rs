//! What is known before a sign-in begins: the configuration, what lies in the vault, and what an
//! earlier sign-in to the same server left.
//!
//! Invariant: what belongs to one authorization server (a client id, its secret, the scopes that
//! it granted) is handed out for that one alone (SEP-2352).

use model::config::{ClientMetadataUrl, KeptSecret, ServerAuth};
use model::{Issuer, SecretName};

use crate::discovery::{
    AuthorizationServer, Discovered, Discovery, IssuerRule, KnownIssuers, Proof,
};
use crate::entra;
use crate::error::SignInError;
use crate::identity::Target;
use crate::registration::Client;
use crate::secret::ClientSecret;
use crate::token::source::Source;

/// What is known.
pub(super) struct Known<'a> {
    pub(super) target: &'a Target,
    pub(super) source: &'a Source,
    /// The client ID metadata document of this program.
    pub(super) client_metadata: Option<&'a ClientMetadataUrl>,
    pub(super) earlier: Option<Earlier>,
}

/// What an earlier sign-in to the same server left.
pub(super) struct Earlier {
    /// Who issued it.
    pub(super) issuer: Issuer,
    pub(super) scopes: Vec<String>,
    pub(super) claims: Option<String>,
}

/// A client that was registered beforehand.
pub(super) struct Registered<'a> {
    known: &'a Known<'a>,
    id: &'a str,
    secret: Option<&'a SecretName>,
    home: Home<'a>,
}

/// Where a client was registered.
enum Home<'a> {
    /// At this issuer, to the letter: as the configuration says, else where somebody signed in
    /// last.
    At(&'a Issuer),
    /// At an Entra authority that the configuration names otherwise than its issuer; and what its
    /// metadata says of that.
    Alias(&'a Issuer, IssuerRule),
    /// Nothing says where.
    Unknown,
}

impl<'a> Known<'a> {
    pub(super) fn server(&self) -> String {
        self.target.url.shown().to_owned()
    }

    /// What an earlier sign-in at this authorization server left.
    fn left_by(&self, issuer: &Issuer) -> Option<&Earlier> {
        self.earlier.as_ref().filter(|one| one.issuer == *issuer)
    }

    /// The scopes that it granted.
    pub(super) fn granted_by(&self, issuer: &Issuer) -> &[String] {
        self.left_by(issuer).map_or(&[], |earlier| &earlier.scopes)
    }

    /// The claims that it wants asked for.
    pub(super) fn claims_of(&self, issuer: &Issuer) -> Option<String> {
        self.left_by(issuer)?.claims.clone()
    }

    /// Returns whether the configured client has a secret.
    pub(super) fn has_client_secret(&self) -> bool {
        matches!(
            self.target.auth,
            ServerAuth::Client {
                client_secret: Some(_),
                ..
            }
        )
    }

    /// Whether this program has a client id at this authorization server, or can get one.
    pub(super) fn can_be_known_to(&self, server: &AuthorizationServer) -> bool {
        server.proof != Proof::NotAdvertised
            && (server.registration_endpoint.is_some()
                || self.described_client(server).is_some()
                || self
                    .source
                    .ledger
                    .registration(&server.issuer.issuer())
                    .is_some())
    }

    /// The client that its metadata document describes, where the server takes one.
    pub(super) fn described_client(&self, server: &AuthorizationServer) -> Option<Client> {
        let url = self
            .client_metadata
            .filter(|_| server.takes_client_metadata);
        url.map(Client::described_at)
    }

    /// Checks that a response to this client cannot be one of Entra's. A client that is the same at
    /// Entra has the same redirect URIs there, and Entra does not name itself in its responses
    /// (RFC 9207): a hostile authorization server could send the browser there (mix-up attack,
    /// RFC 9700 §4.4).
    ///
    /// # Errors
    ///
    /// `Insecure`, if the client is used at Entra too and the authorization server does not promise to
    /// name itself.
    pub(super) fn keep_apart_from_entra(
        &self,
        client: &Client,
        found: &Discovered,
        issuers: &KnownIssuers,
    ) -> Result<(), SignInError> {
        let server = &found.authorization_server;
        if server.names_itself || issuers.is_entra(&server.issuer.issuer()) {
            return Ok(());
        }
        let all = self.source.servers.all();
        let is_configured = all.iter().any(|one| match &one.target.auth {
            ServerAuth::Entra { client_id, .. } => *client_id == client.id,
            ServerAuth::Client { .. }
            | ServerAuth::ClientCredentials(_)
            | ServerAuth::Discover
            | ServerAuth::None => false,
        });
        let grants = self.source.ledger.grants();
        let is_known = grants.iter().any(|slot| {
            slot.with_grant(|grant| grant.is_by_scope_alone() && grant.key.client_id == client.id)
        });
        if !is_configured && !is_known {
            return Ok(());
        }
        Err(SignInError::Insecure {
            server: self.server(),
            what: format!(
                "Postern is known to Entra by the same client metadata document, and {} does not promise to name itself in its responses (RFC 9207)",
                server.issuer.issuer()
            ),
        })
    }

    /// A client of the configuration.
    ///
    /// # Errors
    ///
    /// Where the Entra authority that it is registered at has to be asked for its issuer, and does
    /// not tell.
    pub(super) async fn registered(
        &'a self,
        id: &'a str,
        secret: Option<&'a KeptSecret>,
        issuer: Option<&'a Issuer>,
        discovery: &Discovery<'_>,
    ) -> Result<Registered<'a>, SignInError> {
        let last = self.earlier.as_ref().map(|earlier| &earlier.issuer);
        let home = match (issuer, last) {
            (Some(alias), _) if entra::is_alias(alias) => {
                Home::Alias(alias, discovery.of_entra(alias).await?.issuer)
            }
            (Some(issuer), _) | (None, Some(issuer)) => Home::At(issuer),
            (None, None) => Home::Unknown,
        };
        Ok(Registered {
            known: self,
            id,
            secret: secret.map(|secret| &secret.keychain),
            home,
        })
    }
}

impl Registered<'_> {
    /// Whether it may be shown to this authorization server.
    pub(super) fn belongs_to(&self, server: &AuthorizationServer) -> bool {
        let issuer = server.issuer.issuer();
        match &self.home {
            Home::At(home) => **home == issuer,
            Home::Alias(_, home) => home.admits(issuer.as_str()),
            Home::Unknown => true,
        }
    }

    /// The client, for this authorization server.
    ///
    /// # Errors
    ///
    /// `Insecure` if it belongs to another one, `SecretMissing` if its secret is not stored.
    pub(super) fn shown_to(&self, server: &AuthorizationServer) -> Result<Client, SignInError> {
        let issuer = server.issuer.issuer();
        if let Home::At(home) | Home::Alias(home, _) = self.home
            && !self.belongs_to(server)
        {
            return Err(SignInError::Insecure {
                server: self.known.server(),
                what: format!("the client id belongs to {home}, and the server names {issuer} now"),
            });
        }
        let Some(name) = self.secret else {
            return Ok(Client::configured(self.id));
        };
        let Some(secret) = self.known.source.ledger.secret(name) else {
            return Err(SignInError::SecretMissing {
                server: self.known.server(),
                secret: name.clone(),
            });
        };
        let secret = ClientSecret::new(secret.expose());
        Client::confidential(self.id, secret, server).map_err(|wanted| SignInError::Malformed {
            server: self.known.server(),
            what: format!(
                "{issuer} wants programs to prove themselves by `{wanted}`, which Postern cannot do with a secret"
            ),
        })
    }
}

#[cfg(test)]
mod tests;
