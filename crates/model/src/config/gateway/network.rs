//! IP networks in configuration files.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An IPv4 or IPv6 network, as in `10.0.0.0/8`. A single address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Returns whether the network includes an address. IPv4-mapped IPv6 addresses (`::ffff:10.0.0.1`)
    /// count as IPv4.
    #[must_use]
    pub fn includes(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => text.parse::<IpNet>().ok(),
        };
        let network = network.filter(|network| network.trunc() == *network);
        network.map(Self).ok_or_else(|| {
            "is not a network; hint: write an address, or one whose last bits are zero with its \
             length, as in 10.0.0.0/8 or 2001:db8::/32"
                .to_owned()
        })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(Network(network): Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_includes_its_addresses() {
        let includes = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.includes(address.parse().unwrap())
        };
        assert!(includes("10.0.0.0/8", "10.255.0.1"));
        assert!(includes("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(includes("10.0.0.1", "10.0.0.1"));
        assert!(includes("2001:db8::/32", "2001:db8:1::1"));
        assert!(!includes("10.0.0.0/8", "11.0.0.1"));
        assert!(!includes("10.0.0.1", "10.0.0.2"));
        assert!(!includes("0.0.0.0/0", "2001:db8::1"));
        for wrong in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "example.com",
            "10.0.0.0-10.0.0.9",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
