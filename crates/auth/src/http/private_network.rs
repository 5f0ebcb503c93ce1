//! Private network addresses, and names that must not resolve to them.
//!
//! A server on the internet may name public addresses only. A name is judged by the addresses that
//! are then connected to, so its DNS record cannot change in between.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::proxies::Proxies;

/// Returns true if the address is not on the internet: this machine's or a private network's.
pub(crate) fn is_private_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
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

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let site_local = segments[0] & 0xffc0 == 0xfec0;
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || site_local
        || embedded(segments).is_some_and(is_private_v4)
}

/// Returns the IPv4 address that a translator would derive: NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let (high, low) = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// Resolves a name.
pub(super) type Lookup = Arc<dyn Fn(String) -> LookupFuture + Send + Sync>;
pub(super) type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves names with the system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.collect())
        })
    })
}

/// Resolves names to public addresses only.
pub(super) struct PublicResolver {
    pub(super) lookup: Lookup,
    pub(super) is_private_address: fn(IpAddr) -> bool,
    /// Proxies may have any address: the user or the system named them.
    pub(super) proxies: Proxies,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.contains(name.as_str());
        let (found, is_private_address) = (
            (self.lookup)(name.as_str().to_owned()),
            self.is_private_address,
        );
        Box::pin(async move {
            let mut addresses = found.await?;
            if !is_proxy {
                addresses.retain(|address| !is_private_address(address.ip()));
            }
            match addresses.is_empty() {
                true => Err(Box::new(PrivateAddressError) as Box<dyn Error + Send + Sync>),
                false => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// The name has no public address.
#[derive(Debug)]
pub(super) struct PrivateAddressError;

impl fmt::Display for PrivateAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "its name resolves to an address in the local network, and a public server named it",
        )
    }
}

impl Error for PrivateAddressError {}

#[cfg(test)]
mod tests {
    use super::is_private_address;

    #[test]
    fn private_address_is_recognised_in_every_form() {
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
            assert!(is_private_address(inside.parse().unwrap()), "{inside}");
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
            assert!(!is_private_address(outside.parse().unwrap()), "{outside}");
        }
    }
}
