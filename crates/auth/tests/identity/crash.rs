//! `kill -9` at any step of a renewal and of writing the vault: a process of its own is killed at
//! a thousand moments, and what it leaves is opened.
//!
//! Moments are drawn from a seed that is printed; `POSTERN_TESTS_SEED` takes its place. They
//! begin with an event (the request has arrived, the folder is there), so that what lies between
//! two writes is met however slow the machine is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use auth::{AuthorizationError, Vault, VaultState};
use model::{ManualClock, SecretName};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::authority::Rotation;
use super::fixture::{Desk, clients, identity, shown};

/// How old a token is that is due and still works, and one that does not, in seconds.
const DUE: u64 = 3400;
const OVER: u64 = 3600;

/// How many rounds are let run, to see how long they take.
const MEASURED: u32 = 10;

const SEED: u64 = 0x5eed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_renews_where_a_used_token_is_dead() {
    let seen = Renewing::start(Rotation::Strict).await.killed(400).await;
    seen.has_all();
    assert_eq!(
        seen.sign_ins, seen.lost,
        "a token that was used and not kept costs one sign-in, and nothing else does: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_renews_at_entra() {
    let seen = Renewing::start(Rotation::Lenient).await.killed(400).await;
    seen.has_all();
    assert_eq!(seen.sign_ins, 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_makes_its_vault() {
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
        // The folder is made in the second half of its time.
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

/// Three sign-ins and two secrets in one vault, of which one sign-in and one secret change.
struct Renewing {
    desk: Desk,
    /// Theirs do not change.
    others: [(Desk, String); 2],
    dir: TempDir,
    chance: Chance,
    /// How long a process takes that nobody kills: from its start, and from the arrival of its
    /// request.
    spans: [Duration; 2],
    /// What the vault held last of what changes.
    header: String,
    secret: String,
}

/// From when on a process is given a random time to live.
#[derive(Clone, Copy)]
enum Moment {
    Start,
    /// Its request for new tokens has arrived.
    Arrival,
}

/// What became of the rounds.
#[derive(Debug, Default)]
struct Seen {
    /// Nothing was issued.
    untouched: u32,
    /// Tokens were issued, and are not in the vault.
    lost: u32,
    /// They are.
    kept: u32,
    sign_ins: u32,
}

impl Seen {
    /// Holds that some moments were before the use of the token, between use and store, and after.
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
            let other = Desk::with_vault(vault.clone()).await;
            other.authority.set(|b| b.lifetime = u64::from(u32::MAX));
            other.sign_in(&other.target()).await.unwrap();
            let header = other.header(&other.target()).await;
            others.push((other, header));
        }
        let desk = Desk::with_vault(vault).await;
        desk.authority.set(|b| b.rotation = rotation);
        desk.authority.gate.add_permits(10_000);
        desk.sign_in(&desk.target()).await.unwrap();
        for name in ["changed", "other"] {
            let kept = desk.identity.keep_secret(name.parse().unwrap(), "value");
            kept.await.unwrap();
        }
        let mut renewing = Self {
            header: desk.header(&desk.target()).await,
            desk,
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
            let issued = self.desk.authority.secrets().len();
            let (moment, span) = match round % 4 {
                0 => (Moment::Start, self.spans[0]),
                _ => (Moment::Arrival, self.spans[1]),
            };
            let mut child = self.child(&secret, moment).await;
            wait(self.chance.below(span)).await;
            child.kill().await.unwrap();

            let is_kept = self.look(&secret).await;
            let is_issued = self.desk.authority.secrets().len() != issued;
            *match (is_issued, is_kept) {
                (_, true) => &mut seen.kept,
                (true, false) => &mut seen.lost,
                (false, false) => &mut seen.untouched,
            } += 1;
            if let Err(error) = self.go_on().await {
                let needed = matches!(error, AuthorizationError::SignInNeeded { .. });
                assert!(needed && is_issued && !is_kept, "round {round}: {error}");
                seen.sign_ins += 1;
                self.desk.sign_in(&self.desk.target()).await.unwrap();
                self.header = self.desk.header(&self.desk.target()).await;
            }
        }
        seen
    }

    /// A process that is about to renew, at that moment.
    async fn child(&self, secret: &str, moment: Moment) -> Child {
        let target = self.desk.target().url.to_string();
        let now = self.desk.clock.clock().unix() + DUE;
        let arrival = self.desk.authority.arrivals.notified();
        tokio::pin!(arrival);
        arrival.as_mut().enable();
        let child = child(self.dir.path(), &target, now, secret);
        if let Moment::Arrival = moment {
            within(arrival).await;
        }
        child
    }

    /// Opens what the process left: every record is there, and what it wrote is the old one or
    /// the new one. Says whether it kept new tokens.
    async fn look(&mut self, secret: &str) -> bool {
        self.desk.vault = Vault::file(self.dir.path());
        self.desk.identity = self.desk.restarted();
        let identity = &self.desk.identity;
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
        let found = identity.authorization(&self.desk.target()).await;
        let found = shown(&found.unwrap().unwrap());
        let is_kept = found != self.header;
        self.header = found;
        is_kept
    }

    /// The next process, which nobody kills: it has what it needs, or says that it does not.
    async fn go_on(&mut self) -> Result<(), AuthorizationError> {
        self.desk.advance(OVER);
        let target = self.desk.target();
        let found = self.desk.identity.authorization(&target).await?;
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

/// How long the process takes to its end from here.
async fn end_of(child: &mut Child) -> Duration {
    let begun = Instant::now();
    assert!(within(child.wait()).await.unwrap().success());
    begun.elapsed()
}

/// Lets some time pass, to the microsecond: the moment is what is tried here.
async fn wait(time: Duration) {
    let end = Instant::now() + time;
    // The runtime's timer knows milliseconds.
    tokio::time::sleep(time.saturating_sub(Duration::from_millis(2))).await;
    while Instant::now() < end {
        tokio::task::yield_now().await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), work).await;
    ended.expect("nothing within a minute")
}

/// How long most take, and a little more.
fn usual(mut spans: Vec<Duration>) -> Duration {
    spans.sort();
    spans[spans.len() / 2] * 6 / 5
}

/// The example of that name, which lies beside the tests.
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

/// Numbers in an order that a seed decides (SplitMix64).
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
