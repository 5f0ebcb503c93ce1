//! Which connections a gateway has, and which of them makes room for a new one.
//!
//! Owns: how many there are, and of which address; what is known of each. Does not own: the sockets,
//! and what a connection is used for.
//!
//! Invariants: a connection that a signed-in session uses right now never makes room. A new one is
//! turned away only if all others are of that kind, or if its address has all that one address may
//! have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// One address may have this part of all places: a company may have one.
const PART_OF_ADDRESS: usize = 4;

/// At once so many parts of a thousand make room, so that a flood of connections has few looks at all
/// of them.
const MADE_AT_ONCE: usize = 10;

/// The places.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: Mutex<Taken>,
    /// What times are counted from.
    begun: Instant,
}

#[derive(Debug, Default)]
struct Taken {
    next_number: u64,
    connections: HashMap<u64, Arc<Connection>>,
    of_address: HashMap<IpAddr, usize>,
}

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its address, if that has a limit.
    address: Option<IpAddr>,
    /// When its last request began or ended, in milliseconds after [`Places::begun`].
    used_at: AtomicU64,
    /// How many requests are open.
    open: AtomicUsize,
    /// Whether a signed-in session has used it.
    is_known: AtomicBool,
    /// Cancelled when it has to make room.
    pub(crate) closing: CancellationToken,
}

/// A connection's place. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

/// A request that is open, until its response has ended.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    places: Arc<Places>,
    connection: Arc<Connection>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
            begun: Instant::now(),
        })
    }

    /// Returns a place for a connection, if need be that of another one. `address` is `None` where no
    /// limit of one address holds: at a proxy, and where many people share it.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken();
        let of_address = address.and_then(|address| taken.of_address.get(&address));
        if of_address.is_some_and(|count| *count >= self.max.div_ceil(PART_OF_ADDRESS)) {
            taken.make_room(1, |connection| connection.address == address)?;
        }
        if taken.connections.len() >= self.max {
            let many = (self.max * MADE_AT_ONCE / 1000).max(1);
            taken.make_room(many, |_| true)?;
        }
        let connection = Arc::new(Connection {
            address,
            used_at: AtomicU64::new(self.now()),
            open: AtomicUsize::new(0),
            is_known: AtomicBool::new(false),
            closing: CancellationToken::new(),
        });
        taken.next_number += 1;
        let number = taken.next_number;
        taken.connections.insert(number, Arc::clone(&connection));
        if let Some(address) = address {
            *taken.of_address.entry(address).or_default() += 1;
        }
        Some(Place {
            places: Arc::clone(self),
            number,
            connection,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Frees up to `many` places: of idle connections first, those unused for longest, and of those
    /// that no session has used before others. Returns `None` if there is none to free.
    fn make_room(&mut self, many: usize, may: impl Fn(&Connection) -> bool) -> Option<()> {
        let mut candidates: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| may(connection))
            .filter_map(|(number, connection)| Some((connection.rank()?, *number)))
            .collect();
        let (first_rank, _) = candidates.iter().min()?;
        // Those in use go one by one, and only while no other is left.
        let many = if first_rank.0 == Rank::Unknown {
            1
        } else {
            many
        };
        candidates.sort_unstable();
        for (_, number) in candidates.into_iter().take(many) {
            if let Some(connection) = self.remove(number) {
                connection.closing.cancel();
            }
        }
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&number)?;
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

/// Which connections make room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    IdleUnknown,
    IdleKnown,
    /// In use, but not by a signed-in session.
    Unknown,
}

impl Connection {
    /// Notes that a signed-in session uses it.
    pub(crate) fn note_session(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Its rank, and since when it is unused; `None` if it must not make room.
    fn rank(&self) -> Option<(Rank, u64)> {
        let is_open = self.open.load(Ordering::Relaxed) > 0;
        let rank = match (is_open, self.is_known.load(Ordering::Relaxed)) {
            (false, false) => Rank::IdleUnknown,
            (false, true) => Rank::IdleKnown,
            (true, false) => Rank::Unknown,
            (true, true) => return None,
        };
        Some((rank, self.used_at.load(Ordering::Relaxed)))
    }
}

impl Place {
    /// Notes that a request has begun.
    pub(crate) fn open(&self) -> OpenRequest {
        self.connection.open.fetch_add(1, Ordering::Relaxed);
        let now = self.places.now();
        self.connection.used_at.store(now, Ordering::Relaxed);
        OpenRequest {
            places: Arc::clone(&self.places),
            connection: Arc::clone(&self.connection),
        }
    }

    /// For how long no request has been open.
    pub(crate) fn idle(&self) -> Duration {
        if self.connection.open.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let used_at = self.connection.used_at.load(Ordering::Relaxed);
        Duration::from_millis(self.places.now().saturating_sub(used_at))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.number);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let now = self.places.now();
        self.connection.used_at.store(now, Ordering::Relaxed);
        self.connection.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    /// Takes a place that was last used at this time.
    fn taken(places: &Arc<Places>, address: Option<IpAddr>, used_at: u64) -> Place {
        let place = places.take(address).expect("a place");
        place.connection.used_at.store(used_at, Ordering::Relaxed);
        place
    }

    fn makes_room(place: &Place) -> bool {
        place.connection.closing.is_cancelled()
    }

    #[test]
    fn idle_connections_make_room_and_those_of_sessions_last() {
        let places = Places::new(4);
        let used = taken(&places, None, 1);
        let known = taken(&places, None, 2);
        known.connection.note_session();
        let oldest = taken(&places, None, 3);
        let younger = taken(&places, None, 4);
        let _open = used.open();
        let first = taken(&places, None, 10);
        assert!(makes_room(&oldest) && !makes_room(&younger));
        let _second = taken(&places, None, 11);
        assert!(makes_room(&younger) && !makes_room(&known));
        let _open = first.open();
        let third = taken(&places, None, 12);
        assert!(!makes_room(&known), "the second one was idle and unknown");
        let _open = third.open();
        let fourth = taken(&places, None, 13);
        assert!(makes_room(&known) && !makes_room(&used));
        // All are in use now, and none by a session.
        let _open = fourth.open();
        let _fifth = places.take(None).expect("a place");
        assert!(makes_room(&used));
    }

    #[test]
    fn connection_that_a_session_uses_never_makes_room() {
        let places = Places::new(3);
        let all: Vec<_> = (0..3).map(|number| taken(&places, None, number)).collect();
        let open: Vec<_> = all.iter().map(Place::open).collect();
        for place in &all {
            place.connection.note_session();
        }
        assert!(places.take(None).is_none());
        drop(open);
        assert!(places.take(None).is_some());
        assert!(makes_room(&all[0]));
    }

    #[test]
    fn address_has_part_of_the_places() {
        let places = Places::new(40);
        let mut all: Vec<_> = (0..10)
            .map(|number| taken(&places, address(1), number))
            .collect();
        all.push(taken(&places, address(1), 20));
        assert!(makes_room(&all[0]) && !makes_room(&all[1]));
        all.push(taken(&places, address(2), 21));
        assert!(!makes_room(&all[1]), "another address");
        let open: Vec<_> = all.iter().map(Place::open).collect();
        for place in &all {
            place.connection.note_session();
        }
        assert!(places.take(address(1)).is_none());
        assert!(places.take(address(3)).is_some());
        drop((open, all));
        let taken = places.taken();
        assert!(taken.connections.is_empty() && taken.of_address.is_empty());
    }

    #[test]
    fn flood_of_connections_stays_within_the_places() {
        let places = Places::new(1_000);
        let all: Vec<_> = (0..5_000)
            .map(|_| places.take(None).expect("a place"))
            .collect();
        let open = all.iter().filter(|place| !makes_room(place)).count();
        assert!((900..=1_000).contains(&open), "{open}");
        assert_eq!(places.taken().connections.len(), open);
    }
}
