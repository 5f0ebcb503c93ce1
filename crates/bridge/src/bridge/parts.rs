//! Builds the parts of a bridge, each with what it uses of the others.

use std::sync::Arc;

use auth::http::HttpClients;
use auth::{ClientMetadata, Identity, IdentityOptions, Vault};
use control::peer::{self, Owner};
use mcp::memory::Budget;
use mcp::upstream::{Client, ClientOptions};
use model::config::ClientMetadataUrl;

use super::Bridge;
use crate::background::Background;
use crate::browser::UserBrowser;
use crate::config_store::ConfigStore;
use crate::endpoint::{Addresses, EndpointContext};
use crate::lifecycle::Clients;
use crate::notifications::Notifications;
use crate::outbound::OutboundConfig;
use crate::pending_sign_ins::SignIns;
use crate::registry::Registry;
use crate::server_mode::ServerMode;
use crate::session::SessionContext;
use crate::session_registry::SessionRegistry;
use crate::sign_in::SignInContext;
use crate::state_view::{StateSources, StateView};
use crate::vault_status::VaultStatus;
use crate::{Options, ServeError, VaultChoice};

impl Bridge {
    /// Builds all parts. Starts none of them.
    pub(super) fn build(options: Options, background: Background) -> Result<Self, ServeError> {
        let (identity, upstream) = outbound(&options)?;
        let notifications = Notifications::default();
        let common = Common::build(&options, identity, notifications, background);
        let vault = VaultStatus::new(
            options.vault,
            common.identity.clone(),
            common.notifications.clone(),
        );
        let server_mode = ServerMode::new(
            options.home.clone(),
            options.program.clone(),
            common.notifications.clone(),
            common.background.clone(),
        );
        let sign_in = Arc::new(common.sign_in_context(&options));
        let session = Arc::new(common.session_context(&options, &sign_in, upstream));
        let endpoint = Arc::new(common.endpoint_context(&options, &session));
        let sources = common.state_sources(&options, &vault, &server_mode);
        Ok(Self {
            state: StateView::new(sources, &common.notifications),
            vault,
            server_mode,
            sign_in,
            session,
            endpoint,
            identity: common.identity,
            config: common.config,
            sign_ins: common.sign_ins,
            sessions: common.sessions,
            clients: common.clients,
            addresses: common.addresses,
            notifications: common.notifications,
            background: common.background,
            options,
        })
    }
}

/// The parts that several others use.
struct Common {
    identity: Identity,
    config: Arc<ConfigStore>,
    sign_ins: Arc<SignIns>,
    sessions: Arc<SessionRegistry>,
    clients: Arc<Clients>,
    addresses: Arc<Addresses>,
    notifications: Notifications,
    background: Background,
}

impl Common {
    fn build(
        options: &Options,
        identity: Identity,
        notifications: Notifications,
        background: Background,
    ) -> Self {
        let config = ConfigStore::new(
            options.home.config_file(),
            Registry::new(options.home.seen_dir()),
            identity.clone(),
            notifications.clone(),
        );
        let sessions = SessionRegistry::new(options.clock.clone(), notifications.clone());
        Self {
            identity,
            config: Arc::new(config),
            sign_ins: Arc::new(SignIns::new(notifications.clone())),
            sessions: Arc::new(sessions),
            clients: Arc::new(Clients::new(notifications.clone())),
            addresses: Arc::new(Addresses::new(notifications.clone())),
            notifications,
            background,
        }
    }

    fn sign_in_context(&self, options: &Options) -> SignInContext {
        SignInContext {
            identity: self.identity.clone(),
            sign_ins: Arc::clone(&self.sign_ins),
            browser: UserBrowser {
                command: options.browser.clone(),
                availability: options.browser_availability,
            },
            clock: options.clock.clone(),
            config: Arc::clone(&self.config),
            notifications: self.notifications.clone(),
            background: self.background.clone(),
        }
    }

    fn session_context(
        &self,
        options: &Options,
        sign_in: &Arc<SignInContext>,
        upstream: Client,
    ) -> SessionContext {
        SessionContext {
            version: options.version.clone(),
            identity: self.identity.clone(),
            sign_in: Arc::clone(sign_in),
            sign_ins: Arc::clone(&self.sign_ins),
            sessions: Arc::clone(&self.sessions),
            clients: Arc::clone(&self.clients),
            config: Arc::clone(&self.config),
            upstream,
            to_hosts: Budget::default(),
            notifications: self.notifications.clone(),
            background: self.background.clone(),
        }
    }

    fn endpoint_context(
        &self,
        options: &Options,
        session: &Arc<SessionContext>,
    ) -> EndpointContext {
        EndpointContext {
            version: options.version.clone(),
            session: Arc::clone(session),
            sessions: Arc::clone(&self.sessions),
            config: Arc::clone(&self.config),
            addresses: Arc::clone(&self.addresses),
            from_hosts: Budget::default(),
            to_hosts: session.to_hosts.clone(),
            max_http_connections: options.descriptors.http,
            background: self.background.clone(),
        }
    }

    fn state_sources(
        &self,
        options: &Options,
        vault: &VaultStatus,
        server_mode: &ServerMode,
    ) -> StateSources {
        StateSources {
            version: options.version.clone(),
            identity: self.identity.clone(),
            config: Arc::clone(&self.config),
            addresses: Arc::clone(&self.addresses),
            vault: vault.clone(),
            sessions: Arc::clone(&self.sessions),
            sign_ins: Arc::clone(&self.sign_ins),
            server_mode: server_mode.clone(),
        }
    }
}

/// Builds what connects to authorization servers, and what connects to MCP servers.
fn outbound(options: &Options) -> Result<(Identity, Client), ServeError> {
    let tls = |error: &dyn std::fmt::Display| ServeError::Tls(error.to_string());
    let OutboundConfig {
        roots,
        proxy,
        client_metadata,
    } = OutboundConfig::load_lenient(options).map_err(|error| tls(&error))?;
    let http = HttpClients::new(roots.clone(), &proxy).map_err(|error| tls(&error))?;
    let upstream = Client::new(ClientOptions {
        extra_roots: roots,
        proxy,
        max_connections: Some(options.descriptors.upstream),
    });
    let upstream = upstream.map_err(|error| tls(&error))?;
    Ok((identity(options, http, client_metadata), upstream))
}

fn identity(
    options: &Options,
    http: HttpClients,
    client_metadata: Option<ClientMetadataUrl>,
) -> Identity {
    let vault = match options.vault {
        VaultChoice::Keychain => Vault::keychain(&options.home.vault_dir()),
        VaultChoice::File => Vault::file(&options.home.vault_dir()),
    };
    Identity::new(IdentityOptions {
        http,
        vault,
        clock: options.clock.clone(),
        client: ClientMetadata {
            name: "Postern".to_owned(),
            document_url: client_metadata,
        },
        is_other_user: |peer, here| peer::owner(peer, here) == Owner::OtherUser,
    })
}
