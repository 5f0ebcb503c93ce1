//! Postern relays messages unchanged: each end receives what the other sent, byte for byte, except
//! for insignificant line breaks. Input that is not a message gets the right error and affects
//! nothing else.
//!
//! Every case runs twice, without Postern and with it.

mod corpus;
mod host;
mod json;
mod message;
mod pair;
mod server;

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{runtime::Handle, task::block_in_place};

use crate::harness::{Harness, bridge::Bridge, program};
use message::{Era, Framing, Round};
use pair::{HostTransport, Route, Session, Transport, difference};
use server::Server;

/// The seed of the random cases. `POSTERN_TESTS_SEED` replaces it.
const SEED: u64 = 2_026_112_101;

/// Random rounds per route, unless `PROPTEST_CASES` is set.
const CASES: u32 = 40;

/// A bridge in front of a server of this transport.
struct Setup {
    bridge: Bridge,
    behind: Server,
    transport: Transport,
    _folder: TempDir,
}

impl Setup {
    async fn start(transport: Transport) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let behind = Server::start().await;
        let (address, path) = (
            behind.address(),
            match transport {
                Transport::Streamable => "mcp",
                Transport::Sse => "sse",
            },
        );
        let config =
            format!("[bridge]\nport = 0\n[servers.raw]\nurl = \"http://{address}/{path}\"\n");
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        Self {
            bridge,
            behind,
            transport,
            _folder: folder,
        }
    }

    /// Checks that all rounds are relayed unchanged on this route.
    async fn check(&mut self, host_transport: HostTransport, era: Era) {
        let route = Route {
            bridge: &self.bridge,
            server: "raw",
            host_transport,
        };
        check(&route, &mut self.behind, self.transport, era, CASES).await;
    }
}

/// Checks that recorded and random rounds are relayed unchanged on this route.
async fn check(route: &Route<'_>, behind: &mut Server, transport: Transport, era: Era, cases: u32) {
    let mut alone = Server::start().await;
    let (mut direct, greeting) = Session::direct(&mut alone, transport, era).await;
    let (mut relayed, same) = Session::relayed(route, behind, transport, era).await;
    assert_eq!(greeting, same, "the answer to the handshake");
    // The large round runs on the longest route of each kind, and on all of them in a full run.
    let large = (route.host_transport == HostTransport::Stdio || program::is_full())
        .then(|| corpus::large(era));
    for round in corpus::rounds(era).into_iter().chain(large) {
        if let Err(reason) = play(&mut direct, &mut relayed, &round).await {
            panic!(
                "{transport:?}, {:?}: {reason}\n{}",
                route.host_transport,
                shown(&round)
            );
        }
    }
    let sessions = RefCell::new((direct, relayed));
    let outcome = runner(cases).run(&message::round(era), |round| {
        let (direct, relayed) = &mut *sessions.borrow_mut();
        block_in_place(|| Handle::current().block_on(play(direct, relayed, &round)))
            .map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, round)) = outcome {
        panic!(
            "{transport:?}, {:?}: {reason}\n{}",
            route.host_transport,
            shown(&round)
        );
    }
}

async fn play(
    direct: &mut Session<'_>,
    relayed: &mut Session<'_>,
    round: &Round,
) -> Result<(), String> {
    let plain = Framing {
        events: round.framing.events,
        ..Framing::JSON
    };
    let expected = direct.play(round, plain).await?;
    let got = relayed.play(round, round.framing).await?;
    difference(&expected, &got).map_or(Ok(()), Err)
}

/// Returns a runner for that many cases, the same in every run.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases: program::cases().unwrap_or(if program::is_full() {
            cases * 50
        } else {
            cases
        }),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&program::seed().unwrap_or(SEED).to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn shown(round: &Round) -> String {
    let text = format!("{round:?}");
    text.chars().take(20_000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_messages_are_relayed_unchanged() {
    let mut setup = Setup::start(Transport::Streamable).await;
    setup.check(HostTransport::Stdio, Era::Legacy).await;
    setup.check(HostTransport::Streamable, Era::Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modern_messages_are_relayed_unchanged() {
    let mut setup = Setup::start(Transport::Streamable).await;
    setup.check(HostTransport::Stdio, Era::Modern).await;
    setup.check(HostTransport::Streamable, Era::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_sse_messages_are_relayed_unchanged() {
    let mut setup = Setup::start(Transport::Sse).await;
    setup.check(HostTransport::Stdio, Era::Legacy).await;
    setup.check(HostTransport::Sse, Era::Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_through_gateway_are_relayed_unchanged() {
    let harness = Harness::start().await;
    let mut behind = Server::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let sign_in = bridge.run(&["sign-in", "snippets"]);
    let user = async { harness.sign_in_at(&bridge.browser.page(0).await).await };
    tokio::join!(sign_in, user);
    // The server behind the gateway is replaced, and the gateway has no connection left to the
    // previous one.
    harness.servers.kill_gateway().await;
    harness
        .servers
        .backend_proxy
        .forward_to(Some(behind.address()));
    harness.servers.restart_gateway().await;
    let route = Route {
        bridge: &bridge,
        server: "snippets",
        host_transport: HostTransport::Stdio,
    };
    for era in [Era::Legacy, Era::Modern] {
        check(&route, &mut behind, Transport::Streamable, era, CASES / 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_input_gets_error_and_session_continues() {
    let mut streamable = Setup::start(Transport::Streamable).await;
    check_invalid_input(&mut streamable, HostTransport::Stdio).await;
    check_invalid_input(&mut streamable, HostTransport::Streamable).await;
    let mut sse = Setup::start(Transport::Sse).await;
    check_invalid_input(&mut sse, HostTransport::Sse).await;
}

/// Checks that invalid input gets the right error, and that the next message is relayed.
async fn check_invalid_input(setup: &mut Setup, host_transport: HostTransport) {
    let route = Route {
        bridge: &setup.bridge,
        server: "raw",
        host_transport,
    };
    let (transport, era) = (setup.transport, Era::Legacy);
    let relayed = Session::relayed(&route, &mut setup.behind, transport, era).await;
    let mut relayed = relayed.0;
    let recorded = corpus::not_messages().map(|(code, line)| (code, line.as_bytes().to_vec()));
    let round = corpus::rounds(era).swap_remove(0);
    for (code, bytes) in recorded {
        if let Err(reason) = check_error(&mut relayed, code, &bytes, &round).await {
            panic!(
                "{host_transport:?}: {reason}: {}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
    let relayed = RefCell::new(relayed);
    let outcome = runner(CASES).run(&message::no_message(), |(code, bytes)| {
        let relayed = &mut *relayed.borrow_mut();
        block_in_place(|| Handle::current().block_on(check_error(relayed, code, &bytes, &round)))
            .map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, (_, bytes))) = outcome {
        panic!("{host_transport:?}: {reason}: {}", bytes.escape_ascii());
    }
}

async fn check_error(
    relayed: &mut Session<'_>,
    code: i64,
    bytes: &[u8],
    round: &Round,
) -> Result<(), String> {
    let response = relayed.send_invalid(bytes).await?;
    let error: Value = serde_json::from_slice(&response).map_err(|error| error.to_string())?;
    if error["error"]["code"] != code || error["jsonrpc"] != "2.0" || !error["id"].is_null() {
        return Err(format!("not {code}, but {error}"));
    }
    relayed.play(round, round.framing).await.map(drop)
}
