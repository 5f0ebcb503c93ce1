//! The table of TCP connections of Windows, from `GetExtendedTcpTable`: a count, and that many rows of
//! `MIB_TCPROW_OWNER_PID` or `MIB_TCP6ROW_OWNER_PID`.

use std::net::{IpAddr, SocketAddr};

/// The length of a row and the offsets of its fields, in bytes.
struct Layout {
    row: usize,
    state: usize,
    local: usize,
    local_port: usize,
    remote: usize,
    remote_port: usize,
    process: usize,
}

const V4: Layout = Layout {
    row: 24,
    state: 0,
    local: 4,
    local_port: 8,
    remote: 12,
    remote_port: 16,
    process: 20,
};

/// A scope follows each address, which has no meaning on loopback.
const V6: Layout = Layout {
    row: 56,
    state: 48,
    local: 0,
    local_port: 20,
    remote: 24,
    remote_port: 44,
    process: 52,
};

/// `MIB_TCP_STATE_ESTAB`.
const ESTABLISHED: u32 = 5;

/// The process that has an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The process with this ID.
    Process(u32),
    /// No process, because that end is closed.
    Closed,
    /// A process that the table does not name, for example because Wine keeps the socket for it.
    Unnamed,
}

/// Returns the owner of `own`, the local end of the connection to `other`. Returns `None` if there is
/// no such connection. The table must be that of their address family.
pub(super) fn holder(table: &[u8], own: SocketAddr, other: SocketAddr) -> Option<Holder> {
    let layout = match own.ip() {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    };
    let count = usize::try_from(number(table, 0)?).ok()?;
    let mut rows = table.get(4..)?.chunks_exact(layout.row).take(count);
    let row = rows.find(|row| {
        is_at(row, layout.local, layout.local_port, own)
            && is_at(row, layout.remote, layout.remote_port, other)
    })?;
    Some(
        match (number(row, layout.process)?, number(row, layout.state)?) {
            (0, ESTABLISHED) => Holder::Unnamed,
            (0, _) => Holder::Closed,
            (process, _) => Holder::Process(process),
        },
    )
}

/// Returns whether the row has this end. Addresses and ports are in network byte order.
fn is_at(row: &[u8], address: usize, port: usize, end: SocketAddr) -> bool {
    let starts = |at: usize, bytes: &[u8]| row.get(at..).is_some_and(|row| row.starts_with(bytes));
    let is_address = match end.ip() {
        IpAddr::V4(ip) => starts(address, &ip.octets()),
        IpAddr::V6(ip) => starts(address, &ip.octets()),
    };
    is_address && starts(port, &end.port().to_be_bytes())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::{ESTABLISHED, Holder, holder};

    /// Builds a table with these connections: local end, remote end, process.
    fn table(connections: &[(&str, &str, u32)], state: u32) -> Vec<u8> {
        let mut table = (connections.len() as u32).to_ne_bytes().to_vec();
        for (own, other, process) in connections {
            let is_v6 = own.starts_with('[');
            if !is_v6 {
                table.extend(state.to_ne_bytes());
            }
            for end in [own, other] {
                let end: SocketAddr = end.parse().unwrap();
                match end.ip() {
                    IpAddr::V4(ip) => table.extend(ip.octets()),
                    IpAddr::V6(ip) => {
                        table.extend(ip.octets());
                        table.extend([0; 4]);
                    }
                }
                table.extend(end.port().to_be_bytes());
                // Windows leaves arbitrary bytes after a port.
                table.extend([0xab, 0xcd]);
            }
            if is_v6 {
                table.extend(state.to_ne_bytes());
            }
            table.extend(process.to_ne_bytes());
        }
        // Space that the system did not use.
        table.extend([0; 64]);
        table
    }

    #[test]
    fn connection_is_found_by_both_ends() {
        let [a, b, c] = ["127.0.0.1:50000", "127.0.0.1:4127", "127.0.0.2:50000"];
        let v4 = table(&[(b, a, 1), (c, b, 2), (a, b, 3)], ESTABLISHED);
        let both = [("[::1]:4127", "[::1]:5", 4), ("[::1]:5", "[::1]:4127", 5)];
        let v6 = table(&both, ESTABLISHED);
        let find = |table: &[u8], own: &str, other: &str| {
            holder(table, own.parse().unwrap(), other.parse().unwrap())
        };
        assert_eq!(find(&v4, a, b), Some(Holder::Process(3)));
        assert_eq!(find(&v4, b, a), Some(Holder::Process(1)));
        assert_eq!(find(&v4, a, c), None);
        assert_eq!(find(&v4, "0.0.0.0:0", "0.0.0.0:0"), None, "room is no row");
        let five = find(&v6, "[::1]:5", "[::1]:4127");
        assert_eq!(five, Some(Holder::Process(5)));
        assert_eq!(find(&v6, "[::1]:6", "[::1]:4127"), None);
        assert_eq!(find(&[], a, b), None);
        let unnamed = find(&table(&[(a, b, 0)], ESTABLISHED), a, b);
        assert_eq!(unnamed, Some(Holder::Unnamed));
        let closed = find(&table(&[(a, b, 0)], ESTABLISHED + 1), a, b);
        assert_eq!(closed, Some(Holder::Closed));
    }
}
