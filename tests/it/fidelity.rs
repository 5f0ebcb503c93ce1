//! What passes through Postern is not changed: whatever a host says is what the server gets, and
//! the other way round, byte for byte, insignificant line breaks apart. And what is no message
//! gets the right error, and harms nobody.
//!
//! Every case runs twice, without anything between host and server and with Postern there.

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
use pair::{Conversation, Face, Transport, Way, difference};
use server::Server;

/// Another seed is another order; the same seed is the same one. `POSTERN_TESTS_SEED` takes its
/// place.
const SEED: u64 = 2_026_112_101;

/// Rounds that are made up for each way, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 40;

/// A bridge before a server of this transport.
struct Place {
    bridge: Bridge,
    behind: Server,
    transport: Transport,
    _folder: TempDir,
}

impl Place {
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

    /// Holds that all rounds go this way unchanged.
    async fn check(&mut self, face: Face, era: Era) {
        let way = Way {
            bridge: &self.bridge,
            server: "raw",
            face,
        };
        check(&way, &mut self.behind, self.transport, era, CASES).await;
    }
}

/// Holds that what was recorded, and any other round, goes this way unchanged.
async fn check(way: &Way<'_>, behind: &mut Server, transport: Transport, era: Era, cases: u32) {
    let mut alone = Server::start().await;
    let (mut direct, greeting) = Conversation::direct(&mut alone, transport, era).await;
    let (mut through, same) = Conversation::through(way, behind, transport, era).await;
    assert_eq!(greeting, same, "the answer to the handshake");
    // What is large is so on the longest way of each kind, and takes its time everywhere.
    let large = (way.face == Face::Stdio || program::is_full()).then(|| corpus::large(era));
    for round in corpus::rounds(era).into_iter().chain(large) {
        if let Err(reason) = play(&mut direct, &mut through, &round).await {
            panic!("{transport:?}, {:?}: {reason}\n{}", way.face, shown(&round));
        }
    }
    let conversations = RefCell::new((direct, through));
    let outcome = runner(cases).run(&message::round(era), |round| {
        let (direct, through) = &mut *conversations.borrow_mut();
        block_in_place(|| Handle::current().block_on(play(direct, through, &round)))
            .map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, round)) = outcome {
        panic!("{transport:?}, {:?}: {reason}\n{}", way.face, shown(&round));
    }
}

async fn play(
    direct: &mut Conversation<'_>,
    through: &mut Conversation<'_>,
    round: &Round,
) -> Result<(), String> {
    let plain = Framing {
        events: round.framing.events,
        ..Framing::JSON
    };
    let expected = direct.play(round, plain).await?;
    let got = through.play(round, round.framing).await?;
    difference(&expected, &got).map_or(Ok(()), Err)
}

/// So many cases, the same in every run.
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
async fn nothing_changes_between_ends_of_the_legacy_era() {
    let mut place = Place::start(Transport::Streamable).await;
    place.check(Face::Stdio, Era::Legacy).await;
    place.check(Face::Streamable, Era::Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_between_ends_of_the_modern_era() {
    let mut place = Place::start(Transport::Streamable).await;
    place.check(Face::Stdio, Era::Modern).await;
    place.check(Face::Streamable, Era::Modern).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_between_ends_of_http_and_sse() {
    let mut place = Place::start(Transport::Sse).await;
    place.check(Face::Stdio, Era::Legacy).await;
    place.check(Face::Sse, Era::Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_on_the_way_through_the_gateway() {
    let harness = Harness::start().await;
    let mut behind = Server::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let sign_in = bridge.run(&["sign-in", "snippets"]);
    let person = async { harness.sign_in_at(&bridge.browser.page(0).await).await };
    tokio::join!(sign_in, person);
    // Behind the gateway there is another server now, and the gateway has no connection left to
    // the one that the sign-in was tried with.
    harness.servers.kill_gateway().await;
    harness.servers.back.lead_to(Some(behind.address()));
    harness.servers.restart_gateway().await;
    let way = Way {
        bridge: &bridge,
        server: "snippets",
        face: Face::Stdio,
    };
    for era in [Era::Legacy, Era::Modern] {
        check(&way, &mut behind, Transport::Streamable, era, CASES / 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_and_the_conversation_goes_on() {
    let mut streamable = Place::start(Transport::Streamable).await;
    refuses(&mut streamable, Face::Stdio).await;
    refuses(&mut streamable, Face::Streamable).await;
    let mut sse = Place::start(Transport::Sse).await;
    refuses(&mut sse, Face::Sse).await;
}

/// Holds that what is no message gets the right error, and that the next message is served.
async fn refuses(place: &mut Place, face: Face) {
    let way = Way {
        bridge: &place.bridge,
        server: "raw",
        face,
    };
    let (transport, era) = (place.transport, Era::Legacy);
    let through = Conversation::through(&way, &mut place.behind, transport, era).await;
    let mut through = through.0;
    let recorded = corpus::not_messages().map(|(code, line)| (code, line.as_bytes().to_vec()));
    let well = corpus::rounds(era).swap_remove(0);
    for (code, bytes) in recorded {
        if let Err(reason) = refused(&mut through, code, &bytes, &well).await {
            panic!("{face:?}: {reason}: {}", String::from_utf8_lossy(&bytes));
        }
    }
    let through = RefCell::new(through);
    let outcome = runner(CASES).run(&message::no_message(), |(code, bytes)| {
        let through = &mut *through.borrow_mut();
        block_in_place(|| Handle::current().block_on(refused(through, code, &bytes, &well)))
            .map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, (_, bytes))) = outcome {
        panic!("{face:?}: {reason}: {}", bytes.escape_ascii());
    }
}

async fn refused(
    through: &mut Conversation<'_>,
    code: i64,
    bytes: &[u8],
    well: &Round,
) -> Result<(), String> {
    let refusal = through.babble(bytes).await?;
    let error: Value = serde_json::from_slice(&refusal).map_err(|error| error.to_string())?;
    if error["error"]["code"] != code || error["jsonrpc"] != "2.0" || !error["id"].is_null() {
        return Err(format!("not {code}, but {error}"));
    }
    through.play(well, well.framing).await.map(drop)
}
