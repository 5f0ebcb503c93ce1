//! The translation matrix: hosts of each revision with servers of each, through the real bridge.
//!
//! Owns: the cells, and `docs/translation.md`, which is generated from their results. `host` has
//! the hosts, `wire` the transports, `features` the checks, `table` the document.
//! Does not own: the server, which is the fixture of the conformance suite.

mod features;
mod host;
mod table;
pub(crate) mod wire;

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, future::join_all};
use tempfile::TempDir;

use crate::harness::{bridge::Bridge, fixture::Fixture};
use features::{FEATURES, Feature, Verdict};
use host::{Host, Revision};
use wire::Wire;

const OLDEST: &str = "2024-11-05";
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// The revisions of hosts.
const HOSTS: [Revision; 3] = [Revision::Oldest, Revision::Legacy, Revision::Modern];

/// The kinds of servers, each with the fixture's path for it.
const SERVERS: [(Server, &str); 3] = [
    (Server::Sse, "sse"),
    (Server::Legacy, "legacy"),
    (Server::Modern, "modern"),
];

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// HTTP+SSE, in the client's version up to 2025-11-25.
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

/// The result of a cell, by feature.
struct CellResult {
    host: Revision,
    server: Server,
    verdicts: Vec<(Feature, Result<Verdict, String>)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_revision_works_with_every_server() {
    let setup = Setup::start().await;
    let cells = HOSTS
        .into_iter()
        .flat_map(|host| SERVERS.map(|(server, _)| setup.run(host, server)));
    let seen = join_all(cells).await;
    no_failures(&seen);
    table::compare(&seen);
}

/// Over stdio, cancellation is a message in either era, and one stream carries everything.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_over_stdio_work_with_servers_of_other_era() {
    let setup = Setup::start().await;
    let cells = [
        (Revision::Legacy, Server::Modern),
        (Revision::Modern, Server::Legacy),
        (Revision::Modern, Server::Sse),
    ];
    let bridge = &setup.bridge;
    let cells = cells.map(async |(revision, server)| {
        let wire = Wire::stdio(bridge, &Setup::name(revision, server));
        run(revision, server, wire).await
    });
    no_failures(&join_all(cells).await);
}

/// A bridge with a separate server for each cell, so that no cell receives messages of another.
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

    /// Returns the name of the cell's server in the bridge.
    fn name(host: Revision, server: Server) -> String {
        format!("for-{host:?}-{server:?}").to_lowercase()
    }

    async fn run(&self, revision: Revision, server: Server) -> CellResult {
        let url = format!("{}/{}", self.address, Self::name(revision, server));
        let wire = match revision {
            Revision::Oldest => Wire::sse(&format!("{url}/sse")).await,
            Revision::Legacy => Wire::streamable(format!("{url}/mcp")),
            Revision::Modern => Wire::stateless(format!("{url}/mcp")),
        };
        run(revision, server, wire).await
    }
}

/// Checks all features in one session.
async fn run(revision: Revision, server: Server, wire: Wire) -> CellResult {
    let host = Host::begin(revision, wire).await;
    let mut cell = Cell { host, server };
    let mut verdicts = Vec::new();
    for feature in FEATURES {
        let tried = AssertUnwindSafe(cell.check(feature)).catch_unwind().await;
        let verdict = tried.map_err(|panic| {
            let text = panic.downcast::<String>().map(|text| *text);
            text.unwrap_or_else(|_| "failed; its message is above".to_owned())
        });
        let is_failure = verdict.is_err();
        verdicts.push((feature, verdict));
        if is_failure {
            // Left-over messages would be attributed to the next feature.
            break;
        }
    }
    CellResult {
        host: revision,
        server,
        verdicts,
    }
}

fn no_failures(seen: &[CellResult]) {
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
