//! The state that all request handlers share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{ConnectInfo, FromRequestParts};
use http::StatusCode;
use http::request::Parts;
use model::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::backends::Backends;
use crate::claims::Claims;
use crate::cookies::Cookies;
use crate::crypto::KeyRing;
use crate::drain::Drain;
use crate::identity_provider::{self, Entra};
use crate::places::{Places, places_within};
use crate::rates::Rates;
use crate::redirect::OwnOrigin;
use crate::request_log::RequestLog;
use crate::servers::Servers;
use crate::sessions::Sessions;
use crate::storage::{Seconds, Store};
use crate::timeouts::GRACE;
use crate::visitors::{Visitor, Visitors};

/// The parts of a running gateway.
pub(crate) struct GatewayState {
    /// The issuer, which is the origin of every URL of the gateway. It is configured, and never
    /// derived from a request.
    pub(crate) issuer: String,
    /// The origin of the gateway, to which no redirect may lead.
    pub(crate) own_origin: OwnOrigin,
    /// The name that users see.
    pub(crate) name: String,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) servers: Servers,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) store: Store,
    pub(crate) entra: Arc<Entra>,
    /// The origins to which a consent form may lead on its way to Entra.
    pub(crate) entra_form_action: String,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) cookies: Cookies,
    pub(crate) backends: Backends,
    pub(crate) visitors: Visitors,
    pub(crate) rates: Rates,
    pub(crate) request_log: RequestLog,
    pub(crate) claims: Claims,
    pub(crate) clock: Clock,
    /// Work that outlives its request.
    pub(crate) tasks: TaskTracker,
    pub(crate) drain: Drain,
    /// How long an event stream may be silent before it gets a comment.
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) places: Arc<Places>,
}

impl GatewayState {
    /// Opens the store and the keys. Returns `None` if `shutdown` is cancelled before the data folder
    /// is free.
    pub(crate) async fn new(
        options: Options,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let Options {
            config,
            data_dir,
            secrets,
            clock,
            descriptors,
        } = options;
        config.validate()?;
        files::create_private_folder(&data_dir)
            .with_context(|| format!("cannot create the data folder {}", data_dir.display()))?;
        // Opening the store locks the folder for this process. Otherwise, two gateways that start at
        // the same time would each create keys.
        let drain_time = Duration::from_secs(config.drain_seconds.into());
        let drain = Drain::new(shutdown.clone(), drain_time);
        // The previous gateway may still drain.
        let patience = drain_time + 2 * GRACE;
        let database = data_dir.join("gateway.sqlite");
        let Some(store) = Store::open_when_free(&database, patience, &shutdown).await? else {
            return Ok(None);
        };
        let keys = match &config.session_keys {
            Some(text) => KeyRing::parse(&secrets.fill(text)?).context("in `session_keys`")?,
            None => KeyRing::open_file(&data_dir.join("session-keys"))?,
        };
        let issuer = config.public_url.as_str().to_owned();
        let entra = Entra::new(
            &config.entra,
            &config.allowed_tenants,
            format!("{issuer}/oauth-callback"),
            &secrets,
            clock.clone(),
        )?;
        let (entra, keys, tasks) = (Arc::new(entra), Arc::new(keys), TaskTracker::new());
        let sessions = Sessions::new(
            store.clone(),
            Arc::clone(&entra),
            Arc::clone(&keys),
            clock.clone(),
            tasks.clone(),
            drain.cut.clone(),
        );
        Ok(Some(Arc::new(Self {
            own_origin: OwnOrigin::new(config.public_url.url()),
            servers: Servers::new(&config, &secrets)?,
            cookies: Cookies::new(&config.public_url),
            entra_form_action: identity_provider::form_action(&config.entra.authority).into_owned(),
            store,
            sessions,
            backends: Backends::new()?,
            visitors: Visitors::new(&config),
            rates: Rates::new(),
            request_log: RequestLog::default(),
            claims: Claims::default(),
            tasks,
            name: config.name,
            allowed_origins: config.allowed_origins,
            issuer,
            keys,
            entra,
            clock,
            drain,
            keep_alive: match config.keep_alive_seconds {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            places: Places::new(places_within(config.max_connections, descriptors)),
        })))
    }

    /// Returns host and port of the issuer.
    pub(crate) fn host(&self) -> &str {
        self.issuer.split_once("://").map_or("", |(_, host)| host)
    }

    pub(crate) fn now(&self) -> Seconds {
        self.clock.unix()
    }
}

impl FromRequestParts<Arc<GatewayState>> for Visitor {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<GatewayState>,
    ) -> Result<Self, StatusCode> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let ConnectInfo(peer) = peer.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(gateway.visitors.visitor(peer.ip(), &parts.headers))
    }
}
