//! The face of this crate: who is signed in, and what to send to which server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use model::config::{ClientMetadataUrl, ServerAuth, is_header_value};
use model::{Clock, EndpointUrl, SecretName};
use tokio::sync::watch;
use url::Url;

use crate::account::{Account, AccountKey};
use crate::audience::{Approval, ConfiguredServer};
use crate::client_credentials::Machines;
use crate::consents::{self, Consent, ConsentsError};
use crate::diagnostics::{self, Finding};
use crate::discovery::{Challenge, Discovery, KnownIssuers};
use crate::error::{AuthorizationError, SecretError, SignInError, SignOutError};
use crate::http::Clients;
use crate::secret::StoredSecret;
use crate::sign_in::{DeviceFlow, ReturnTo, SignInFlow, Whom};
use crate::token::source::Source;
use crate::token::{Grant, Ledger, Slot, endpoint};
use crate::vault::{Unsaved, Vault, VaultError, VaultState};

/// How long after an attempt to write tokens to the vault the next follows. It takes a millisecond,
/// and a process that ends before it succeeds may lose a sign-in.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

/// Everything about signing in. Clones share one state.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    source: Source,
    program: Program,
    machines: Machines,
}

/// What this program is to authorization servers.
#[derive(Clone, Debug)]
pub struct Program {
    /// The name to register with, shown on their consent pages.
    pub name: String,
    /// Where its client ID metadata document is.
    pub metadata: Option<ClientMetadataUrl>,
}

/// What an [`Identity`] is made of.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// What requests go out by.
    pub http: Clients,
    /// Where tokens are kept.
    pub vault: Vault,
    /// The time.
    pub clock: Clock,
    /// What this program is to authorization servers.
    pub program: Program,
    /// Tells whose process connects to the port that a browser comes back to.
    pub is_other_user: IsOtherUser,
}

/// Returns true if the connection from `peer` to `here`, both on loopback, was opened by a process
/// of another user of this machine.
pub type IsOtherUser = fn(peer: SocketAddr, here: SocketAddr) -> bool;

/// What the configuration says of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's address.
    pub url: EndpointUrl,
    /// How one signs in to it.
    pub auth: ServerAuth,
}

/// A [`Target`] with the name that its grant is found by. The name is long; it is made once, where
/// an authorization is asked for with each message.
#[derive(Clone, Debug)]
pub struct NamedTarget {
    target: Target,
    name: String,
}

impl From<Target> for NamedTarget {
    fn from(target: Target) -> Self {
        let name = target.name();
        Self { target, name }
    }
}

impl Deref for NamedTarget {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

/// What to send with a request.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The value of the `Authorization` header, `Bearer …`, marked sensitive.
    pub header: HeaderValue,
    /// Whose it is.
    pub account: AccountKey,
    pub(crate) serial: u64,
}

/// The number of an access token. Of two tokens, the one that this process got later has the
/// greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenNumber(u64);

impl Authorization {
    /// The number of the token that this carries.
    #[must_use]
    pub fn number(&self) -> TokenNumber {
        TokenNumber(self.serial)
    }
}

impl Identity {
    /// An identity with nothing read yet.
    #[must_use]
    pub fn new(options: IdentityOptions) -> Self {
        Self(Arc::new(Inner {
            source: Source::new(
                options.http,
                options.clock,
                Arc::new(Ledger::new(options.vault)),
                options.is_other_user,
            ),
            program: options.program,
            machines: Machines::default(),
        }))
    }

    /// What to send to `target` now; `None` if it needs no sign-in. A token that is valid and that
    /// `target` did not refuse is there at the first poll. Five minutes before its end (halfway, if
    /// it lives for less than ten) it is refreshed meanwhile, by one request however many ask. Only
    /// where there is no such token does this wait for the authorization server.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`]; it never opens a browser.
    pub async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        self.authorization_at(target, &target.url).await
    }

    /// As [`authorization`](Self::authorization), for a target whose name is made already.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn authorization_for(
        &self,
        target: &NamedTarget,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        let NamedTarget { target, name } = target;
        self.authorization_named(target, name, &target.url).await
    }

    /// As [`authorization`](Self::authorization), for `server`, which takes the tokens of `target`:
    /// that itself, or an endpoint of its authorization server.
    pub(crate) async fn authorization_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        self.authorization_named(target, &target.name(), server)
            .await
    }

    async fn authorization_named(
        &self,
        target: &Target,
        name: &str,
        server: &EndpointUrl,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        let source = &self.0.source;
        match target.auth {
            ServerAuth::None => Ok(None),
            ServerAuth::ClientCredentials(ref config) => {
                let given = self
                    .0
                    .machines
                    .authorization(source, target, name, server, config);
                given.await.map(Some)
            }
            ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
                let found = source.authorization_named(target, name, server);
                found.await.map(Some)
            }
        }
    }

    /// Takes note that `target` answered 401 to `used`, so that the next
    /// [`authorization`](Self::authorization) renews. A newer token is left alone. `challenge` is
    /// the `WWW-Authenticate` header of the 401, if there was one: where that is one of Entra's
    /// claims challenges, the next token is asked to answer it, and so is the next sign-in if no
    /// token does. Other servers that take the same token notice nothing of all that.
    pub async fn refused(&self, target: &Target, used: &Authorization, challenge: Option<&str>) {
        let source = &self.0.source;
        let is_kept = !matches!(target.auth, ServerAuth::ClientCredentials(_));
        if is_kept && source.ledger.load().await.is_err() {
            return;
        }
        let claims = challenge
            .and_then(Challenge::parse)
            .and_then(|known| known.claims);
        self.refused_at(target, &target.url, used, claims);
    }

    /// As [`refused`](Self::refused), of a server as for
    /// [`authorization_at`](Self::authorization_at).
    pub(crate) fn refused_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
        used: &Authorization,
        claims: Option<String>,
    ) {
        let source = &self.0.source;
        match target.auth {
            ServerAuth::ClientCredentials(_) => {
                let machines = &self.0.machines;
                machines.refused(target, server, used.serial, source.clock.unix());
            }
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => source.refused(target, server, used, claims),
        }
    }

    /// Takes note that `target` accepted a request with `used`: it answered, and neither with 401
    /// nor with 403. Pins the audience of the first such token, where the authorization server
    /// grants by scope alone.
    pub fn accepted(&self, target: &Target, used: &Authorization) {
        self.0.source.accepted(target, used);
    }

    /// Tells which servers are configured. A server gets no token for a resource of another one.
    pub fn set_servers(&self, servers: Vec<ConfiguredServer>) {
        self.0.source.servers.set(servers);
    }

    /// Keeps what the user approved: the next sign-in goes on without asking.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if it cannot be kept. Nothing is approved then.
    pub async fn approve(&self, approval: &Approval) -> Result<(), VaultError> {
        self.0.source.approve(approval).await
    }

    /// Forgets what the user approved for the server at the address of `target`.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if a record stays.
    pub async fn forget_approvals(&self, target: &Target) -> Result<(), VaultError> {
        let source = &self.0.source;
        source.ledger.load().await?;
        let forgotten = source.ledger.forget_pins(target.url.as_str()).await;
        source.servers.bump();
        forgotten
    }

    /// Takes note of the scopes of other resources that `challenge` names: the `WWW-Authenticate`
    /// header of a 401 or 403 of `target`.
    pub fn record_challenge(&self, target: &Target, challenge: &str) {
        self.missing_scopes(target, challenge);
    }

    /// Returns the scopes of other resources that `target` has asked for. They are never asked
    /// for. From memory: what its challenges and its metadata named since the start.
    #[must_use]
    pub fn foreign_scopes(&self, target: &Target) -> Vec<String> {
        self.0.source.foreign_scopes.of(target)
    }

    /// Prepares a sign-in: discovers, registers where needed, and listens for the browser to come
    /// back. Nothing is opened here: send a browser to the flow's URL, then
    /// [`finish`](SignInFlow::finish) it. `challenge` is the `WWW-Authenticate` header of a 401
    /// or 403, if there was one. `whom` is a proposal: who signed in is known at the end.
    ///
    /// # Errors
    ///
    /// [`SignInError`], for all that can be known before the browser is opened.
    pub async fn start_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
        whom: Whom,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, whom, ReturnTo::Here).await
    }

    /// As [`start_sign_in`](Self::start_sign_in), for a browser that may be unable to reach this
    /// machine: the address that it ends on carries the answer, for
    /// [`hand_in`](SignInFlow::hand_in).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn start_sign_in_elsewhere(
        &self,
        target: &Target,
        challenge: Option<&str>,
        whom: Whom,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, whom, ReturnTo::Elsewhere)
            .await
    }

    /// Has `account` open `target` from now on, if that takes no browser: it does already, or one
    /// of its sign-ins at the same Entra client will do. Says whether it does.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`], where the authorization server or the vault cannot be asked.
    pub async fn switch_account(
        &self,
        target: &Target,
        account: &AccountKey,
    ) -> Result<bool, AuthorizationError> {
        self.0.source.switch_account(target, account).await
    }

    /// Where the browser ends its own session with the account (OpenID Connect RP-Initiated
    /// Logout 1.0), so that the next sign-in asks for a password again; `None` where the
    /// authorization server has no such page. To be asked for before
    /// [`sign_out`](Self::sign_out), which forgets it.
    pub async fn end_session_url(&self, account: &AccountKey) -> Option<Url> {
        let ledger = &self.0.source.ledger;
        ledger.load().await.ok()?;
        let mut slots = ledger.grants().into_iter();
        slots.find_map(|slot| {
            slot.with_grant(|grant| {
                let endpoint = grant.endpoints.end_session.as_ref()?;
                (grant.account.key == *account).then(|| logout(endpoint, grant))
            })
        })
    }

    /// Prepares a sign-in that needs no browser on this machine (RFC 8628): discovers, registers
    /// where needed, and asks for the codes. Show the person the user code and where to enter it,
    /// then [`finish`](DeviceFlow::finish) the flow. `challenge` is as for
    /// [`start_sign_in`](Self::start_sign_in).
    ///
    /// # Errors
    ///
    /// [`SignInError`]; `NoDeviceCode` where the authorization server has no device codes, or none
    /// for programs that register themselves.
    pub async fn start_device_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<DeviceFlow, SignInError> {
        let source = self.0.source.clone();
        DeviceFlow::start(source, &self.0.program, target, challenge).await
    }

    /// Whether the next sign-in to `target` has to be with a browser: the last one was by device
    /// code, and the authorization server refused to refresh it. From memory, as
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn needs_browser(&self, target: &Target) -> bool {
        let slot = self.0.source.ledger.grant_for(&target.name());
        slot.is_some_and(|slot| slot.is_device_code_refused())
    }

    /// News that somebody has signed in, whether or not anybody still waits for the end of that
    /// sign-in: one that is cancelled while its tokens are asked for brings them all the same.
    #[must_use]
    pub fn sign_ins(&self) -> watch::Receiver<()> {
        self.0.source.signed_in.subscribe()
    }

    /// News that a grant has got a new access token without a sign-in, whichever request asked for
    /// it.
    #[must_use]
    pub fn refreshes(&self) -> watch::Receiver<()> {
        self.0.source.refreshed.subscribe()
    }

    /// Returns whether [`authorization`](Self::authorization) would return a token to `target` now
    /// without asking the authorization server. From memory, for targets that people sign in to.
    #[must_use]
    pub fn has_usable_token(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let slot = source.ledger.grant_for(&target.name());
        let usable = slot.and_then(|slot| slot.usable_at(&target.url, source.clock.unix()));
        usable.is_some_and(|authorization| source.checked(target, authorization).is_ok())
    }

    /// Returns the number of the newest access token for `target`, usable or not; `None` if no
    /// user is signed in. From memory, for targets that people sign in to.
    #[must_use]
    pub fn newest_token(&self, target: &Target) -> Option<TokenNumber> {
        let slot = self.0.source.ledger.grant_for(&target.name())?;
        Some(TokenNumber(slot.serial()))
    }

    /// Returns the scopes that `challenge` names and that the last sign-in to `target` did not ask
    /// for; empty if it names none. From memory. Compares scopes of Entra with their resource, and
    /// leaves out those of other resources, which no sign-in asks for.
    pub fn missing_scopes(&self, target: &Target, challenge: &str) -> Vec<String> {
        let named = Challenge::parse(challenge).unwrap_or_default().scopes;
        self.0.source.missing_scopes(target, &named)
    }

    /// Looks over what a sign-in to `target` takes, and says what to change where. It changes
    /// nothing: nothing is registered, no browser is opened, no token is asked for. `challenge` is
    /// as for [`start_sign_in`](Self::start_sign_in).
    pub async fn examine(&self, target: &Target, challenge: Option<&str>) -> Vec<Finding> {
        diagnostics::examine(&self.0.source, &self.0.program, target, challenge).await
    }

    /// Finds out whether a server that refuses requests without a token names a way to sign in. As
    /// [`examine`](Self::examine), it changes nothing; `challenge` is as there.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: `NoSignIn`, if it names none.
    pub async fn find_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<(), SignInError> {
        let source = &self.0.source;
        let discovery = Discovery {
            http: &source.clients,
            server: &target.url,
            issuers: KnownIssuers::new(source, target),
        };
        let challenge = challenge.map(|text| Challenge::parse(text).unwrap_or_default());
        discovery.of_server(challenge, |_| true).await.map(|_| ())
    }

    /// The account that opens `target`: a person's, or the program's own. From memory: `None`
    /// until another call has read the vault; [`accounts`](Self::accounts) does.
    #[must_use]
    pub fn account_for(&self, target: &Target) -> Option<Account> {
        if let ServerAuth::ClientCredentials(_) = target.auth {
            return self.0.machines.account(target);
        }
        let slot = self.0.source.ledger.grant_for(&target.name())?;
        Some(slot.with_grant(|grant| grant.account.clone()))
    }

    /// Whether the sign-in that opens `target` has ended and only a person can bring another one,
    /// whatever single servers think of its tokens. From memory, as
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn has_ended(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let slot = source.ledger.grant_for(&target.name());
        slot.is_some_and(|slot| slot.has_ended(source.clock.unix()))
    }

    /// All accounts, by key. Empty if the vault cannot be read: see
    /// [`vault_state`](Self::vault_state).
    pub async fn accounts(&self) -> Vec<Account> {
        let ledger = &self.0.source.ledger;
        if let Err(error) = ledger.load().await {
            tracing::warn!(%error, "the accounts cannot be read");
        }
        let slots = ledger.grants().into_iter();
        let mut accounts: Vec<_> = slots
            .map(|slot| slot.with_grant(|grant| grant.account.clone()))
            .collect();
        accounts.sort_by(|a, b| a.key.cmp(&b.key));
        accounts.dedup_by(|a, b| a.key == b.key);
        accounts
    }

    /// Forgets the tokens of an account and, where the authorization server offers that
    /// (RFC 7009), has it forget them too. The registration stays.
    ///
    /// # Errors
    ///
    /// [`SignOutError`]; after `NotRevoked` the tokens are forgotten here all the same, and after
    /// `Vault` the authorization server was told all the same.
    pub async fn sign_out(&self, account: &AccountKey) -> Result<(), SignOutError> {
        let ledger = &self.0.source.ledger;
        ledger.load().await?;
        let is_theirs = |slot: &Arc<Slot>| slot.with_grant(|grant| grant.account.key == *account);
        let mut slots = ledger.grants();
        slots.retain(is_theirs);
        if slots.is_empty() {
            return Err(SignOutError::Unknown);
        }
        let (mut forgotten, mut revoked) = (Ok(()), Ok(()));
        for slot in slots {
            forgotten = forgotten.and(ledger.forget(&slot).await);
            revoked = revoked.and(self.revoke(&slot).await);
        }
        forgotten?;
        revoked
    }

    /// What the user granted to clients at the authorization server of `target`.
    ///
    /// # Errors
    ///
    /// [`ConsentsError`]; `NotOffered` where the server keeps no such list.
    pub async fn consents(&self, target: &Target) -> Result<Vec<Consent>, ConsentsError> {
        consents::list(self, target).await
    }

    /// Takes a consent back.
    ///
    /// # Errors
    ///
    /// As [`consents`](Self::consents), and `Unknown`.
    pub async fn revoke_consent(&self, target: &Target, id: &str) -> Result<(), ConsentsError> {
        consents::revoke(self, target, id).await
    }

    /// Where consents are asked for with what [`authorization`](Self::authorization) just gave, and
    /// the client for that; `None` if nowhere.
    pub(crate) async fn consents_endpoint(
        &self,
        target: &Target,
    ) -> Option<(EndpointUrl, &reqwest::Client)> {
        let source = &self.0.source;
        let (endpoint, side) = match target.auth {
            ServerAuth::ClientCredentials(_) => self.0.machines.consents_endpoint(target).await?,
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => {
                let slot = source.ledger.grant_for(&target.name())?;
                slot.with_grant(|Grant { endpoints, .. }| {
                    Some((endpoints.consents.clone()?, endpoints.side))
                })?
            }
        };
        Some((endpoint, source.clients.named_from(side)))
    }

    /// The value of a stored secret as a header's, marked sensitive; `None` if there is no such
    /// secret.
    ///
    /// # Errors
    ///
    /// [`VaultError`], while the vault cannot be read.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<HeaderValue>, VaultError> {
        let ledger = &self.0.source.ledger;
        ledger.load().await?;
        let secret = ledger.secret(name);
        // What was kept is a header's value.
        Ok(secret.and_then(|secret| {
            let mut value = HeaderValue::from_str(secret.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }

    /// The names of all stored secrets, in order.
    ///
    /// # Errors
    ///
    /// [`VaultError`], while the vault cannot be read.
    pub async fn secrets(&self) -> Result<Vec<SecretName>, VaultError> {
        let ledger = &self.0.source.ledger;
        ledger.load().await?;
        Ok(ledger.secrets())
    }

    /// Stores a secret, in place of one of the same name.
    ///
    /// # Errors
    ///
    /// [`SecretError`]; what was stored before is then still there.
    pub async fn keep_secret(&self, name: SecretName, value: &str) -> Result<(), SecretError> {
        if !is_header_value(value) {
            return Err(SecretError::Unfit);
        }
        let ledger = &self.0.source.ledger;
        ledger.open().await?;
        let secret = StoredSecret::new(value);
        Ok(ledger.keep_secret(name, secret).await?)
    }

    /// Forgets a stored secret; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`VaultError`]; it is then still there.
    pub async fn forget_secret(&self, name: &SecretName) -> Result<bool, VaultError> {
        let ledger = &self.0.source.ledger;
        ledger.load().await?;
        ledger.forget_secret(name).await
    }

    /// Finds out whether tokens could be kept, for [`vault_state`](Self::vault_state), if neither
    /// that nor the opposite is certain: whether there is a keychain, and whether it is locked. It
    /// makes no key, unlocks nothing and shows no prompt.
    pub async fn probe_vault(&self) {
        self.0.source.ledger.probe().await;
    }

    /// Whether tokens can be read and kept, as far as is known. Never waits.
    #[must_use]
    pub fn vault_state(&self) -> VaultState {
        let ledger = &self.0.source.ledger;
        match (ledger.vault().state(), ledger.unsaved()) {
            (VaultState::Unopened { .. } | VaultState::Ready { .. }, Some(unsaved)) => {
                VaultState::Behind(unsaved)
            }
            (state, _) => state,
        }
    }

    /// News that tokens could not be written to the vault, or have been since.
    #[must_use]
    pub fn vault_changes(&self) -> watch::Receiver<()> {
        self.0.source.ledger.unsaved_changes()
    }

    /// Writes the tokens to the vault that could not be written at once, as soon as that is
    /// possible. Never returns: to be run for as long as there are tokens.
    pub async fn store_unsaved(&self) -> Infallible {
        let ledger = &self.0.source.ledger;
        let mut changes = ledger.unsaved_changes();
        loop {
            match ledger.unsaved() {
                Some(_) => {
                    tokio::time::sleep(STORE_INTERVAL).await;
                    ledger.save_unsaved().await;
                }
                None => {
                    // The sender lives as long as this does.
                    let _ = changes.changed().await;
                }
            }
        }
    }

    /// Waits until no request for tokens is under way. Its response may bring the only valid refresh
    /// token, which a process that ends earlier loses. Writes what could not be written before.
    pub async fn settled(&self) {
        let Source {
            renewals, ledger, ..
        } = &self.0.source;
        renewals.close();
        renewals.wait().await;
        ledger.save_unsaved().await;
        if let Some(Unsaved {
            accounts, error, ..
        }) = ledger.unsaved()
        {
            tracing::error!(
                accounts = accounts.join(", "),
                %error,
                "the newest tokens of these accounts are not stored and end with this process; they may have to sign in again"
            );
        }
    }

    async fn start(
        &self,
        target: &Target,
        challenge: Option<&str>,
        whom: Whom,
        return_to: ReturnTo,
    ) -> Result<SignInFlow, SignInError> {
        let (source, program) = (self.0.source.clone(), &self.0.program);
        SignInFlow::start(source, program, target, challenge, whom, return_to).await
    }

    async fn revoke(&self, slot: &Slot) -> Result<(), SignOutError> {
        let grant = slot.grant();
        let Some(url) = &grant.endpoints.revocation else {
            return Ok(());
        };
        let http = self.0.source.clients.named_from(grant.endpoints.side);
        endpoint::revoke(http, url, &grant.client, &grant.tokens)
            .await
            .map_err(|reason| SignOutError::NotRevoked {
                issuer: grant.key.issuer.to_string(),
                reason,
            })
    }
}

fn logout(endpoint: &EndpointUrl, grant: &Grant) -> Url {
    let mut url = endpoint.url().clone();
    url.query_pairs_mut()
        .append_pair("client_id", &grant.client.id)
        .extend_pairs(
            grant
                .account
                .username
                .as_ref()
                .map(|who| ("logout_hint", who)),
        );
    url
}

impl Target {
    /// What a grant remembers the target by. Entra's tokens are for a resource, whatever the
    /// server's address; elsewhere the address decides.
    pub(crate) fn name(&self) -> String {
        match &self.auth {
            ServerAuth::None => format!("none {}", self.url),
            ServerAuth::ClientCredentials(config) => format!("program {} {config:?}", self.url),
            ServerAuth::Discover => format!("discover {}", self.url),
            ServerAuth::Client {
                client_id,
                client_secret: _,
                issuer,
                scopes,
                redirect_port: _,
            } => {
                let at = issuer.as_ref().map(|issuer| format!(" at {issuer}"));
                let (at, scopes) = (at.unwrap_or_default(), scopes.join(" "));
                format!("client {} {client_id} {scopes}{at}", self.url)
            }
            ServerAuth::Entra {
                authority,
                client_id,
                resource,
                scopes,
                redirect_port: _,
            } => {
                let scopes = scopes.join(" ");
                format!("entra {authority} {client_id} {resource} {scopes}")
            }
        }
    }
}
