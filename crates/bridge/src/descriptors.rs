//! How many descriptors each part of a bridge may have.
//!
//! A connection is a descriptor, and so is a file. If one part took them all, the others would stop:
//! a server that many calls wait for, a host that opens connections and says nothing. So the HTTP
//! port and the connections to servers are capped, and the rest stays for what has no cap: one for
//! each stdio host and each client of the management API, files, sign-ins, and pipes of processes.

/// The most connections of hosts over HTTP, however many descriptors there are: each may hold a
/// request in memory.
const MAX_HTTP: usize = 1024;

/// Where the system has no limit, as on Windows.
const UNLIMITED: usize = 65_536;

/// The caps of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimits {
    /// Connections of hosts over HTTP, on the port and on the socket.
    pub(crate) http: usize,
    /// Connections to servers.
    pub(crate) upstream: usize,
}

impl DescriptorLimits {
    /// Derives the caps from the descriptors that the process may have: a quarter is for HTTP and
    /// three eighths are for servers. With 256 that leaves 96.
    #[must_use]
    pub fn from_limit(limit: Option<u64>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(UNLIMITED).min(UNLIMITED);
        Self {
            http: (limit / 4).clamp(1, MAX_HTTP),
            upstream: (limit / 8 * 3).max(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DescriptorLimits;

    #[test]
    fn caps_leave_descriptors_for_sockets() {
        for limit in [64, 256, 1024, 10_240, 65_536] {
            let DescriptorLimits { http, upstream } = DescriptorLimits::from_limit(Some(limit));
            let limit = usize::try_from(limit).unwrap();
            assert!(limit - http - upstream >= limit * 3 / 8, "{limit}");
        }
        let unlimited = DescriptorLimits::from_limit(None);
        assert_eq!(unlimited, DescriptorLimits::from_limit(Some(u64::MAX)));
        assert_eq!((unlimited.http, unlimited.upstream), (1024, 24_576));
    }
}
