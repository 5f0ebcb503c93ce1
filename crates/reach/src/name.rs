//! Names that do not resolve.

use std::error::Error;
use std::net::IpAddr;

use texts::{Describe, Text, text};

use crate::{causes, innermost};

/// The domains of private networks (RFC 6762 §3 and appendix G, RFC 8375, and `.internal`, which
/// ICANN reserves). No public name server knows names in them.
const PRIVATE: &[&str] = &[
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "private",
];

/// A name that has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    host: String,
    /// The resolver's error.
    reason: String,
}

impl UnknownName {
    /// Finds the error of the HTTP client's resolver. The client does not export its type.
    pub(crate) fn find(error: &(dyn Error + 'static), host: &str) -> Option<Self> {
        let of_resolver = causes(error).find(|cause| cause.to_string() == "dns error")?;
        let reason = innermost(of_resolver);
        let reason = reason.strip_prefix("failed to lookup address information: ");
        Some(Self {
            host: host.to_owned(),
            reason: reason.map_or_else(|| innermost(of_resolver), str::to_owned),
        })
    }
}

impl Describe for UnknownName {
    fn text(&self) -> Text {
        let Self { host, reason } = self;
        match is_private(host) {
            true => text!(PrivateNameUnresolved { host, reason }),
            false => text!(NameUnresolved { host, reason }),
        }
    }
}

/// Returns true if only a private network knows the name: it has a single label, or is in a
/// private domain.
fn is_private(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() || model::is_loopback_host(&host) {
        return false;
    }
    let in_domain = |domain: &&str| {
        let rest = host.strip_suffix(*domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !host.contains('.') || PRIVATE.iter().any(in_domain)
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn private_name_is_single_label_or_private_domain() {
        for name in [
            "intranet",
            "mcp.corp",
            "mcp.contoso.local",
            "MCP.Internal.",
            "nas.lan",
            "x.home.arpa",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in [
            "mcp.contoso.com",
            "local.contoso.com",
            "notlocal.example",
            "mycorp.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
        ] {
            assert!(!is_private(name), "{name}");
        }
    }
}
