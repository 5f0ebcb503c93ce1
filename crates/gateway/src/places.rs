//! The connections of a gateway: how long each may stay open, and which of them closes for a new one.
//!
//! Owns: the number of connections, in total and per address, and the open requests of each. Does not
//! own: the sockets, and the content of requests.
//!
//! Invariants: a connection that a session is using is never closed for another one. If all
//! connections are of that kind, new ones get a reserve that no session can use. So health checks and
//! sign-ins continue.

mod requests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use requests::{Connection, OpenRequest};
use requests::{Kind, Rank};

/// How many requests without a session may be open. Each holds some KiB.
const MAX_ANONYMOUS: usize = 4096;
/// One address may have one part in so many of all places. A company may share one address.
const PART_OF_ADDRESS: usize = 4;
/// How many more places there are for requests without a session when sessions use all others.
const RESERVE: usize = 32;
/// How many thousandths of all places are freed at once, so that a flood of connections causes few
/// searches through all of them.
const MADE_AT_ONCE: usize = 10;
/// How many descriptors are for the store, the log, the listener and the identity provider.
const OTHER_DESCRIPTORS: usize = 64;

/// Returns the number of places. A connection needs a descriptor, and another one to its backend.
/// `limit` is the process's maximum.
pub(crate) fn places_within(max: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return max;
    };
    let possible = limit.saturating_sub(OTHER_DESCRIPTORS).max(2) / 2;
    if possible < max {
        tracing::warn!(
            descriptors = limit,
            connections = possible,
            "there are too few descriptors for max_connections; hint: raise the limit of open files \
             to twice max_connections and {OTHER_DESCRIPTORS} more"
        );
    }
    possible.min(max)
}

/// The places for connections.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: Mutex<Taken>,
    /// How many requests without a session are open.
    anonymous: Arc<AtomicUsize>,
    /// The origin of all times.
    start: Instant,
}

#[derive(Debug, Default)]
struct Taken {
    next_number: u64,
    connections: HashMap<u64, Arc<Connection>>,
    of_address: HashMap<IpAddr, usize>,
    /// How many of the connections are in the reserve.
    in_reserve: usize,
    /// How many connections were told to close and are still open.
    leaving: usize,
    events: Events,
}

/// The events since the last summary.
#[derive(Debug, Default)]
struct Events {
    /// Connections that were closed for others.
    closed: u64,
    /// Connections that got no place.
    refused: u64,
    /// An address that has reached its limit.
    full_address: Option<IpAddr>,
    /// How many connections could not be accepted, and the last error.
    failed: u64,
    failure: String,
}

/// A connection's place. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
            anonymous: Arc::default(),
            start: Instant::now(),
        })
    }

    /// Returns a place for a connection, and closes another one if necessary. `address` is `None` if
    /// the limit per address does not apply: for a proxy, and for an address that many users share.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken();
        let Some(kind) = self.make_room_for(address, &mut taken) else {
            taken.events.refused += 1;
            return None;
        };
        let anonymous = Arc::clone(&self.anonymous);
        let connection = Connection::new(address, kind, self.start, anonymous);
        taken.next_number += 1;
        let number = taken.next_number;
        taken.connections.insert(number, Arc::clone(&connection));
        taken.in_reserve += usize::from(!connection.is_usual());
        if let Some(address) = address {
            *taken.of_address.entry(address).or_default() += 1;
        }
        Some(Place {
            places: Arc::clone(self),
            number,
            connection,
        })
    }

    fn make_room_for(&self, address: Option<IpAddr>, taken: &mut Taken) -> Option<Kind> {
        let share = self.max.div_ceil(PART_OF_ADDRESS);
        let of_address = address.and_then(|address| taken.of_address.get(&address));
        if of_address.is_some_and(|count| *count >= share) {
            taken.events.full_address = address;
            let is_of_address = |connection: &Connection| connection.address == address;
            if !taken.make_room(part_at_once(share), is_of_address) {
                return None;
            }
        }
        if taken.connections.len() + taken.leaving >= 2 * self.max + RESERVE {
            return None;
        }
        let usual = taken.connections.len() - taken.in_reserve;
        if usual < self.max || taken.make_room(part_at_once(self.max), Connection::is_usual) {
            return Some(Kind::Usual);
        }
        let is_in_reserve = |connection: &Connection| !connection.is_usual();
        let has_reserve = taken.in_reserve < RESERVE || taken.make_room(1, is_in_reserve);
        has_reserve.then_some(Kind::Reserve)
    }

    /// Records that a connection could not be accepted. Closes idle ones, because descriptors may be
    /// exhausted.
    pub(crate) fn record_failure(&self, error: &std::io::Error) {
        let mut taken = self.taken();
        taken.events.failed += 1;
        taken.events.failure = error.to_string();
        taken.make_room(part_at_once(self.max), |_| true);
    }

    /// Logs the events since the last summary.
    pub(crate) fn summarize(&self) {
        let events = std::mem::take(&mut self.taken().events);
        if let Some(address) = events.full_address {
            tracing::warn!(
                %address,
                "this address has reached its limit of connections; hint: if it is a \
                 proxy's, name it in trusted_proxies; if many people share it, in trusted_networks"
            );
        }
        let Events {
            closed,
            refused,
            failed,
            failure,
            ..
        } = events;
        if closed + refused > 0 {
            tracing::warn!(
                closed,
                refused,
                "connections were closed for new ones, or refused"
            );
        }
        if failed > 0 {
            tracing::warn!(failed, error = failure, "connections could not be accepted");
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part_at_once(places: usize) -> usize {
    (places * MADE_AT_ONCE / 1000).max(1)
}

impl Taken {
    /// Frees up to `many` places of idle connections. Closes those that no session has used first, and
    /// the longest unused ones first. If no connection is idle, closes the one with the oldest request
    /// without a session. Returns false if there was none.
    fn make_room(&mut self, many: usize, may: impl Fn(&Connection) -> bool) -> bool {
        let mut candidates: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| may(connection))
            .filter_map(|(number, connection)| Some((connection.rank()?, *number)))
            .collect();
        let many = match candidates.iter().min() {
            None => return false,
            Some(((Rank::InUse, _), _)) => 1,
            Some(_) => {
                candidates.retain(|((rank, _), _)| *rank != Rank::InUse);
                many
            }
        };
        if many < candidates.len() {
            candidates.select_nth_unstable(many);
            candidates.truncate(many);
        }
        for (_, number) in candidates {
            if let Some(connection) = self.remove(number) {
                connection.make_room();
                self.leaving += 1;
                self.events.closed += 1;
            }
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&number)?;
        self.in_reserve -= usize::from(!connection.is_usual());
        if let Some(address) = connection.address
            && let Some(count) = self.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
        Some(connection)
    }
}

impl Place {
    /// Records that a request has begun. Holds `call` until it has ended. If too many requests have no
    /// session, closes the connection with the oldest one.
    pub(crate) fn begin(&self, call: TaskTrackerToken) -> OpenRequest {
        let request = self.connection.begin(call);
        if self.places.anonymous.load(Ordering::Relaxed) > MAX_ANONYMOUS {
            let mut taken = self.places.taken();
            taken.make_room(1, Connection::serves_anonymous);
        }
        request
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if taken.remove(self.number).is_none() {
            taken.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn taken(places: &Arc<Places>, address: Option<IpAddr>) -> Place {
        // Places are told apart by milliseconds.
        let place = places.take(address).expect("a place");
        let now = std::time::Instant::now();
        while now.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        place
    }

    fn begun(place: &Place) -> OpenRequest {
        place.begin(TaskTracker::new().token())
    }

    fn of_session(place: &Place) -> OpenRequest {
        let request = begun(place);
        assert!(request.record_session());
        request
    }

    fn makes_room(place: &Place) -> bool {
        place.connection.closing.is_cancelled()
    }

    #[test]
    fn idle_connections_close_first_and_session_ones_last() {
        let places = Places::new(4);
        let used = taken(&places, None);
        let known = taken(&places, None);
        drop(of_session(&known));
        let oldest = taken(&places, None);
        let younger = taken(&places, None);
        let _open = begun(&used);
        let first = taken(&places, None);
        assert!(makes_room(&oldest) && !makes_room(&younger));
        let _second = taken(&places, None);
        assert!(makes_room(&younger) && !makes_room(&known));
        let _open = begun(&first);
        let third = taken(&places, None);
        assert!(!makes_room(&known), "the second one was idle and unknown");
        let _open = begun(&third);
        let fourth = taken(&places, None);
        assert!(makes_room(&known) && !makes_room(&used));
        // All are in use now, and none by a session.
        let _open = begun(&fourth);
        let _fifth = places.take(None).expect("a place");
        assert!(makes_room(&used));
    }

    #[test]
    fn connection_in_use_by_session_is_never_closed() {
        let places = Places::new(10);
        let all: Vec<_> = (0..10).map(|_| taken(&places, None)).collect();
        let open: Vec<_> = all.iter().map(of_session).collect();
        let reserve: Vec<_> = (0..RESERVE + 5).map(|_| taken(&places, None)).collect();
        assert!(!all.iter().any(makes_room));
        assert!(makes_room(&reserve[4]) && !makes_room(&reserve[5]));
        assert!(
            !begun(&reserve[5]).record_session(),
            "sessions cannot use the reserve"
        );
        drop(open);
        // That sessions used a connection before does not protect a request without one.
        let _anonymous: Vec<_> = all.iter().map(begun).collect();
        assert!(places.take(None).is_some());
        assert!(makes_room(&all[0]));
    }

    #[test]
    fn session_cannot_take_place_of_another_connection() {
        let places = Places::new(2);
        let used = [taken(&places, None), taken(&places, None)];
        let _sessions = used.each_ref().map(of_session);
        let (first, second) = (taken(&places, None), taken(&places, None));
        assert_eq!(places.taken().in_reserve, 2);
        let late = begun(&first);
        drop(second);
        let [kept, ended] = used;
        drop(ended);
        let usual = taken(&places, None);
        assert!(
            usual.connection.is_usual(),
            "the reserve takes no usual place"
        );
        let late_too = begun(&usual);
        let newer = taken(&places, None);
        assert!(!late.record_session() && makes_room(&usual));
        assert!(!late_too.record_session());
        assert!(of_session(&newer).record_session());
        drop((late, late_too, first, usual, newer, kept));
        assert_eq!(places.taken().leaving, 0);
    }

    #[test]
    fn connections_in_use_stay_while_idle_ones_exist() {
        let places = Places::new(1_000);
        let all: Vec<_> = (0..1_000)
            .map(|_| places.take(None).expect("a place"))
            .collect();
        let _open: Vec<_> = all[1..].iter().map(begun).collect();
        let _new = places.take(None).expect("a place");
        assert!(makes_room(&all[0]));
        assert!(!all[1..].iter().any(makes_room));
    }

    #[test]
    fn requests_without_session_are_limited_and_oldest_end() {
        let places = Places::new(100);
        let flooding = taken(&places, None);
        let _open: Vec<_> = (0..MAX_ANONYMOUS).map(|_| begun(&flooding)).collect();
        let visitor = taken(&places, None);
        assert!(!makes_room(&flooding));
        let _open = begun(&visitor);
        assert!(makes_room(&flooding) && !makes_room(&visitor));
        let _open = begun(&taken(&places, None));
        assert!(!makes_room(&visitor), "what makes room counts no more");
    }

    #[test]
    fn connection_that_aborts_many_requests_is_closed() {
        let places = Places::new(100);
        let (flooding, proxy) = (taken(&places, address(1)), taken(&places, None));
        for place in [&flooding, &proxy] {
            (0..200).for_each(|_| begun(place).finish());
            (0..200).for_each(|_| drop(of_session(place)));
        }
        assert!(!makes_room(&flooding));
        for place in [&flooding, &proxy] {
            (0..200).for_each(|_| drop(begun(place)));
        }
        assert!(makes_room(&flooding) && !makes_room(&proxy));
    }

    #[test]
    fn places_per_address_are_limited() {
        let places = Places::new(40);
        let mut all: Vec<_> = (0..10).map(|_| taken(&places, address(1))).collect();
        all.push(taken(&places, address(1)));
        assert!(makes_room(&all[0]) && !makes_room(&all[1]));
        all.push(taken(&places, address(2)));
        assert!(!makes_room(&all[1]), "another address");
        all.retain(|place| !makes_room(place));
        let open: Vec<_> = all.iter().map(of_session).collect();
        assert!(places.take(address(1)).is_none());
        assert!(places.take(address(3)).is_some());
        drop((open, all));
        let taken = places.taken();
        assert!(taken.connections.is_empty() && taken.of_address.is_empty());
        assert_eq!(places.anonymous.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn connection_flood_stays_within_limit() {
        let places = Places::new(1_000);
        let mut all = Vec::new();
        for _ in 0..5_000 {
            all.push(places.take(None).expect("a place"));
            all.retain(|place| !makes_room(place));
        }
        assert!((900..=1_000).contains(&all.len()), "{}", all.len());
        assert_eq!(places.taken().connections.len(), all.len());
        assert_eq!(places.taken().leaving, 0);
    }

    #[test]
    fn unclosed_connections_take_at_most_twice_limit() {
        let places = Places::new(100);
        let all: Vec<_> = std::iter::from_fn(|| places.take(None)).collect();
        assert_eq!(all.len(), 2 * 100 + RESERVE);
        drop(all);
        assert!(places.take(None).is_some());
    }

    #[test]
    fn places_fit_within_descriptor_limit() {
        for (max, limit, expected) in [
            (10_000, None, 10_000),
            (10_000, Some(65_536), 10_000),
            (10_000, Some(1_024), 480),
            (100, Some(1_024), 100),
            (100, Some(10), 1),
        ] {
            assert_eq!(places_within(max, limit), expected, "{limit:?}");
        }
    }
}
