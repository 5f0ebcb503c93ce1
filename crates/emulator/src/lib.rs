//! A local Entra ID for the demo, for development and for tests.
//!
//! Owns: tenants with the v2.0 endpoints (discovery, keys, authorize with its pages, token with its
//! grants, device codes, logout, userinfo), which behave like Entra as far as clients can tell; the
//! Azure instance metadata service; TLS with its own certificate authority.
//! Does not own: Postern's validation of tokens. The emulator is reachable on loopback only.
//!
//! # For scripted browsers
//!
//! These names and ids are stable. Several pages share ids, so wait for the form of the page first,
//! as in `form[data-page=stay] #idSIButton9`.
//!
//! | `form[data-page=…]` | content |
//! | --- | --- |
//! | `username` | `input[name=loginfmt]` (`#i0116`), `#idSIButton9` Next, `#idBtn_Back` Cancel; below it, the users of the tenant as `button[data-account="adele@contoso.example"]` |
//! | `pick` | `button[data-account="…"]` for each account the browser remembers, `#otherTile`, `#idBtn_Back` Cancel |
//! | `password` | `input[name=passwd]` (`#i0118`), `#idSIButton9` Sign in, `#idBtn_Back` Back |
//! | `stay` | `#idSIButton9` Yes, `#idBtn_Back` No |
//! | `second-factor` | `input[name=otc]` (`#idTxtBx_SAOTCC_OTC`), `#idSIButton9` Verify, `#idBtn_Back` Cancel |
//! | `consent` | `#idSIButton9` Accept, `#idBtn_Back` Cancel |
//! | `approval` | `a#adminConsent`, `#idBtn_Back` Back to the app; where it can be requested, `#justification` and `#idSIButton9` Request approval |
//! | `approval-requested` | `#idBtn_Back` Back to the app |
//! | `admin-consent` | `#idSIButton9` Accept, `#idBtn_Back` Cancel |
//! | `device` (`/devicelogin`) | `input[name=otc]`, `#idSIButton9` Next |
//! | `confirm` (after it) | `#idSIButton9` Continue, `#idBtn_Back` Cancel |
//!
//! An error is shown as `#exceptionMessage[data-error="50011"]`.
//!
//! The shortest sign-in on a new browser: click `button[data-account="…"]`, type into
//! `input[name=passwd]`, click `form[data-page=password] #idSIButton9`, then
//! `form[data-page=stay] #idSIButton9`.

mod aadsts;
mod admin;
mod admin_consent;
mod app;
mod authority;
mod authorization_request;
mod authorize;
mod browser;
mod claims;
mod claims_request;
mod cloud;
mod code;
mod config;
mod cors;
mod credential;
pub mod demo;
mod device;
mod device_codes;
mod discovery;
mod echo;
mod endpoint;
mod entra;
mod fault;
mod fault_injection;
mod flow;
mod home;
mod host_header;
mod imds;
mod instance;
mod keys;
mod logout;
mod page;
mod parameters;
mod pem;
mod private_file;
mod random;
mod redirect;
mod refresh_grant;
mod request_layer;
mod request_log;
mod request_trace;
mod scope;
mod session;
mod sign_in;
mod tenant;
mod tls;
mod token;
mod token_grant;
mod userinfo;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admin::{
    Admin, AppState, Command, CommandError, KeyState, RequestState, RuleEffect, RuleState, State,
    UserState,
};
pub use app::{AccessTokenVersion, App, AppRole, Platform, SignInAudience};
use cloud::Cloud;
use code::Codes;
pub use config::tenants;
pub use credential::{Certificate, FederatedCredential};
use device_codes::DeviceCodes;
pub use endpoint::Endpoint;
use entra::Entra;
use fault_injection::FaultRules;
pub use fault_injection::{Requirement, Reuse, Times};
use keys::Keys;
use model::AheadClock;
use request_log::RequestLog;
pub use tenant::{CONSUMERS, ManagedIdentity, Tenant, User};
use tls::TlsListener;
pub use tls::Transport;

/// How long open requests may run after `shutdown`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The settings of an emulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first tenant.
    pub tenant: Tenant,
    /// Further tenants. These can include the one of personal accounts ([`CONSUMERS`]), which is
    /// empty otherwise.
    pub others: Vec<Tenant>,
    /// HTTP or HTTPS.
    pub transport: Transport,
    /// The base URL for clients without a trailing slash, if a proxy on loopback is in front of the
    /// emulator. If `None`, the address of the listener.
    pub base_url: Option<String>,
    /// The source of the time.
    pub clock: model::Clock,
    /// The folder for the keys. With it, tokens, refresh tokens and browser sessions stay valid
    /// after a restart. If `None`, keys are in memory only.
    pub data_dir: Option<PathBuf>,
}

impl Options {
    /// Creates options for one tenant over plain HTTP, with keys in memory.
    #[must_use]
    pub fn new(tenant: Tenant, clock: model::Clock) -> Self {
        Self {
            tenant,
            others: Vec::new(),
            transport: Transport::Http,
            base_url: None,
            clock,
            data_dir: None,
        }
    }
}

/// Returns the base URL of an emulator that listens on `address` over plain HTTP, without a
/// trailing slash. The authority of a tenant is `{base_url}/{tenant id}/v2.0`.
#[must_use]
pub fn base_url(address: SocketAddr) -> String {
    Transport::Http.base_url(address)
}

/// Opens an emulator on `listener` and serves until `shutdown`.
///
/// # Errors
/// Those of [`Emulator::open`] and [`Emulator::serve`].
pub async fn serve(
    options: Options,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    Emulator::open(options, listener)
        .await?
        .serve(shutdown)
        .await
}

/// An emulator that has its keys and certificate authority but does not accept connections yet.
pub struct Emulator {
    entra: Arc<Entra>,
    listener: TcpListener,
    /// The TLS settings, or `None` for plain HTTP.
    tls: Option<rustls::ServerConfig>,
}

impl Emulator {
    /// Reads or generates the keys and the certificate authority. This is slow, because generating
    /// RSA keys is.
    ///
    /// # Errors
    /// If the listener is not on loopback, two tenants, users or apps have the same id, or the keys
    /// or the certificate authority cannot be generated, read or stored.
    pub async fn open(options: Options, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        anyhow::ensure!(
            address.ip().is_loopback(),
            "the emulator accepts any password, so it must listen on loopback, not on {address}; \
             hint: use 127.0.0.1"
        );
        let here = || options.transport.base_url(address);
        let base = options.base_url.clone().unwrap_or_else(here);
        let tls = match &options.transport {
            Transport::Http => None,
            Transport::Https { folder } => {
                Some(crate::tls::server_config(folder, options.clock.now())?)
            }
        };
        Ok(Self {
            entra: Arc::new(start(options, base).await?),
            listener,
            tls,
        })
    }

    /// Returns the base URL, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.entra.base
    }

    /// Returns the admin API, for tests in the same process.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.entra))
    }

    /// Serves until `shutdown`, then waits up to two seconds for open requests.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(base = self.base_url(), "the Entra ID emulator is listening");
        let router = router(self.entra);
        match self.tls {
            None => run(self.listener, router, shutdown).await,
            Some(config) => {
                let listener = TlsListener::new(self.listener, config);
                run(listener, router, shutdown).await
            }
        }
    }
}

async fn run<L>(listener: L, router: Router, shutdown: CancellationToken) -> anyhow::Result<()>
where
    L: axum::serve::Listener<Addr = SocketAddr>,
{
    let soft = shutdown.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(soft.cancelled_owned());
    let hard = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        ended = server => ended.context("the emulator's listener failed"),
        () = hard => Ok(()),
    }
}

async fn start(options: Options, base: String) -> anyhow::Result<Entra> {
    let cloud = Cloud::new([vec![options.tenant], options.others].concat())?;
    let folder = options.data_dir;
    let keys = tokio::task::spawn_blocking(move || Keys::open(folder.as_deref())).await??;
    let ahead = AheadClock::new(options.clock);
    Ok(Entra {
        base,
        cloud,
        clock: ahead.clock(),
        ahead,
        keys,
        codes: Codes::default(),
        devices: DeviceCodes::default(),
        fault_rules: FaultRules::default(),
        requests: RequestLog::default(),
    })
}

fn router(entra: Arc<Entra>) -> Router {
    Router::new()
        .route("/", get(home::home))
        .route("/error", get(home::error))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery::configuration).options(cors::preflight),
        )
        .route(
            "/{tenant}/discovery/v2.0/keys",
            get(discovery::keys).options(cors::preflight),
        )
        .route(
            "/{tenant}/discovery/instance",
            get(instance::instance).options(cors::preflight),
        )
        .route(
            "/{tenant}/oauth2/v2.0/authorize",
            get(authorize::authorize).post(authorize::authorize),
        )
        .route("/{tenant}/login", post(sign_in::post))
        .route(
            "/{tenant}/v2.0/adminconsent",
            get(admin_consent::get).post(admin_consent::post),
        )
        .route(
            "/{tenant}/oauth2/v2.0/token",
            post(token::post)
                .options(cors::preflight)
                .fallback(token::method_not_allowed),
        )
        .route(
            "/{tenant}/oauth2/v2.0/devicecode",
            post(device::post).options(cors::preflight),
        )
        .route(
            device::PAGE,
            get(device::page::get).post(device::page::post),
        )
        .route("/metadata/identity/oauth2/token", get(imds::token))
        // MSAL for Node appends a slash.
        .route("/metadata/identity/oauth2/token/", get(imds::token))
        .route(
            "/{tenant}/oauth2/v2.0/logout",
            get(logout::logout).post(logout::logout),
        )
        .route(
            "/oidc/userinfo",
            get(userinfo::userinfo)
                .post(userinfo::userinfo)
                .options(cors::preflight),
        )
        .route("/api/echo", get(echo::echo).post(echo::echo))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&entra),
            request_layer::record_and_disrupt,
        ))
        .merge(admin::routes())
        .layer(middleware::from_fn(host_header::require_loopback))
        .with_state(entra)
}
