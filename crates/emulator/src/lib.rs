//! A local Entra ID for the demo, for development and for tests.
//!
//! Owns: tenants behind the v2.0 endpoints, faithful where clients can tell: discovery, keys,
//! authorize with pages that people use, token with its grants, device codes, logout, userinfo; the
//! metadata service of machines; and TLS with an authority of its own, where it is asked for.
//! Does not own: any rule of ours about tokens; and it is never reachable beyond loopback.
//!
//! # For scripted browsers
//!
//! These names and ids stay as they are. Several pages share ids, so wait for the form of the
//! page first, as in `form[data-page=stay] #idSIButton9`.
//!
//! | `form[data-page=…]` | what is in it |
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

/// How long running requests may take to end after a stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// What an emulator runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tenant it plays.
    pub tenant: Tenant,
    /// Further tenants: other organisations, and the one of personal accounts ([`CONSUMERS`]),
    /// which is empty unless it is among them.
    pub others: Vec<Tenant>,
    /// How it is spoken to.
    pub transport: Transport,
    /// Where clients reach it, without a slash at the end, if something on loopback stands in
    /// front of it; where it listens, if `None`.
    pub base_url: Option<String>,
    /// Where it takes the time from.
    pub clock: model::Clock,
    /// The folder that keeps its keys across restarts, and with them what it issued: tokens,
    /// refresh tokens, browser sessions. In memory only if `None`.
    pub data_dir: Option<PathBuf>,
}

impl Options {
    /// One tenant over plain HTTP, with keys that end with the process.
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

/// Where an emulator that listens on `address` is reached over plain HTTP, without a slash at the
/// end; its authority is `{base_url}/{tenant id}/v2.0`.
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

/// An emulator whose keys and certificate authority are there, and that serves nobody yet.
pub struct Emulator {
    entra: Arc<Entra>,
    listener: TcpListener,
    /// For TLS.
    encryption: Option<rustls::ServerConfig>,
}

impl Emulator {
    /// Reads or makes what it needs; RSA keys take their time.
    ///
    /// # Errors
    /// If the listener is not on loopback, two tenants, users or apps share an id, or the keys or
    /// the certificate authority cannot be made, read or kept.
    pub async fn open(options: Options, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        anyhow::ensure!(
            address.ip().is_loopback(),
            "the emulator signs anyone in and listens on loopback only, not on {address}; \
             hint: use 127.0.0.1"
        );
        let here = || options.transport.base_url(address);
        let base = options.base_url.clone().unwrap_or_else(here);
        let encryption = match &options.transport {
            Transport::Http => None,
            Transport::Https { folder } => Some(tls::server_config(folder, options.clock.now())?),
        };
        Ok(Self {
            entra: Arc::new(start(options, base).await?),
            listener,
            encryption,
        })
    }

    /// Where it is reached, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.entra.base
    }

    /// The switches, for tests in the same process.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.entra))
    }

    /// Serves until `shutdown`, then lets running requests end, for two seconds at most.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(base = self.base_url(), "the Entra ID emulator listens");
        let router = router(self.entra);
        match self.encryption {
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
            get(authorize::get).post(authorize::post),
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
        // MSAL for Node puts a slash behind it.
        .route("/metadata/identity/oauth2/token/", get(imds::token))
        .route(
            "/{tenant}/oauth2/v2.0/logout",
            get(logout::get).post(logout::post),
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
        .layer(middleware::from_fn(host_header::guard))
        .with_state(entra)
}
