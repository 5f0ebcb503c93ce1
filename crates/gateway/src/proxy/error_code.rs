//! The codes and kinds of the gateway's own errors.

use serde::Serialize;

/// The kinds of the gateway's errors, which programs may branch on.
///
/// `docs/errors.md` lists all of them. The codes begin at 1101, because those of the bridge begin at
/// 1001, and the bridge forwards these errors to a host unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "kebab-case")]
pub(super) enum ErrorKind {
    ForeignOrigin,
    NoSuchServer,
    SignInNeeded,
    TokenInQuery,
    InsufficientScope,
    UnknownSession,
    TooLarge,
    Unconfirmed,
    ServerDown,
    ServerMisconfigured,
    ServerSlow,
    GatewayEnds,
    GatewayFull,
}

impl ErrorKind {
    /// Returns the JSON-RPC code.
    pub(super) fn code(self) -> i32 {
        match self {
            Self::ForeignOrigin => 1101,
            Self::NoSuchServer => 1102,
            Self::SignInNeeded => 1103,
            Self::TokenInQuery => 1104,
            Self::InsufficientScope => 1105,
            Self::UnknownSession => 1106,
            Self::TooLarge => 1107,
            Self::Unconfirmed => 1108,
            Self::ServerDown => 1109,
            Self::ServerMisconfigured => 1110,
            Self::ServerSlow => 1111,
            Self::GatewayEnds => 1112,
            Self::GatewayFull => 1113,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    /// Returns the next kind in the documentation. The compiler rejects a new kind that has no place
    /// here.
    fn following(kind: ErrorKind) -> Option<ErrorKind> {
        Some(match kind {
            ErrorKind::ForeignOrigin => ErrorKind::NoSuchServer,
            ErrorKind::NoSuchServer => ErrorKind::SignInNeeded,
            ErrorKind::SignInNeeded => ErrorKind::TokenInQuery,
            ErrorKind::TokenInQuery => ErrorKind::InsufficientScope,
            ErrorKind::InsufficientScope => ErrorKind::UnknownSession,
            ErrorKind::UnknownSession => ErrorKind::TooLarge,
            ErrorKind::TooLarge => ErrorKind::Unconfirmed,
            ErrorKind::Unconfirmed => ErrorKind::ServerDown,
            ErrorKind::ServerDown => ErrorKind::ServerMisconfigured,
            ErrorKind::ServerMisconfigured => ErrorKind::ServerSlow,
            ErrorKind::ServerSlow => ErrorKind::GatewayEnds,
            ErrorKind::GatewayEnds => ErrorKind::GatewayFull,
            ErrorKind::GatewayFull => return None,
        })
    }

    #[test]
    fn every_kind_has_section_in_documentation() {
        let documentation = include_str!("../../../../docs/errors.md");
        let (_, gateway) = documentation
            .split_once("\n# The gateway's own errors\n")
            .expect("a part on the gateway");
        let titles = gateway.lines().filter_map(|line| line.strip_prefix("## "));
        let documented: Vec<(i32, ErrorKind)> = titles
            .map(|title| {
                let (code, kind) = title.split_once(' ').expect("a code and a kind");
                let kind = kind.replace('`', "\"");
                (code.parse().unwrap(), serde_json::from_str(&kind).unwrap())
            })
            .collect();
        let kinds = std::iter::successors(Some(ErrorKind::ForeignOrigin), |kind| following(*kind));
        let expected: Vec<_> = kinds.map(|kind| (kind.code(), kind)).collect();
        assert_eq!(documented, expected);
    }
}
