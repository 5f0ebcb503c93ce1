//! The list of TCP connections of macOS, the value of `net.inet.tcp.pcblist_n`: a header, then several
//! records for each connection. Each record starts with its length and kind, and is padded to a
//! multiple of eight bytes.
//!
//! The lengths differ between releases. The fields that are read here have the same offsets in all
//! releases (`xinpcb_n` and `xsocket_n` of xnu, packed to four bytes).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `XSO_SOCKET` and `XSO_INPCB`.
const SOCKET: u32 = 0x001;
const CONNECTION: u32 = 0x010;

/// The offsets of fields in `xinpcb_n`.
const OTHER_PORT: usize = 16;
const OWN_PORT: usize = 18;
const FAMILY: usize = 44;
const OTHER: usize = 48;
const OWN: usize = 64;
/// The offset of an IPv4 address in the field for an IPv6 address.
const V4: usize = 12;
/// `INP_IPV4`.
const IS_V4: u8 = 0x1;

/// The offset of the user in `xsocket_n`.
const USER: usize = 64;

/// Returns the user of the connection with the local end `own` and the remote end `other`. Returns
/// `None` if there is no such connection.
pub(super) fn user(list: &[u8], own: SocketAddr, other: SocketAddr) -> Option<u32> {
    let mut is_it = false;
    for (kind, record) in records(list) {
        match kind {
            CONNECTION => is_it = ends(record) == Some((own, other)),
            SOCKET if is_it => return number(record, USER),
            _ => {}
        }
    }
    None
}

/// Returns the records after the header, each with its kind.
fn records(list: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = number(list, 0).and_then(|header| list.get(room(header)?..));
    std::iter::from_fn(move || {
        let here = rest?;
        let (length, kind) = (number(here, 0)?, number(here, 4)?);
        let record = here.get(..usize::try_from(length).ok()?)?;
        rest = room(length)
            .filter(|room| *room >= 8)
            .and_then(|room| here.get(room..));
        Some((kind, record))
    })
}

fn room(length: u32) -> Option<usize> {
    usize::try_from(length).ok()?.checked_next_multiple_of(8)
}

/// Returns the local and the remote end.
fn ends(record: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let is_v4 = record.get(FAMILY)? & IS_V4 != 0;
    let end = |address: usize, port: usize| {
        let ip = match is_v4 {
            true => {
                let bytes = record.get(address + V4..address + V4 + 4)?;
                IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
            }
            false => {
                let bytes = record.get(address..address + 16)?;
                IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
            }
        };
        let port = record.get(port..port + 2)?;
        Some(SocketAddr::new(
            ip,
            u16::from_be_bytes(port.try_into().ok()?),
        ))
    };
    Some((end(OWN, OWN_PORT)?, end(OTHER, OTHER_PORT)?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::{CONNECTION, FAMILY, OTHER, OTHER_PORT, OWN, OWN_PORT, SOCKET, USER, V4, user};

    fn record(length: usize, kind: u32, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut record = vec![0; length];
        record[..4].copy_from_slice(&(length as u32).to_ne_bytes());
        record[4..8].copy_from_slice(&kind.to_ne_bytes());
        fill(&mut record);
        record.resize(length.next_multiple_of(8), 0);
        record
    }

    fn put(record: &mut [u8], address: usize, port: usize, end: SocketAddr) {
        match end.ip() {
            IpAddr::V4(ip) => record[address + V4..][..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => record[address..][..16].copy_from_slice(&ip.octets()),
        }
        record[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
    }

    /// Builds a list with these connections: local end, remote end, user. The records are `pad` bytes
    /// longer than known ones.
    fn list(connections: &[(&str, &str, u32)], pad: usize) -> Vec<u8> {
        let edge = |count: u32| record(24, count, |_| {});
        let mut list = edge(connections.len() as u32);
        for (own, other, user) in connections {
            let (own, other) = (own.parse().unwrap(), other.parse().unwrap());
            list.extend(record(100 + pad, CONNECTION, |record| {
                record[FAMILY] = if SocketAddr::is_ipv4(&own) { 1 } else { 2 };
                put(record, OWN, OWN_PORT, own);
                put(record, OTHER, OTHER_PORT, other);
            }));
            list.extend(record(76 + pad, SOCKET, |record| {
                record[USER..USER + 4].copy_from_slice(&user.to_ne_bytes());
            }));
            // Records of the buffers, the statistics and TCP.
            for (length, kind) in [(32, 2), (32, 4), (130, 8), (204, 0x20)] {
                list.extend(record(length, kind, |_| {}));
            }
        }
        // The list ends with another header, whose count looks like a kind.
        list.extend(edge(CONNECTION));
        list
    }

    #[test]
    fn connection_is_found_by_both_ends_with_any_record_length() {
        let [a, b] = ["127.0.0.1:50000", "127.0.0.1:4127"];
        let connections = [
            ("127.0.0.2:50000", b, 500),
            (b, a, 501),
            (a, b, 502),
            ("[::1]:50000", "[::1]:4127", 503),
        ];
        let find = |list: &[u8], own: &str, other: &str| {
            user(list, own.parse().unwrap(), other.parse().unwrap())
        };
        for pad in [0, 4, 24] {
            let list = list(&connections, pad);
            assert_eq!(find(&list, a, b), Some(502));
            assert_eq!(find(&list, b, a), Some(501));
            assert_eq!(find(&list, "[::1]:50000", "[::1]:4127"), Some(503));
            assert_eq!(find(&list, a, "127.0.0.1:1"), None);
            for cut in 0..list.len() {
                let found = find(&list[..cut], a, b);
                assert!(found.is_none_or(|user| user == 502), "cut at {cut}");
            }
        }
        let endless = [24_u32, 0, 0, 0, 0, 0, 0, CONNECTION]
            .map(u32::to_ne_bytes)
            .concat();
        assert_eq!(
            find(&endless, a, b),
            None,
            "a record without a length ends the list"
        );
    }
}
