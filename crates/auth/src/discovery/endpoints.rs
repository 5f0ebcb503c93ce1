//! Checks which endpoints an authorization server may name.
//!
//! A hostile authorization server could name the authorization endpoint of an honest one and a
//! token endpoint of its own. The client would then send it the honest server's code with its
//! verifier (mix-up attack, RFC 9700 §4.4). Entra sends no `iss` (RFC 9207) that would reveal it.
//!
//! Invariant: an authorization, token or device authorization endpoint is on the origin of its
//! issuer, or named by Entra's own metadata, or on the origin of no other known issuer.

use model::config::ServerAuth;
use model::{EndpointUrl, Issuer};
use url::{Origin, Url};

use super::AuthorizationServer;
use crate::entra;
use crate::error::{MixUp, SignInError};
use crate::target::Target;

/// Pages of Entra outside its hosts, where users enter device codes.
const DEVICE_PAGES: [&str; 3] = ["microsoft.com", "www.microsoft.com", "aka.ms"];

/// The known authorization servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownIssuers {
    /// The issuers of the configuration and of previous sign-ins.
    issuers: Vec<Issuer>,
    /// The Entra authorities of the configuration.
    authorities: Vec<Issuer>,
    /// The issuer in the configuration of this server. Its endpoints are the user's choice.
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
    /// Creates the set for a sign-in to `target`. `issuers` are those of the configuration and of
    /// previous sign-ins, `authorities` the Entra authorities of the configuration.
    pub(crate) fn new(mut authorities: Vec<Issuer>, issuers: Vec<Issuer>, target: &Target) -> Self {
        authorities.extend(target.auth().authority().cloned());
        let own = match target.auth() {
            ServerAuth::Client { issuer, .. } => issuer.as_ref(),
            auth => auth.authority(),
        };
        Self {
            issuers,
            authorities,
            own: own.cloned(),
        }
    }

    /// Returns true if the issuer is Entra: by its host, or by the configuration.
    pub(crate) fn is_entra(&self, issuer: &Issuer) -> bool {
        let mut authorities = self.authorities.iter();
        entra::is_entra(issuer)
            || authorities.any(|known| entra::names_authority(known, issuer.as_str()))
    }

    /// Checks the endpoints of a sign-in.
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

    /// Checks the verification page for device codes (RFC 8628 §3.2). A hostile server could show
    /// the code of a sign-in that it started at another authorization server.
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
        let address_origin = origin_of(address);
        if origin(issuer).as_ref() == Some(&address_origin) || self.is_entra(issuer) {
            return Ok(());
        }
        let host = address.host_str().map(|host| host.trim_end_matches('.'));
        let is_entras = host
            .is_some_and(|host| DEVICE_PAGES.contains(&host) || host.ends_with(".b2clogin.com"));
        let is_of = |known: &&Issuer| origin(known).as_ref() == Some(&address_origin);
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

/// Returns the origin of a URL. Ignores a trailing dot of the host.
fn origin_of(url: &Url) -> Origin {
    let mut plain = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')) {
        // The host stays valid without the dot.
        let _ = plain.set_host(Some(host));
    }
    plain.origin()
}

impl AuthorizationServer {
    /// Returns the endpoints of a sign-in.
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

    /// Returns the sign-in endpoints on another origin than the issuer, for the user's
    /// information.
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
    pub(crate) fn into_error(self, server: &EndpointUrl) -> SignInError {
        let (owner, entry) = match &self.owner {
            Owner::Entra => (
                "Microsoft Entra ID".to_owned(),
                "if users of this server sign in at Entra, write `auth = { kind = \"entra\", authority = …, client_id = …, resource = … }` under it in config.toml; else tell its administrator".to_owned(),
            ),
            Owner::Issuer(owner) => (
                owner.to_string(),
                format!(
                    "if that is right, write `auth = {{ kind = \"client\", client_id = …, issuer = \"{}\" }}` under this server in config.toml; else tell its administrator",
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
