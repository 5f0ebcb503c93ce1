//! Which endpoints an authorization server may name.
//!
//! A hostile one could name the authorization endpoint of an honest one and a token endpoint of
//! its own, and would be sent the honest one's code with its verifier (mix-up attack, RFC 9700
//! §4.4). Entra sends no `iss` (RFC 9207) that would show it.
//!
//! Invariant: an authorization, token or device endpoint is on the origin of its issuer, or named
//! by Entra's own metadata, or on the origin of no other known issuer.

use model::config::ServerAuth;
use model::{EndpointUrl, Issuer};
use url::{Origin, Url};

use super::AuthorizationServer;
use crate::entra;
use crate::error::{MixUp, SignInError};
use crate::identity::Target;
use crate::token::source::Source;

/// Pages of Entra beside its hosts, where users enter device codes.
const DEVICE_PAGES: [&str; 3] = ["microsoft.com", "www.microsoft.com", "aka.ms"];

/// The authorization servers that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownIssuers {
    /// Those of the configuration and of earlier sign-ins.
    issuers: Vec<Issuer>,
    /// The authorities of Entra that the configuration names.
    authorities: Vec<Issuer>,
    /// The one that the server's own configuration names: its endpoints are the user's choice.
    own: Option<Issuer>,
}

/// An endpoint that belongs to another authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenEndpoint {
    issuer: Issuer,
    endpoint: &'static str,
    address: String,
    owner: Owner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Entra,
    Issuer(Issuer),
}

impl KnownIssuers {
    /// Returns what is known to `source`, for a sign-in to `target`.
    pub(crate) fn new(source: &Source, target: &Target) -> Self {
        let (mut authorities, mut issuers) = source.servers.issuers();
        authorities.extend(target.auth.authority().cloned());
        issuers.extend(source.ledger.issuers());
        let own = match &target.auth {
            ServerAuth::Client { issuer, .. } => issuer.as_ref(),
            auth => auth.authority(),
        };
        Self {
            issuers,
            authorities,
            own: own.cloned(),
        }
    }

    /// Returns whether an issuer is Entra: by its host, or because the configuration says so.
    pub(crate) fn is_entra(&self, issuer: &Issuer) -> bool {
        let mut authorities = self.authorities.iter();
        entra::is_entra(issuer)
            || authorities.any(|known| entra::names_authority(known, issuer.as_str()))
    }

    /// Checks the endpoints that take part in a sign-in.
    ///
    /// # Errors
    ///
    /// [`TakenEndpoint`], for the first that belongs to another authorization server.
    pub(super) fn check(&self, server: &AuthorizationServer) -> Result<(), TakenEndpoint> {
        let issuer = server.issuer.issuer();
        for (endpoint, address) in server.sign_in_endpoints() {
            self.check_address(&issuer, endpoint, address.url())?;
        }
        Ok(())
    }

    /// Checks the page on which users enter a device code (RFC 8628 §3.2). A hostile server could
    /// show the code of a sign-in that it has begun elsewhere.
    ///
    /// # Errors
    ///
    /// [`TakenEndpoint`], if it is a page of another authorization server.
    pub(crate) fn check_device_page(
        &self,
        issuer: &Issuer,
        page: &EndpointUrl,
    ) -> Result<(), TakenEndpoint> {
        self.check_address(issuer, "verification page", page.url())
    }

    fn check_address(
        &self,
        issuer: &Issuer,
        endpoint: &'static str,
        address: &Url,
    ) -> Result<(), TakenEndpoint> {
        let place = origin_of(address);
        if origin(issuer).as_ref() == Some(&place) || self.is_entra(issuer) {
            return Ok(());
        }
        let host = address.host_str().map(|host| host.trim_end_matches('.'));
        let is_entras = host
            .is_some_and(|host| DEVICE_PAGES.contains(&host) || host.ends_with(".b2clogin.com"));
        let is_of = |known: &&Issuer| origin(known).as_ref() == Some(&place);
        let owner = if entra::is_entra_url(address) || is_entras {
            Owner::Entra
        } else if let Some(authority) = self.authorities.iter().find(is_of) {
            Owner::Issuer(authority.clone())
        } else if let Some(known) = self.issuers.iter().find(is_of)
            && self.own.as_ref() != Some(issuer)
        {
            Owner::Issuer(known.clone())
        } else {
            return Ok(());
        };
        Err(TakenEndpoint {
            issuer: issuer.clone(),
            endpoint,
            address: address.origin().ascii_serialization(),
            owner,
        })
    }
}

fn origin(issuer: &Issuer) -> Option<Origin> {
    let url = Url::parse(issuer.as_str()).ok()?;
    Some(origin_of(&url))
}

/// Returns the origin of a URL, whose host may be written with a dot at its end.
fn origin_of(url: &Url) -> Origin {
    let mut plain = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')) {
        // A host without the dot is as good as the one with it.
        let _ = plain.set_host(Some(host));
    }
    plain.origin()
}

impl AuthorizationServer {
    /// Returns the endpoints that take part in a sign-in.
    fn sign_in_endpoints(&self) -> impl Iterator<Item = (&'static str, &EndpointUrl)> {
        let device = self.device_authorization_endpoint.as_ref();
        let device = device.map(|address| ("device authorization endpoint", address));
        [
            ("authorization endpoint", &self.authorization_endpoint),
            ("token endpoint", &self.token_endpoint),
        ]
        .into_iter()
        .chain(device)
    }

    /// Returns those that are on another origin than the issuer, which users should know of.
    pub(crate) fn endpoints_elsewhere(&self) -> Vec<(&'static str, String)> {
        let own = origin(&self.issuer.issuer());
        let elsewhere = self
            .sign_in_endpoints()
            .filter(|(_, address)| own.as_ref() != Some(&address.url().origin()));
        elsewhere
            .map(|(endpoint, address)| (endpoint, address.url().origin().ascii_serialization()))
            .collect()
    }
}

impl TakenEndpoint {
    /// Returns the error for a sign-in to `server`.
    pub(crate) fn about(self, server: &EndpointUrl) -> SignInError {
        let (owner, entry) = match &self.owner {
            Owner::Entra => (
                "Microsoft Entra ID".to_owned(),
                "if users of this server sign in at Entra, write `auth = { kind = \"entra\", authority = …, client_id = …, resource = … }` under it in config.toml; else tell who runs it".to_owned(),
            ),
            Owner::Issuer(owner) => (
                owner.to_string(),
                format!(
                    "if that is right, write `auth = {{ kind = \"client\", client_id = …, issuer = \"{}\" }}` under this server in config.toml; else tell who runs it",
                    self.issuer
                ),
            ),
        };
        SignInError::MixUp(Box::new(MixUp {
            server: server.shown().to_owned(),
            issuer: self.issuer.to_string(),
            endpoint: self.endpoint,
            address: self.address,
            owner,
            entry,
        }))
    }
}
