//! Where the browser of whoever sits in front of this process is.

use std::fmt;

/// Where it is, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserAvailability {
    /// On this machine.
    Desktop,
    /// On the Windows around this Linux (WSL), which opens pages and comes back to our ports.
    Windows,
    /// On another machine: a page that is opened here is seen by nobody.
    Unavailable(NoBrowserReason),
}

/// Why there is none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBrowserReason {
    /// The session came over SSH.
    Ssh,
    /// This is a container.
    Container,
    /// There is no display.
    NoDisplay,
}

/// What tells them apart. The program reads it, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen by itself")]
pub struct EnvironmentHints {
    /// Whether windows can be shown.
    pub display: bool,
    /// `SSH_CONNECTION` is set.
    pub ssh: bool,
    /// `WSL_DISTRO_NAME` is set, or the kernel says that it is Microsoft's.
    pub wsl: bool,
    /// `REMOTE_CONTAINERS` or `CODESPACES` is set.
    pub dev_container: bool,
    /// There is `/.dockerenv`.
    pub docker: bool,
}

impl BrowserAvailability {
    /// What the clues say. A container on a WSL kernel is a container; one that somebody gave a
    /// display has it for a reason.
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
    fn each_place_is_told_from_the_others() {
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
