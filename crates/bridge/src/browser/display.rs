//! Whether this process can open a browser that the user sees.

use std::fmt;

/// Where the user's browser is, as far as the environment shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserAvailability {
    /// On this machine.
    Desktop,
    /// On the Windows host of this Linux (WSL). It opens pages and reaches our ports.
    Windows,
    /// Not on this machine: the user would not see a page opened here.
    Unavailable(NoBrowserReason),
}

/// Why there is no browser on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBrowserReason {
    /// The session came over SSH.
    Ssh,
    /// This process runs in a container.
    Container,
    /// There is no display.
    NoDisplay,
}

/// Facts about the environment. The program reads them once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub struct EnvironmentHints {
    /// Whether a display is available.
    pub display: bool,
    /// `SSH_CONNECTION` is set.
    pub ssh: bool,
    /// `WSL_DISTRO_NAME` is set, or the kernel version names Microsoft.
    pub wsl: bool,
    /// `REMOTE_CONTAINERS` or `CODESPACES` is set.
    pub dev_container: bool,
    /// `/.dockerenv` exists.
    pub docker: bool,
}

impl BrowserAvailability {
    /// Derives the availability from `hints`. A container on a WSL kernel counts as a container. A
    /// Docker container with a display counts as a desktop, because the display was added on
    /// purpose.
    #[must_use]
    pub fn from_hints(hints: EnvironmentHints) -> Self {
        match hints {
            EnvironmentHints { ssh: true, .. } => Self::Unavailable(NoBrowserReason::Ssh),
            EnvironmentHints {
                dev_container: true,
                ..
            } => Self::Unavailable(NoBrowserReason::Container),
            EnvironmentHints {
                docker: true,
                display: false,
                ..
            } => Self::Unavailable(NoBrowserReason::Container),
            EnvironmentHints {
                wsl: true,
                docker: false,
                ..
            } => Self::Windows,
            EnvironmentHints { display: true, .. } => Self::Desktop,
            EnvironmentHints { display: false, .. } => {
                Self::Unavailable(NoBrowserReason::NoDisplay)
            }
        }
    }
}

impl fmt::Display for NoBrowserReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ssh => "this session came over SSH",
            Self::Container => "this is a container",
            Self::NoDisplay => "there is no display",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BrowserAvailability, EnvironmentHints, NoBrowserReason};

    #[test]
    fn availability_follows_environment_hints() {
        let desktop = EnvironmentHints {
            display: true,
            ..EnvironmentHints::default()
        };
        let wsl = EnvironmentHints {
            wsl: true,
            ..EnvironmentHints::default()
        };
        let unavailable = BrowserAvailability::Unavailable;
        for (hints, expected) in [
            (desktop, BrowserAvailability::Desktop),
            (
                EnvironmentHints::default(),
                unavailable(NoBrowserReason::NoDisplay),
            ),
            (wsl, BrowserAvailability::Windows),
            (
                EnvironmentHints {
                    display: true,
                    ..wsl
                },
                BrowserAvailability::Windows,
            ),
            (
                EnvironmentHints {
                    docker: true,
                    ..wsl
                },
                unavailable(NoBrowserReason::Container),
            ),
            (
                EnvironmentHints {
                    docker: true,
                    ..desktop
                },
                BrowserAvailability::Desktop,
            ),
            (
                EnvironmentHints {
                    dev_container: true,
                    ..desktop
                },
                unavailable(NoBrowserReason::Container),
            ),
            (
                EnvironmentHints {
                    ssh: true,
                    ..desktop
                },
                unavailable(NoBrowserReason::Ssh),
            ),
            (
                EnvironmentHints { ssh: true, ..wsl },
                unavailable(NoBrowserReason::Ssh),
            ),
        ] {
            assert_eq!(
                BrowserAvailability::from_hints(hints),
                expected,
                "{hints:?}"
            );
        }
    }
}
