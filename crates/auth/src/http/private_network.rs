//! Which addresses are of this machine or of the network around it, and names that must not lead
//! there.
//!
//! What a stranger on the internet names may only be on the internet. A name is judged by the
//! addresses that are then connected to: between the two nobody can change what the name means.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::proxies::Proxies;

/// Whether nobody on the internet could mean this address.
pub(crate) fn is_neighbour(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_neighbour_v4(address),
        IpAddr::V6(address) => is_neighbour_v6(address),
    }
}

fn is_neighbour_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || first == 0
        || shared
}

fn is_neighbour_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || site_local
        || embedded(segments).is_some_and(is_neighbour_v4)
}

/// The IPv4 address that a translator would make of it: NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let (high, low) = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// How names are looked up.
pub(super) type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;
pub(super) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's own way.
pub(super) fn by_the_system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.collect())
        })
    })
}

/// Finds addresses on the internet alone.
pub(super) struct OutsideOnly {
    pub(super) lookup: Lookup,
    pub(super) is_neighbour: fn(IpAddr) -> bool,
    /// They may be anywhere: the user or the system named them.
    pub(super) proxies: Proxies,
}

impl Resolve for OutsideOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.is_one(name.as_str());
        let (found, is_neighbour) = ((self.lookup)(name.as_str().to_owned()), self.is_neighbour);
        Box::pin(async move {
            let mut addresses = found.await?;
            if !is_proxy {
                addresses.retain(|address| !is_neighbour(address.ip()));
            }
            match addresses.is_empty() {
                true => Err(Box::new(LeadsInside) as Box<dyn Error + Send + Sync>),
                false => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// A name has no address that it may have.
#[derive(Debug)]
pub(super) struct LeadsInside;

impl fmt::Display for LeadsInside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its name leads into the local network, and it was named from outside")
    }
}

impl Error for LeadsInside {}

#[cfg(test)]
mod tests {
    use super::is_neighbour;

    #[test]
    fn addresses_of_neighbours_are_known_in_every_disguise() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
        ] {
            assert!(is_neighbour(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_neighbour(outside.parse().unwrap()), "{outside}");
        }
    }
}
