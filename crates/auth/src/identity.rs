//! The interface of this crate: accounts, sign-ins and the `Authorization` for each server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use model::config::{ServerAuth, is_header_value};
use model::{Clock, EndpointUrl, SecretName};
use tokio::sync::watch;
use url::Url;

use crate::account::{Account, AccountKey};
use crate::approval::Approval;
use crate::audience::ConfiguredServer;
use crate::client_credentials::TokenCache;
use crate::diagnostics::{self, Finding};
use crate::discovery::{Challenge, Discovery};
use crate::error::{AuthorizationError, SecretError, SignInError, SignOutError};
use crate::http::HttpClients;
use crate::secret::StoredSecret;
use crate::sign_in::{AccountSelection, BrowserLocation, DeviceFlow, SignInFlow};
use crate::target::{Authorization, ClientMetadata, IsOtherUser, Target, TokenNumber};
use crate::token::source::Source;
use crate::token::{Grant, GrantEntry, GrantStore, form};
use crate::vault::{Unsaved, Vault, VaultError, VaultState};

/// The interval between attempts to write tokens to the vault. A write takes a millisecond, and a
/// process that ends before it succeeds may lose a sign-in.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

/// Manages sign-ins and tokens. Clones share one state.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    source: Source,
    client: ClientMetadata,
    token_cache: TokenCache,
}

/// The options of an [`Identity`].
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// The HTTP clients for all requests.
    pub http: HttpClients,
    /// The store for tokens.
    pub vault: Vault,
    /// The clock.
    pub clock: Clock,
    /// How this application identifies itself to authorization servers.
    pub client: ClientMetadata,
    /// Checks which user's process connects to the callback port.
    pub is_other_user: IsOtherUser,
}

impl Identity {
    /// Creates an identity. Reads nothing yet.
    #[must_use]
    pub fn new(options: IdentityOptions) -> Self {
        Self(Arc::new(Inner {
            source: Source::new(
                options.http,
                options.clock,
                Arc::new(GrantStore::new(options.vault)),
                options.is_other_user,
            ),
            client: options.client,
            token_cache: TokenCache::default(),
        }))
    }

    /// Returns the authorization for `target`, or `None` if it needs none.
    ///
    /// If there is a valid token that `target` did not refuse, the first poll returns it. Five
    /// minutes before its expiry (halfway, if its lifetime is less than ten minutes) a single
    /// background request refreshes it, however many callers there are. Without such a token, this
    /// waits for the authorization server.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`]. This never opens a browser.
    pub async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        self.authorization_at(target, target.url()).await
    }

    /// Like [`authorization`](Self::authorization), for a `server` that takes the tokens of
    /// `target`: the target itself, or an endpoint of its authorization server.
    pub(crate) async fn authorization_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        let source = &self.0.source;
        match target.auth() {
            ServerAuth::None => Ok(None),
            ServerAuth::ClientCredentials(config) => {
                let token_cache = &self.0.token_cache;
                let given = token_cache.authorization(source, target, server, config);
                given.await.map(Some)
            }
            ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
                let found = source.authorization_at(target, server);
                found.await.map(Some)
            }
        }
    }

    /// Records that `target` answered 401 to `used`, so that the next
    /// [`authorization`](Self::authorization) refreshes. Keeps a newer token.
    ///
    /// `challenge` is the `WWW-Authenticate` header of the 401. If it is one of Entra's claims
    /// challenges, the next token request asks for those claims, and so does the next sign-in if
    /// no token satisfies them. Other servers that take the same token are not affected.
    pub async fn refused(&self, target: &Target, used: &Authorization, challenge: Option<&str>) {
        let source = &self.0.source;
        let is_kept = !matches!(target.auth(), ServerAuth::ClientCredentials(_));
        if is_kept && source.store.load().await.is_err() {
            return;
        }
        let claims = challenge
            .and_then(Challenge::parse)
            .and_then(|known| known.claims);
        self.refused_at(target, target.url(), used, claims);
    }

    /// Like [`refused`](Self::refused), for a server as in
    /// [`authorization_at`](Self::authorization_at).
    pub(crate) fn refused_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
        used: &Authorization,
        claims: Option<String>,
    ) {
        let source = &self.0.source;
        match target.auth() {
            ServerAuth::ClientCredentials(_) => {
                let token_cache = &self.0.token_cache;
                token_cache.refused(target, server, used.serial, source.clock.unix());
            }
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => source.refused(target, server, used, claims),
        }
    }

    /// Records that `target` accepted a request with `used`: its status was neither 401 nor 403.
    /// Pins the audience of the first such token, if the authorization server grants by scope
    /// alone.
    pub fn accepted(&self, target: &Target, used: &Authorization) {
        self.0.source.accepted(target, used);
    }

    /// Sets the configured servers. A server gets no token for a resource of another one.
    pub fn set_servers(&self, servers: Vec<ConfiguredServer>) {
        self.0.source.servers.set(servers);
    }

    /// Stores the user's approval. The next sign-in continues without asking.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if it cannot be stored. Nothing is approved then.
    pub async fn approve(&self, approval: &Approval) -> Result<(), VaultError> {
        self.0.source.approve(approval).await
    }

    /// Deletes what the user approved for the server at the URL of `target`.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if a record cannot be deleted.
    pub async fn forget_approvals(&self, target: &Target) -> Result<(), VaultError> {
        let source = &self.0.source;
        source.store.load().await?;
        let forgotten = source.store.forget_pins(target.url().as_str()).await;
        source.servers.bump();
        forgotten
    }

    /// Records the scopes of other resources that `challenge` names. It is the `WWW-Authenticate`
    /// header of a 401 or 403 of `target`.
    pub fn record_challenge(&self, target: &Target, challenge: &str) {
        self.missing_scopes(target, challenge);
    }

    /// Returns the scopes of other resources that `target` asked for. No sign-in requests them.
    /// Reads memory only: what its challenges and metadata named since the start.
    #[must_use]
    pub fn foreign_scopes(&self, target: &Target) -> Vec<String> {
        self.0.source.foreign_scopes.of(target)
    }

    /// Prepares a sign-in: runs discovery, registers a client if needed, and listens on the
    /// callback port. It opens no browser: open the flow's URL, then
    /// [`finish`](SignInFlow::finish) it.
    ///
    /// `challenge` is the `WWW-Authenticate` header of a 401 or 403, if there was one. `account`
    /// is a proposal: the user may sign in with another account.
    ///
    /// # Errors
    ///
    /// [`SignInError`], for everything that can be checked before the browser opens.
    pub async fn start_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, account, BrowserLocation::Local)
            .await
    }

    /// Like [`start_sign_in`](Self::start_sign_in), for a browser that may be unable to reach this
    /// machine. The user pastes the address that it ends on into
    /// [`pasted_callback`](SignInFlow::pasted_callback).
    ///
    /// # Errors
    ///
    /// Like [`start_sign_in`](Self::start_sign_in).
    pub async fn start_sign_in_elsewhere(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, account, BrowserLocation::Remote)
            .await
    }

    /// Switches `target` to `account` without a browser. Returns true if the account is in use
    /// already, or if one of its sign-ins at the same Entra client serves the target.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`], if the authorization server or the vault cannot be reached.
    pub async fn switch_account(
        &self,
        target: &Target,
        account: &AccountKey,
    ) -> Result<bool, AuthorizationError> {
        self.0.source.switch_account(target, account).await
    }

    /// Returns the page that ends the browser session of the account (OpenID Connect RP-Initiated
    /// Logout 1.0), so that the next sign-in asks for a password again. Returns `None` if the
    /// authorization server has no such page. Call it before [`sign_out`](Self::sign_out), which
    /// deletes the URL.
    pub async fn end_session_url(&self, account: &AccountKey) -> Option<Url> {
        let store = &self.0.source.store;
        store.load().await.ok()?;
        let mut entries = store.grants().into_iter();
        entries.find_map(|entry| {
            entry.with_grant(|grant| {
                let endpoint = grant.endpoints.end_session.as_ref()?;
                (grant.account.key == *account).then(|| logout(endpoint, grant))
            })
        })
    }

    /// Prepares a sign-in without a browser on this machine (RFC 8628): runs discovery, registers
    /// a client if needed, and requests the codes. Show the user code and the verification URI,
    /// then [`finish`](DeviceFlow::finish) the flow. `challenge` is as in
    /// [`start_sign_in`](Self::start_sign_in).
    ///
    /// # Errors
    ///
    /// [`SignInError`]. `NoDeviceCode`, if the authorization server offers no device codes, or
    /// none to clients that register dynamically.
    pub async fn start_device_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<DeviceFlow, SignInError> {
        let source = self.0.source.clone();
        DeviceFlow::start(source, &self.0.client, target, challenge).await
    }

    /// Returns true if the next sign-in to `target` must use a browser: the last one used a device
    /// code, and the authorization server refused to refresh it. Reads memory only, like
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn needs_browser(&self, target: &Target) -> bool {
        let entry = self.0.source.store.grant_for(target.key());
        entry.is_some_and(|entry| entry.is_device_code_refused())
    }

    /// Notifies of every sign-in, even if its caller stopped waiting: a sign-in that is cancelled
    /// during the token request still brings tokens.
    #[must_use]
    pub fn sign_ins(&self) -> watch::Receiver<()> {
        self.0.source.signed_in.subscribe()
    }

    /// Notifies when a grant got a new access token without a sign-in, whichever request asked for
    /// it.
    #[must_use]
    pub fn refreshes(&self) -> watch::Receiver<()> {
        self.0.source.refreshed.subscribe()
    }

    /// Returns true if [`authorization`](Self::authorization) would return a token for `target`
    /// now without a request to the authorization server. Reads memory only, for targets that
    /// users sign in to.
    #[must_use]
    pub fn has_usable_token(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let entry = source.store.grant_for(target.key());
        let usable = entry.and_then(|entry| entry.usable_at(target.url(), source.clock.unix()));
        usable.is_some_and(|authorization| source.checked(target, authorization).is_ok())
    }

    /// Returns the number of the newest access token for `target`, usable or not, or `None` if no
    /// user is signed in. Reads memory only, for targets that users sign in to.
    #[must_use]
    pub fn newest_token(&self, target: &Target) -> Option<TokenNumber> {
        let entry = self.0.source.store.grant_for(target.key())?;
        Some(TokenNumber(entry.serial()))
    }

    /// Returns the scopes that `challenge` names and that the last sign-in to `target` did not
    /// request. Empty if there are none. Reads memory only. Compares Entra's scopes with their
    /// resource, and omits those of other resources, which no sign-in requests.
    pub fn missing_scopes(&self, target: &Target, challenge: &str) -> Vec<String> {
        let named = Challenge::parse(challenge).unwrap_or_default().scopes;
        self.0.source.missing_scopes(target, &named)
    }

    /// Diagnoses the sign-in to `target`, and says what to change. Changes nothing: registers no
    /// client, opens no browser, requests no token. `challenge` is as in
    /// [`start_sign_in`](Self::start_sign_in).
    pub async fn diagnose(&self, target: &Target, challenge: Option<&str>) -> Vec<Finding> {
        diagnostics::diagnose(&self.0.source, &self.0.client, target, challenge).await
    }

    /// Checks that a server that refuses requests without a token names a way to sign in. Changes
    /// nothing, like [`diagnose`](Self::diagnose). `challenge` is as there.
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
            server: target.url(),
            issuers: source.known_issuers(target),
        };
        let challenge = challenge.map(|text| Challenge::parse(text).unwrap_or_default());
        discovery.discover(challenge, |_| true).await.map(|_| ())
    }

    /// Returns the account that `target` uses: a user's, or the client's own. Reads memory only:
    /// returns `None` until another call has read the vault, as [`accounts`](Self::accounts) does.
    #[must_use]
    pub fn account_for(&self, target: &Target) -> Option<Account> {
        if let ServerAuth::ClientCredentials(_) = target.auth() {
            return self.0.token_cache.account(target);
        }
        let entry = self.0.source.store.grant_for(target.key())?;
        Some(entry.with_grant(|grant| grant.account.clone()))
    }

    /// Returns true if the sign-in for `target` has ended and only the user can renew it, even if
    /// single servers still accept its tokens. Reads memory only, like
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn has_ended(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let entry = source.store.grant_for(target.key());
        entry.is_some_and(|entry| entry.has_ended(source.clock.unix()))
    }

    /// Returns all accounts, sorted by key. Empty if the vault cannot be read: see
    /// [`vault_state`](Self::vault_state).
    pub async fn accounts(&self) -> Vec<Account> {
        let store = &self.0.source.store;
        if let Err(error) = store.load().await {
            tracing::warn!(%error, "the accounts cannot be read");
        }
        let entries = store.grants().into_iter();
        let mut accounts: Vec<_> = entries
            .map(|entry| entry.with_grant(|grant| grant.account.clone()))
            .collect();
        accounts.sort_by(|a, b| a.key.cmp(&b.key));
        accounts.dedup_by(|a, b| a.key == b.key);
        accounts
    }

    /// Deletes the tokens of an account and revokes them at the authorization server, if it
    /// supports that (RFC 7009). Keeps the registration.
    ///
    /// # Errors
    ///
    /// [`SignOutError`]. After `NotRevoked` the tokens are deleted here all the same, and after
    /// `Vault` they are revoked all the same.
    pub async fn sign_out(&self, account: &AccountKey) -> Result<(), SignOutError> {
        let store = &self.0.source.store;
        store.load().await?;
        let is_theirs =
            |entry: &Arc<GrantEntry>| entry.with_grant(|grant| grant.account.key == *account);
        let mut entries = store.grants();
        entries.retain(is_theirs);
        if entries.is_empty() {
            return Err(SignOutError::Unknown);
        }
        let (mut forgotten, mut revoked) = (Ok(()), Ok(()));
        for entry in entries {
            forgotten = forgotten.and(store.forget(&entry).await);
            revoked = revoked.and(self.revoke(&entry).await);
        }
        forgotten?;
        revoked
    }

    /// Returns the consents endpoint that takes the tokens of
    /// [`authorization`](Self::authorization), and the HTTP client for it. Returns `None` if there
    /// is none.
    pub(crate) async fn consents_endpoint(
        &self,
        target: &Target,
    ) -> Option<(EndpointUrl, &reqwest::Client)> {
        let source = &self.0.source;
        let (endpoint, zone) = match target.auth() {
            ServerAuth::ClientCredentials(_) => {
                self.0.token_cache.consents_endpoint(target).await?
            }
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => {
                let entry = source.store.grant_for(target.key())?;
                entry.with_grant(|Grant { endpoints, .. }| {
                    Some((endpoints.consents.clone()?, endpoints.zone))
                })?
            }
        };
        Some((endpoint, source.clients.client_for(zone)))
    }

    /// Returns a stored secret as a header value, marked sensitive, or `None` if there is no such
    /// secret.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if the vault cannot be read.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<HeaderValue>, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        let secret = store.secret(name);
        // Only header values are stored.
        Ok(secret.and_then(|secret| {
            let mut value = HeaderValue::from_str(secret.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }

    /// Returns the names of all stored secrets, sorted.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if the vault cannot be read.
    pub async fn secrets(&self) -> Result<Vec<SecretName>, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        Ok(store.secrets())
    }

    /// Stores a secret. Replaces one of the same name.
    ///
    /// # Errors
    ///
    /// [`SecretError`]. The previous secret is kept then.
    pub async fn keep_secret(&self, name: SecretName, value: &str) -> Result<(), SecretError> {
        if !is_header_value(value) {
            return Err(SecretError::Unfit);
        }
        let store = &self.0.source.store;
        store.open().await?;
        let secret = StoredSecret::new(value);
        Ok(store.keep_secret(name, secret).await?)
    }

    /// Deletes a stored secret. Returns true if it existed.
    ///
    /// # Errors
    ///
    /// [`VaultError`]. The secret is kept then.
    pub async fn forget_secret(&self, name: &SecretName) -> Result<bool, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        store.forget_secret(name).await
    }

    /// Probes whether there is a keychain and whether it is locked, for
    /// [`vault_state`](Self::vault_state), unless that is known. It makes no key, unlocks nothing
    /// and shows no prompt.
    pub async fn probe_vault(&self) {
        self.0.source.store.probe().await;
    }

    /// Returns whether tokens can be read and stored, as far as is known. Never waits.
    #[must_use]
    pub fn vault_state(&self) -> VaultState {
        let store = &self.0.source.store;
        match (store.vault().state(), store.unsaved()) {
            (VaultState::Unopened { .. } | VaultState::Ready { .. }, Some(unsaved)) => {
                VaultState::Behind(unsaved)
            }
            (state, _) => state,
        }
    }

    /// Notifies when tokens could not be written to the vault, and when they were written later.
    #[must_use]
    pub fn vault_changes(&self) -> watch::Receiver<()> {
        self.0.source.store.unsaved_changes()
    }

    /// Writes unsaved tokens to the vault as soon as that is possible. Never returns: run it as
    /// long as there are tokens.
    pub async fn store_unsaved(&self) -> Infallible {
        let store = &self.0.source.store;
        let mut changes = store.unsaved_changes();
        loop {
            match store.unsaved() {
                Some(_) => {
                    tokio::time::sleep(STORE_INTERVAL).await;
                    store.save_unsaved().await;
                }
                None => {
                    // The sender lives as long as this identity.
                    let _ = changes.changed().await;
                }
            }
        }
    }

    /// Waits until no token request is in progress, then writes unsaved tokens. A response may
    /// contain the only valid refresh token, and a process that ends before it arrives loses it.
    pub async fn settled(&self) {
        let Source {
            token_requests,
            store,
            ..
        } = &self.0.source;
        token_requests.close();
        token_requests.wait().await;
        store.save_unsaved().await;
        if let Some(Unsaved {
            accounts, error, ..
        }) = store.unsaved()
        {
            tracing::error!(
                accounts = accounts.join(", "),
                %error,
                "the newest tokens of these accounts are not stored and are lost with this process; they may have to sign in again"
            );
        }
    }

    async fn start(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
        browser: BrowserLocation,
    ) -> Result<SignInFlow, SignInError> {
        let (source, client) = (self.0.source.clone(), &self.0.client);
        SignInFlow::start(source, client, target, challenge, account, browser).await
    }

    async fn revoke(&self, entry: &GrantEntry) -> Result<(), SignOutError> {
        let grant = entry.grant();
        let Some(url) = &grant.endpoints.revocation else {
            return Ok(());
        };
        let http = self.0.source.clients.client_for(grant.endpoints.zone);
        form::revoke(http, url, &grant.client, &grant.tokens)
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
