use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Account, Budget, FLOOR, HOLD_TIMEOUT, MAX_UNCOUNTED, Reservation, WAIT_TIMEOUT};

const MIB: usize = 1 << 20;

/// Long enough for everything that can complete now, on a paused clock.
const MOMENT: Duration = Duration::from_millis(1);

/// Reads a message of this many bytes. Returns `None` if there is no room now.
async fn read(account: &Account, length: usize) -> Option<Bytes> {
    timeout(MOMENT, read_whole(account, length)).await.ok()
}

async fn read_whole(account: &Account, length: usize) -> Bytes {
    let mut reservation = account.reserve();
    for step in 1..=16 {
        reservation.grow(length * step / 16).await;
    }
    reservation.own(vec![0; length].into())
}

async fn held(account: &Account, length: usize) -> Reservation {
    let mut reservation = account.reserve();
    let growing = reservation.grow(length);
    timeout(MOMENT, growing).await.expect("room");
    reservation
}

#[tokio::test(start_paused = true)]
async fn message_counts_until_its_last_copy_is_dropped() {
    let budget = Budget::with_limit(8 * MIB);
    let account = budget.account();
    let message = read(&account, 4 * MIB).await.expect("room");
    let part = message.slice(..1);
    drop(message);
    assert_eq!(account.used().pool.total(), 4 * MIB);
    assert_eq!(budget.pool().total(), 4 * MIB - FLOOR);
    drop(part);
    assert_eq!(account.used().pool.total(), 0);
    assert_eq!(budget.pool().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_one_message_over_limit_is_read_at_once() {
    let budget = Budget::with_limit(4 * MIB);
    let account = budget.account_with_limit(2 * MIB);
    let long = read(&account, 64 * MIB).await.expect("one may exceed");
    assert!(
        read(&account, MIB).await.is_some(),
        "what exceeds takes no room from others"
    );
    assert!(read(&account, 64 * MIB).await.is_none());
    drop(long);
    assert!(read(&account, 64 * MIB).await.is_some());
    assert_eq!(budget.pool().total(), 0);
    assert_eq!(account.used().pool.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn full_budget_leaves_each_account_its_floor() {
    let budget = Budget::with_limit(4 * MIB);
    let (one, two) = (budget.account(), budget.account());
    let _all = (held(&one, 8 * MIB).await, held(&two, 5 * MIB).await);
    let waiting = budget.account();
    let waits = tokio::spawn(async move { read_whole(&waiting, 2 * MIB).await });
    tokio::time::sleep(MOMENT).await;
    let account = budget.account();
    let floor = read(&account, FLOOR).await.expect("its own");
    assert!(read(&account, 2 * MAX_UNCOUNTED).await.is_none());
    assert!(read(&account, MAX_UNCOUNTED).await.is_some());
    drop(floor);
    assert!(read(&account, FLOOR).await.is_some());
    assert!(!waits.is_finished());
}

#[tokio::test(start_paused = true)]
async fn stopped_account_leaves_whole_budget_to_others() {
    let budget = Budget::default();
    let (stopped, other) = (budget.account(), budget.account());
    let mut queued = Vec::new();
    while let Some(message) = read(&stopped, 16 * MIB).await {
        queued.push(message);
    }
    assert!(queued.len() < 8);
    for _ in 0..10 {
        assert!(read(&other, 32 * MIB).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn held_memory_is_overdue_when_others_wait() {
    let budget = Budget::with_limit(4 * MIB);
    let begun = Instant::now();
    let accounts = [budget.account(), budget.account()];
    let held = (
        held(&accounts[0], 6 * MIB).await,
        held(&accounts[1], 5 * MIB).await,
    );
    let alone = timeout(HOLD_TIMEOUT * 10, held.0.overdue()).await;
    assert!(alone.is_err(), "no account waits");
    let waiting = budget.account();
    let waits = tokio::spawn(async move { read_whole(&waiting, 2 * MIB).await });
    let waiting_since = Instant::now();
    held.0.overdue().await;
    let waited = waiting_since.elapsed();
    assert!(waited >= WAIT_TIMEOUT && waited < WAIT_TIMEOUT * 2);
    assert!(begun.elapsed() >= HOLD_TIMEOUT);
    let under_floor = budget.account();
    let small = timeout(HOLD_TIMEOUT * 2, under_floor.overdue(begun)).await;
    assert!(small.is_err(), "it keeps nothing from others");
    assert!(!waits.is_finished());
    drop(held.0);
    waits.await.expect("room");
}

#[tokio::test(start_paused = true)]
async fn abandoned_wait_keeps_no_memory() {
    let budget = Budget::with_limit(2 * MIB);
    let accounts = [budget.account(), budget.account(), budget.account()];
    let all = (
        held(&accounts[0], 4 * MIB).await,
        held(&accounts[1], 3 * MIB).await,
    );
    for _ in 0..3 {
        assert!(read(&accounts[2], 3 * MIB).await.is_none());
    }
    drop(all);
    assert!(read(&accounts[2], 3 * MIB).await.is_some());
    assert_eq!(budget.pool().total(), 0);
}

/// Xorshift: the same order in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn length(&mut self) -> usize {
        let most = [64 << 10, 2 << 20, 20 << 20][usize::try_from(self.roll(3)).expect("small")];
        usize::try_from(self.roll(most)).expect("small") + 1
    }
}

/// A host that takes messages in order, each after a while, and readers of its server that read in
/// pieces, some of which are cancelled.
async fn session(account: Account, seed: u64) {
    let (to_host, mut from) = tokio::sync::mpsc::channel::<Bytes>(8);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut dice = Dice(seed);
        while let Some(message) = from.recv().await {
            tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
            drop(message);
        }
    });
    for reader in 1..=3 {
        let (account, to_host) = (account.clone(), to_host.clone());
        tasks.spawn(async move {
            let mut dice = Dice(seed * 4 + reader);
            for _ in 0..20 {
                let (length, gives_up) = (dice.length(), dice.roll(8) == 0);
                let mut reservation = account.reserve();
                let mut at = 0;
                let reading = async {
                    while at < length {
                        at += usize::try_from(dice.roll(1 << 20)).expect("small") + 1;
                        reservation.grow(at.min(length)).await;
                        tokio::time::sleep(Duration::from_micros(dice.roll(2000))).await;
                    }
                };
                let limit = match gives_up {
                    true => Duration::from_millis(5),
                    false => Duration::MAX,
                };
                if timeout(limit, reading).await.is_ok() {
                    let message = reservation.own(vec![0; length].into());
                    to_host.send(message).await.expect("a host");
                }
            }
        });
    }
    drop(to_host);
    tasks.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn readers_in_any_order_all_finish() {
    for seed in 1..=20 {
        let budget = Budget::with_limit(6 * MIB);
        let mut sessions = JoinSet::new();
        for number in 1..=4 {
            let account = budget.account_with_limit(4 * MIB);
            sessions.spawn(session(account, seed * 100 + number));
        }
        let all = timeout(Duration::from_secs(3600), sessions.join_all()).await;
        assert!(all.is_ok(), "seed {seed}: they wait for each other");
        assert_eq!(budget.pool().total(), 0, "seed {seed}");
    }
}
