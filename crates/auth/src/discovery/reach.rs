//! Which addresses a server may send us to.
//!
//! The rule: a document that came from the public internet must not name an address of this
//! machine or of the local network. A document from this machine or from a private address may
//! name anything that is https or loopback. Names are judged as they are written: a public name
//! that resolves to a private address is not caught here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::EndpointUrl;
use url::{Host, Url};

/// Whether a document got from `source` may name `address`.
pub(crate) fn may_name(source: &Url, address: &EndpointUrl) -> bool {
    is_internal(source) || !is_internal(address.url())
}

fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => is_internal_v4(address),
        Some(Host::Ipv6(address)) => is_internal_v6(address),
        None => true,
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || first == 0
        || shared
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(mapped) => is_internal_v4(mapped),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_name;

    #[test]
    fn the_internet_does_not_name_our_neighbours() {
        let may = |source: &str, address: &str| {
            may_name(&source.parse().unwrap(), &address.parse().unwrap())
        };
        for inside in [
            "http://127.0.0.1:1/",
            "http://localhost/",
            "https://localhost./",
            "https://a.localhost/",
            "http://[::1]/",
            "https://10.1.2.3/",
            "https://192.168.0.1/",
            "https://169.254.169.254/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://0x7f.1/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://[::ffff:10.0.0.1]/",
        ] {
            assert!(!may("https://mcp.example.com/", inside), "{inside}");
            assert!(may("http://127.0.0.1:9/", inside), "{inside}");
            assert!(may("https://10.0.0.9/", inside), "{inside}");
        }
        for outside in [
            "https://login.example.com/",
            "https://8.8.8.8/",
            "https://[2001:db8::1]/",
        ] {
            assert!(may("https://mcp.example.com/", outside), "{outside}");
            assert!(may("http://127.0.0.1:9/", outside), "{outside}");
        }
    }
}
