//! The translation matrix: hosts of each revision in front of servers of each, through the real
//! bridge, and what they have of each other.
//!
//! Owns: the cells, and `docs/translation.md`, which is made of what was seen in them. Its parts:
//! `host`, the hosts; `wire`, the transports; `features`, what is tried; `table`, the document.
//! Does not own: the server, which is the fixture, as it is in the suite's cases.

mod features;
mod host;
mod table;
pub(crate) mod wire;

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, future::join_all};
use tempfile::TempDir;

use crate::harness::{bridge::Bridge, fixture::Fixture};
use features::{FEATURES, Feature, Verdict};
use host::{Host, Speaks};
use wire::Wire;

const OLDEST: &str = "2024-11-05";
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// The revisions of hosts.
const HOSTS: [Speaks; 3] = [Speaks::Oldest, Speaks::Legacy, Speaks::Modern];

/// The kinds of servers, each with the fixture's path for it.
const SERVERS: [(Server, &str); 3] = [
    (Server::Sse, "sse"),
    (Server::Legacy, "legacy"),
    (Server::Modern, "modern"),
];

/// How a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// HTTP+SSE, in whatever version with a handshake its client wants.
    Sse,
    /// Streamable HTTP, up to 2025-11-25.
    Legacy,
    /// Streamable HTTP of 2026-07-28.
    Modern,
}

/// A host and its server.
struct Cell {
    host: Host,
    server: Server,
}

/// What came of a cell, feature by feature.
struct Seen {
    host: Speaks,
    server: Server,
    verdicts: Vec<(Feature, Result<Verdict, String>)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_has_all_of_every_server() {
    let setup = Setup::start().await;
    let cells = HOSTS
        .into_iter()
        .flat_map(|host| SERVERS.map(|(server, _)| setup.run(host, server)));
    let seen = join_all(cells).await;
    no_failures(&seen);
    table::compare(&seen);
}

/// Over the shim, cancellation is a message in either era, and everything comes on one stream.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_both_eras_have_all_of_the_other_era_over_stdio() {
    let setup = Setup::start().await;
    let cells = [
        (Speaks::Legacy, Server::Modern),
        (Speaks::Modern, Server::Legacy),
        (Speaks::Modern, Server::Sse),
    ];
    let bridge = &setup.bridge;
    let cells = cells.map(async |(speaks, server)| {
        let wire = Wire::stdio(bridge, &Setup::name(speaks, server));
        run(speaks, server, wire).await
    });
    no_failures(&join_all(cells).await);
}

/// A bridge that knows a server of each kind for each host, so that no cell hears of another.
struct Setup {
    bridge: Bridge,
    address: String,
    _fixtures: Vec<Fixture>,
    _folder: TempDir,
}

impl Setup {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("postern-it-").tempdir();
        let folder = folder.expect("a temporary folder");
        let mut config = "[bridge]\nport = 0\n".to_owned();
        let mut fixtures = Vec::new();
        for host in HOSTS {
            for (server, path) in SERVERS {
                let fixture = Fixture::start().await;
                let (name, url) = (Self::name(host, server), fixture.url(path));
                config += &format!("[servers.{name}]\nurl = \"{url}\"\n");
                fixtures.push(fixture);
            }
        }
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        let state = bridge.state().await;
        let endpoint = state.servers[0].endpoint.as_deref();
        let endpoint = url::Url::parse(endpoint.expect("an endpoint")).expect("a URL");
        Self {
            address: endpoint.origin().ascii_serialization(),
            bridge,
            _fixtures: fixtures,
            _folder: folder,
        }
    }

    /// What the bridge knows the server of this cell as.
    fn name(host: Speaks, server: Server) -> String {
        format!("for-{host:?}-{server:?}").to_lowercase()
    }

    async fn run(&self, speaks: Speaks, server: Server) -> Seen {
        let url = format!("{}/{}", self.address, Self::name(speaks, server));
        let wire = match speaks {
            Speaks::Oldest => Wire::sse(&format!("{url}/sse")).await,
            Speaks::Legacy => Wire::streamable(format!("{url}/mcp")),
            Speaks::Modern => Wire::alone(format!("{url}/mcp")),
        };
        run(speaks, server, wire).await
    }
}

/// Tries everything in one conversation.
async fn run(speaks: Speaks, server: Server, wire: Wire) -> Seen {
    let host = Host::begin(speaks, wire).await;
    let mut cell = Cell { host, server };
    let mut verdicts = Vec::new();
    for feature in FEATURES {
        let tried = AssertUnwindSafe(cell.try_out(feature)).catch_unwind().await;
        let verdict = tried.map_err(|panic| {
            let text = panic.downcast::<String>().map(|text| *text);
            text.unwrap_or_else(|_| "failed; its message is above".to_owned())
        });
        let is_failure = verdict.is_err();
        verdicts.push((feature, verdict));
        if is_failure {
            // What is left of it would be taken for something of the next.
            break;
        }
    }
    Seen {
        host: speaks,
        server,
        verdicts,
    }
}

fn no_failures(seen: &[Seen]) {
    let mut failures = Vec::new();
    for one in seen {
        for (feature, verdict) in &one.verdicts {
            if let Err(failure) = verdict {
                let cell = format!("{:?} host, {:?} server", one.host, one.server);
                failures.push(format!("{cell}, {}: {failure}", feature.title()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
