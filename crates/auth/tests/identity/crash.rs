//! `kill -9` at any step of a refresh and of writing the vault: kills a process at a thousand
//! moments, and opens the vault that it leaves.
//!
//! The moments are random. The seed is printed, and `POSTERN_TESTS_SEED` replaces it. They begin
//! with an event (the request has arrived, the folder exists), so that they hit the time between
//! two writes however slow the machine is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use auth::{AuthorizationError, Vault, VaultState};
use model::{ManualClock, SecretName};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::authority::Rotation;
use super::fixture::{Fixture, clients, identity, shown};

/// The age of a token that should be refreshed, and of an expired one, in seconds.
const DUE: u64 = 3400;
const OVER: u64 = 3600;

/// How many rounds run undisturbed, to measure their duration.
const MEASURED: u32 = 10;

const SEED: u64 = 0x5eed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_refresh_with_rotation_needs_one_sign_in() {
    let seen = Renewing::start(Rotation::Strict).await.killed(400).await;
    seen.has_all();
    assert_eq!(
        seen.sign_ins, seen.lost,
        "a token that was used and not kept costs one sign-in, and nothing else does: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_refresh_at_entra_needs_no_sign_in() {
    let seen = Renewing::start(Rotation::Lenient).await.killed(400).await;
    seen.has_all();
    assert_eq!(seen.sign_ins, 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_during_vault_creation_leaves_usable_vault() {
    let mut chance = Chance::new();
    let (http, clock) = (clients(), ManualClock::new(UNIX_EPOCH));
    let mut seen = [0; 2];
    let mut spans = Vec::new();
    for round in 0..MEASURED + 200 {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("vault");
        let begun = Instant::now();
        let mut child = child(&folder, "http://127.0.0.1:9/mcp", super::START, "a-value");
        if round < MEASURED {
            end_of(&mut child).await;
            spans.push(begun.elapsed());
            continue;
        }
        // The folder is created in the second half of that time.
        let half = usual(spans.clone()) / 2;
        wait(half + chance.below(half)).await;
        child.kill().await.unwrap();

        let open = || identity(&http, &Vault::file(&folder), &clock);
        let secrets = open().secrets().await.unwrap();
        seen[secrets.len()] += 1;
        let name: SecretName = "changed".parse().unwrap();
        open().keep_secret(name.clone(), "another").await.unwrap();
        let kept = open().secret(&name).await.unwrap().unwrap();
        assert_eq!(kept, "another", "round {round}");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

/// Three grants and two secrets in one vault, of which one grant and one secret change.
struct Renewing {
    fixture: Fixture,
    /// Grants that do not change.
    others: [(Fixture, String); 2],
    dir: TempDir,
    chance: Chance,
    /// The duration of an undisturbed process: from its start, and from the arrival of its
    /// request.
    spans: [Duration; 2],
    /// The last content of the vault that changes.
    header: String,
    secret: String,
}

/// The event after which a process is killed at a random time.
#[derive(Clone, Copy)]
enum Moment {
    Start,
    /// Its token request has arrived.
    Arrival,
}

/// The outcomes of the rounds.
#[derive(Debug, Default)]
struct Seen {
    /// No tokens were issued.
    untouched: u32,
    /// Tokens were issued but not stored.
    lost: u32,
    /// Tokens were issued and stored.
    kept: u32,
    sign_ins: u32,
}

impl Seen {
    /// Asserts that some kills were before the use of the token, between use and store, and after.
    fn has_all(&self) {
        let all = [self.untouched, self.lost, self.kept];
        assert!(all.iter().all(|rounds| *rounds > 0), "{self:?}");
    }
}

impl Renewing {
    async fn start(rotation: Rotation) -> Self {
        let dir = TempDir::new().unwrap();
        let vault = Vault::file(dir.path());
        let mut others = Vec::new();
        for _ in 0..2 {
            let other = Fixture::with_vault(vault.clone()).await;
            other.authority.set(|b| b.lifetime = u64::from(u32::MAX));
            other.sign_in(&other.target()).await.unwrap();
            let header = other.header(&other.target()).await;
            others.push((other, header));
        }
        let fixture = Fixture::with_vault(vault).await;
        fixture.authority.set(|b| b.rotation = rotation);
        fixture.authority.gate.add_permits(10_000);
        fixture.sign_in(&fixture.target()).await.unwrap();
        for name in ["changed", "other"] {
            let kept = fixture.identity.keep_secret(name.parse().unwrap(), "value");
            kept.await.unwrap();
        }
        let mut renewing = Self {
            header: fixture.header(&fixture.target()).await,
            fixture,
            others: others.try_into().ok().unwrap(),
            dir,
            chance: Chance::new(),
            spans: [Duration::ZERO; 2],
            secret: "value".to_owned(),
        };
        let mut spans = [Vec::new(), Vec::new()];
        for _ in 0..MEASURED {
            let begun = Instant::now();
            let mut child = renewing.child("value", Moment::Arrival).await;
            let rest = end_of(&mut child).await;
            spans[0].push(begun.elapsed());
            spans[1].push(rest);
            renewing.look("value").await;
            renewing.go_on().await.unwrap();
        }
        renewing.spans = spans.map(usual);
        renewing
    }

    async fn killed(mut self, rounds: u32) -> Seen {
        let mut seen = Seen::default();
        for round in 0..rounds {
            let secret = format!("value-{round}");
            let issued = self.fixture.authority.secrets().len();
            let (moment, span) = match round % 4 {
                0 => (Moment::Start, self.spans[0]),
                _ => (Moment::Arrival, self.spans[1]),
            };
            let mut child = self.child(&secret, moment).await;
            wait(self.chance.below(span)).await;
            child.kill().await.unwrap();

            let is_kept = self.look(&secret).await;
            let is_issued = self.fixture.authority.secrets().len() != issued;
            *match (is_issued, is_kept) {
                (_, true) => &mut seen.kept,
                (true, false) => &mut seen.lost,
                (false, false) => &mut seen.untouched,
            } += 1;
            if let Err(error) = self.go_on().await {
                let needed = matches!(error, AuthorizationError::SignInNeeded { .. });
                assert!(needed && is_issued && !is_kept, "round {round}: {error}");
                seen.sign_ins += 1;
                self.fixture.sign_in(&self.fixture.target()).await.unwrap();
                self.header = self.fixture.header(&self.fixture.target()).await;
            }
        }
        seen
    }

    /// Starts a process that refreshes, and waits for the event.
    async fn child(&self, secret: &str, moment: Moment) -> Child {
        let target = self.fixture.target().url().to_string();
        let now = self.fixture.clock.clock().unix() + DUE;
        let arrival = self.fixture.authority.arrivals.notified();
        tokio::pin!(arrival);
        arrival.as_mut().enable();
        let child = child(self.dir.path(), &target, now, secret);
        if let Moment::Arrival = moment {
            within(arrival).await;
        }
        child
    }

    /// Opens the vault of the killed process: every record is there, and what it wrote is either
    /// old or new. Returns true if it stored new tokens.
    async fn look(&mut self, secret: &str) -> bool {
        self.fixture.vault = Vault::file(self.dir.path());
        self.fixture.identity = self.fixture.restarted();
        let identity = &self.fixture.identity;
        assert_eq!(identity.accounts().await.len(), 3);
        assert!(matches!(identity.vault_state(), VaultState::Ready { .. }));
        for (other, header) in &self.others {
            let found = identity.authorization(&other.target()).await;
            assert_eq!(shown(&found.unwrap().unwrap()), *header);
        }
        let names = ["changed", "other"].map(|name| name.parse::<SecretName>().unwrap());
        assert_eq!(identity.secrets().await.unwrap(), names);
        let found = identity.secret(&names[0]).await.unwrap().unwrap();
        let found = found.to_str().unwrap();
        assert!([secret, &self.secret].contains(&found), "{found}");
        self.secret = found.to_owned();
        let found = identity.authorization(&self.fixture.target()).await;
        let found = shown(&found.unwrap().unwrap());
        let is_kept = found != self.header;
        self.header = found;
        is_kept
    }

    /// Runs the next process undisturbed: it has tokens, or reports that it has none.
    async fn go_on(&mut self) -> Result<(), AuthorizationError> {
        self.fixture.advance(OVER);
        let target = self.fixture.target();
        let found = self.fixture.identity.authorization(&target).await?;
        self.header = shown(&found.unwrap());
        Ok(())
    }
}

fn child(folder: &Path, target: &str, now: u64, secret: &str) -> Child {
    Command::new(program())
        .arg(folder)
        .args([target, &now.to_string(), secret])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Returns how long the process still runs.
async fn end_of(child: &mut Child) -> Duration {
    let begun = Instant::now();
    assert!(within(child.wait()).await.unwrap().success());
    begun.elapsed()
}

/// Waits with microsecond precision, because the exact moment matters here.
async fn wait(time: Duration) {
    let end = Instant::now() + time;
    // The runtime's timer has millisecond precision.
    tokio::time::sleep(time.saturating_sub(Duration::from_millis(2))).await;
    while Instant::now() < end {
        tokio::task::yield_now().await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), work).await;
    ended.expect("nothing within a minute")
}

/// Returns how long most rounds take, and a little more.
fn usual(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2] * 6 / 5
}

/// Returns the example of that name, next to the tests.
fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().and_then(Path::parent).unwrap();
    let program = folder
        .join("examples/renew_once")
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.is_file(),
        "no {}; hint: cargo build -p auth --examples",
        program.display()
    );
    program
}

/// Pseudorandom numbers from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a seed from outside")]
        let seed = std::env::var("POSTERN_TESTS_SEED");
        let seed = seed.map_or(SEED, |seed| seed.parse().unwrap());
        println!("POSTERN_TESTS_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        Duration::from_nanos(z % u64::try_from(limit.as_nanos()).unwrap())
    }
}
