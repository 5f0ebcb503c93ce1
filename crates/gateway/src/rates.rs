//! Rate limits for everything that costs the gateway something before a user has signed in.
//!
//! Owns: the limits per address and per network. Does not own: which address a request comes from.
//!
//! There is no limit for all visitors together, because one visitor could exhaust it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use crate::visitors::Visitor;

type Limiter = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, MonotonicClock>;

/// The limit of one address. A company of thousands may share it, and all may arrive within minutes.
const OF_ADDRESS: Allowance = Allowance {
    burst: 6_000,
    per_second: 2,
};

/// How many invalid codes one address may present.
const WRONG_CODES_OF_ADDRESS: Allowance = Allowance {
    burst: 300,
    per_second: 1,
};

/// The limit of a network, as a multiple of that of an address.
const NETWORK_FACTOR: u32 = 4;

/// The limit of an address that many users share, as a multiple of the usual one.
const SHARED_FACTOR: u32 = 10;

/// After how many counts addresses that were not counted recently are removed.
const FORGET_EVERY: u32 = 10_000;

#[derive(Clone, Copy)]
struct Allowance {
    burst: u32,
    per_second: u32,
}

/// The limits of a gateway.
pub(crate) struct Rates {
    /// The registrations of new clients.
    pub(crate) registrations: Rate,
    /// The callbacks from Entra.
    pub(crate) callbacks: Rate,
    /// The sign-ins that are written to the store, and lookups of them.
    pub(crate) stored_sign_ins: Rate,
    /// The invalid codes.
    pub(crate) wrong_codes: Rate,
}

/// A visitor has exceeded a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// How long the visitor has to wait.
    pub(crate) wait: Duration,
}

/// One limit.
pub(crate) struct Rate {
    usual: Limits,
    /// For addresses that many users share.
    shared: Limits,
    counted: AtomicU32,
}

struct Limits {
    of_address: Limiter,
    of_network: Limiter,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            registrations: Rate::new(OF_ADDRESS),
            callbacks: Rate::new(OF_ADDRESS),
            // Each sign-in counts twice.
            stored_sign_ins: Rate::new(OF_ADDRESS.times(2)),
            wrong_codes: Rate::new(WRONG_CODES_OF_ADDRESS),
        }
    }
}

impl TooOften {
    /// Returns the wait in whole seconds, for `Retry-After`.
    pub(crate) fn seconds(self) -> u64 {
        self.wait.as_secs() + 1
    }
}

impl Rate {
    fn new(allowance: Allowance) -> Self {
        Self {
            usual: Limits::new(allowance),
            shared: Limits::new(allowance.times(SHARED_FACTOR)),
            counted: AtomicU32::new(0),
        }
    }

    /// Counts one event of a visitor.
    ///
    /// # Errors
    ///
    /// If that exceeds the limit of its address or its network.
    pub(crate) fn count(&self, visitor: &Visitor) -> Result<(), TooOften> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.usual.forget();
            self.shared.forget();
        }
        match visitor.is_shared {
            true => self.shared.count(visitor),
            false => self.usual.count(visitor),
        }
    }
}

impl Allowance {
    fn times(self, factor: u32) -> Self {
        Self {
            burst: self.burst * factor,
            per_second: self.per_second * factor,
        }
    }

    fn limiter(self) -> Limiter {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(self.per_second));
        let quota = quota.allow_burst(at_least_one(self.burst));
        RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock)
    }
}

impl Limits {
    fn new(allowance: Allowance) -> Self {
        Self {
            of_address: allowance.limiter(),
            of_network: allowance.times(NETWORK_FACTOR).limiter(),
        }
    }

    fn count(&self, visitor: &Visitor) -> Result<(), TooOften> {
        self.of_address
            .check_key(&visitor.address)
            .map_err(TooOften::from)?;
        self.of_network
            .check_key(&visitor.network)
            .map_err(TooOften::from)
    }

    fn forget(&self) {
        for limiter in [&self.of_address, &self.of_network] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

impl From<NotUntil<std::time::Instant>> for TooOften {
    fn from(refused: NotUntil<std::time::Instant>) -> Self {
        Self {
            wait: refused.wait_time_from(MonotonicClock.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(address: &str, network: &str) -> Visitor {
        Visitor {
            address: address.parse().unwrap(),
            network: network.parse().unwrap(),
            is_shared: false,
        }
    }

    fn counted(rate: &Rate, visitor: &Visitor, most: u32) -> u32 {
        let counted = (0..most).take_while(|_| rate.count(visitor).is_ok());
        u32::try_from(counted.count()).unwrap()
    }

    #[test]
    fn rates_allow_shared_address_and_stop_flood() {
        let rates = Rates::new();
        let company = visitor("192.0.2.1", "192.0.2.0");
        for rate in [&rates.registrations, &rates.callbacks] {
            assert_eq!(counted(rate, &company, 5_000), 5_000);
            let more = counted(rate, &company, 100_000);
            assert!((1_000..2_000).contains(&more), "{more}");
            let TooOften { wait } = rate.count(&company).unwrap_err();
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
            let other = visitor("192.0.2.2", "192.0.2.0");
            assert!(rate.count(&other).is_ok(), "its neighbour");
        }
        let shared = Visitor {
            is_shared: true,
            ..company
        };
        assert_eq!(counted(&rates.registrations, &shared, 50_000), 50_000);
    }

    #[test]
    fn rates_limit_each_network() {
        let rates = Rates::new();
        let of_network: u32 = (0..8)
            .map(|number| {
                let visitor = visitor(&format!("192.0.2.{number}"), "192.0.2.0");
                counted(&rates.registrations, &visitor, 6_000)
            })
            .sum();
        assert!((24_000..25_000).contains(&of_network), "{of_network}");
        let other = visitor("198.51.100.1", "198.51.100.0");
        assert!(rates.registrations.count(&other).is_ok());
    }

    #[test]
    fn rates_limit_wrong_codes_per_address() {
        let rates = Rates::new();
        let visitor = visitor("192.0.2.1", "192.0.2.0");
        let wrong = counted(&rates.wrong_codes, &visitor, 10_000);
        assert!((300..310).contains(&wrong), "{wrong}");
    }

    #[test]
    fn rates_drop_old_addresses() {
        let rates = Rates::new();
        let addresses = &rates.callbacks.usual.of_address;
        for number in 0..10_000_000 {
            let address = std::net::Ipv4Addr::from_bits(number);
            let visitor = visitor(&address.to_string(), &address.to_string());
            assert!(rates.callbacks.count(&visitor).is_ok());
            if addresses.len() < number as usize / 2 {
                return;
            }
        }
        panic!("{} are kept", addresses.len());
    }
}
