//! The address of a request's sender, for rate limits.
//!
//! Owns: which address counts, and when a proxy in front of the gateway is trusted. Does not own: the
//! limits.
//!
//! Invariant: the address is that of the connection, unless a proxy that the configuration names
//! reports another one, in the one header that the configuration names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName};
use model::config::gateway::{ForwardedHeader, GatewayConfig, Network};

const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The sender of a request, for rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The address. For IPv6 only the first 64 bits, which one household has.
    pub(crate) address: IpAddr,
    /// Its network: the first 24 bits of IPv4, or 48 of IPv6.
    pub(crate) network: IpAddr,
    /// Whether many users share the address.
    pub(crate) is_shared: bool,
}

/// Identifies visitors.
#[derive(Debug)]
pub(crate) struct Visitors {
    trusted_proxies: Vec<Network>,
    forwarded_header: ForwardedHeader,
    trusted_networks: Vec<Network>,
    has_warned: AtomicBool,
}

impl Visitors {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded_header: config.forwarded_header,
            trusted_networks: config.trusted_networks.clone(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Returns the address to which a connection from `peer` counts. Returns `None` if it has no
    /// limit: if it is a proxy, this machine, or in a network that many users share.
    pub(crate) fn limited_address(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        let is_trusted = |network: &Network| network.includes(peer);
        let is_unlimited = peer.is_loopback()
            || self.is_proxy(peer)
            || self.trusted_networks.iter().any(is_trusted);
        (!is_unlimited).then(|| prefix(peer, 32, 64))
    }

    /// Returns who sent a request over a connection from `peer`.
    pub(crate) fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> Visitor {
        let peer = peer.to_canonical();
        let (own, other) = match self.forwarded_header {
            ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, FORWARDED),
            ForwardedHeader::Forwarded => (FORWARDED, X_FORWARDED_FOR),
        };
        let (has_own, has_other) = (headers.contains_key(own), headers.contains_key(other));
        let is_unknown_proxy = match self.is_proxy(peer) {
            true => has_other && !has_own,
            false => is_private(peer) && (has_own || has_other),
        };
        if is_unknown_proxy {
            return self.visitor_of_unknown_proxy(peer);
        }
        let address = self.address(peer, headers);
        let is_trusted = |network: &Network| network.includes(address);
        Visitor {
            address: prefix(address, 32, 64),
            network: prefix(address, 24, 48),
            is_shared: self.trusted_networks.iter().any(is_trusted),
        }
    }

    /// Returns one visitor for all requests through proxies that the configuration does not name, or
    /// with another header than it names.
    fn visitor_of_unknown_proxy(&self, peer: IpAddr) -> Visitor {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                proxy = %peer,
                "requests come through a proxy that trusted_proxies does not name, or that sends \
                 another header than forwarded_header says; all who come that way share one limit; \
                 hint: correct both in gateway.toml"
            );
        }
        Visitor {
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            network: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            is_shared: true,
        }
    }

    /// Reads the header from its end, because each proxy appends the address of its client.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer;
        let named = match self.forwarded_header {
            ForwardedHeader::XForwardedFor => listed(headers),
            ForwardedHeader::Forwarded => forwarded(headers),
        };
        for named in &named {
            if !self.is_proxy(address) {
                break;
            }
            match named {
                Some(named) => address = *named,
                // The proxy names something other than an address.
                None => break,
            }
        }
        address
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let includes = |network: &Network| network.includes(address);
        self.trusted_proxies.iter().any(includes)
    }
}

/// Returns true if an address belongs to a network that is not routed over the internet: this machine,
/// a site (RFC 1918, RFC 4193), a link, or a provider (RFC 6598).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Returns the addresses of `X-Forwarded-For`, the last one first. An element that is not an address
/// is `None`.
fn listed(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = lines(headers, &X_FORWARDED_FOR);
    let elements = lines.iter().flat_map(|line| line.rsplit(','));
    elements.map(node).collect()
}

/// Returns the addresses of `Forwarded` (RFC 7239 §4), the last one first. An element without an
/// address is `None`.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = lines(headers, &FORWARDED);
    let elements = lines.iter().flat_map(|line| outside_quotes(line, ','));
    elements
        .map(|element| {
            let pairs = outside_quotes(element, ';').into_iter();
            let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
            let named = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            named.and_then(|(_, value)| node(value.trim().trim_matches('"')))
        })
        .collect()
}

/// Returns the lines of a header, the last one first.
fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().rev();
    lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
        .collect()
}

/// Splits a text at a character, except within quotes. The last part comes first. Reads from the end,
/// where the proxy wrote, so that a quote that the visitor left open has no effect there.
fn outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let split = text.rsplit(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    });
    split.collect()
}

/// Parses an address with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse::<IpAddr>();
    let address = alone.or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    Some(address.ok()?.to_canonical())
}

/// Returns an address with the bits after this length set to zero.
fn prefix(address: IpAddr, of_v4: u32, of_v6: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX << (32 - of_v4);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - of_v6);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitors(header: ForwardedHeader) -> Visitors {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Visitors {
            trusted_proxies: networks(&["10.0.0.0/8", "2001:db8:ffff::/48"]),
            forwarded_header: header,
            trusted_networks: networks(&["203.0.113.0/24"]),
            has_warned: AtomicBool::new(false),
        }
    }

    fn address(visitors: &Visitors, peer: &str, given: &[(HeaderName, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name.clone(), value.parse().unwrap());
        }
        let visitor = visitors.visitor(peer.parse().unwrap(), &headers);
        visitor.address.to_string()
    }

    #[test]
    fn t75_forwarding_header_counts_from_trusted_proxy_only() {
        let visitors = visitors(ForwardedHeader::XForwardedFor);
        for (peer, lists, expected) in [
            ("198.51.100.1", &[][..], "198.51.100.1"),
            ("198.51.100.1", &["192.0.2.9"], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.9"], "192.0.2.9"),
            ("::ffff:10.0.0.1", &["192.0.2.9"], "192.0.2.9"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.9"], "192.0.2.9"),
            ("10.0.0.1", &["1.1.1.1", "192.0.2.9"], "192.0.2.9"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.9, 10.0.0.2"], "192.0.2.9"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.9:4711"], "192.0.2.9"),
            ("10.0.0.1", &["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::"),
            ("10.0.0.1", &["2001:db8:1:2:3::4"], "2001:db8:1:2::"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
        ] {
            let given: Vec<_> = lists.iter().map(|list| (X_FORWARDED_FOR, *list)).collect();
            assert_eq!(
                address(&visitors, peer, &given),
                expected,
                "{peer} {lists:?}"
            );
        }
        // Invalid text of a visitor does not hide what the proxy adds.
        let mut headers = HeaderMap::new();
        let odd = http::HeaderValue::from_bytes(b"\xff, 192.0.2.9").unwrap();
        headers.append(X_FORWARDED_FOR, odd);
        let visitor = visitors.visitor("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!(visitor.address.to_string(), "192.0.2.9");
    }

    #[test]
    fn forwarded_header_is_parsed_as_in_rfc_7239() {
        let visitors = visitors(ForwardedHeader::Forwarded);
        for (text, expected) in [
            ("for=192.0.2.9", "192.0.2.9"),
            (
                "proto=https;FOR=\"192.0.2.9:4711\";by=10.0.0.1",
                "192.0.2.9",
            ),
            ("for=\"[2001:db8:1:2:3::4]:4711\"", "2001:db8:1:2::"),
            ("for=1.1.1.1, for=192.0.2.9, for=10.0.0.2", "192.0.2.9"),
            ("for=\"1.1.1.1, for=2.2.2.2\"", "10.0.0.1"),
            ("for=1.1.1.1;x=\", for=192.0.2.9", "192.0.2.9"),
            ("for=\"x, for=\"192.0.2.9:1\"", "192.0.2.9"),
            ("for=\"\\\"\", for=192.0.2.9", "192.0.2.9"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("for=1.1.1.1, by=10.0.0.1", "10.0.0.1"),
        ] {
            let given = [(FORWARDED, text), (X_FORWARDED_FOR, "8.8.8.8")];
            assert_eq!(address(&visitors, "10.0.0.1", &given), expected, "{text}");
        }
    }

    #[test]
    fn visitors_behind_unlisted_proxy_share_one_limit() {
        let visitors = visitors(ForwardedHeader::XForwardedFor);
        for peer in ["127.0.0.1", "192.168.0.1", "100.64.0.1", "fd00::1"] {
            let given = [(X_FORWARDED_FOR, "192.0.2.9")];
            assert_eq!(address(&visitors, peer, &given), "::", "{peer}");
            assert_ne!(address(&visitors, peer, &[]), "::", "{peer}");
        }
        assert!(visitors.has_warned.load(Ordering::Relaxed));
        // A listed proxy sends the other header.
        let other = [(FORWARDED, "for=192.0.2.9")];
        assert_eq!(address(&visitors, "10.0.0.1", &other), "::");
    }

    #[test]
    fn visitor_has_network_that_may_be_trusted() {
        let visitors = visitors(ForwardedHeader::XForwardedFor);
        let visitor = |peer: &str| visitors.visitor(peer.parse().unwrap(), &HeaderMap::new());
        let here = visitor("203.0.113.77");
        assert_eq!(here.network.to_string(), "203.0.113.0");
        assert!(here.is_shared);
        let there = visitor("2001:db8:1:2:3::4");
        assert_eq!(there.network.to_string(), "2001:db8:1::");
        assert!(!there.is_shared);
    }
}
