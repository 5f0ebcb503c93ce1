//! Caps on the file descriptors that each part of a bridge may use.
//!
//! A connection takes a descriptor, and so does a file. Without caps one part could take them all
//! and stop the others: a server that many calls wait for, or a host that opens connections and
//! sends nothing. So the HTTP port and the connections to servers are capped. The rest serves what
//! has no cap: one for each stdio host and each client of the management API, files, sign-ins, and
//! pipes of processes.

/// The maximum of HTTP connections of hosts, whatever the descriptor limit is: each may hold a
/// request in memory.
const MAX_HTTP: usize = 1024;

/// The limit where the system has none, as on Windows.
const UNLIMITED: usize = 65_536;

/// The caps of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimits {
    /// HTTP connections of hosts, on the port and on the socket.
    pub(crate) http: usize,
    /// Connections to servers.
    pub(crate) upstream: usize,
}

impl DescriptorLimits {
    /// Derives the caps from the descriptor limit of the process: a quarter for HTTP and three
    /// eighths for servers. A limit of 256 leaves 96 for the rest.
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
