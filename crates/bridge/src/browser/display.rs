//! Where the browser of whoever sits in front of this process is.

use std::fmt;

/// Where it is, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// On this machine.
    Desktop,
    /// On the Windows around this Linux (WSL), which opens pages and comes back to our ports.
    Windows,
    /// On another machine: a page that is opened here is seen by nobody.
    Elsewhere(Elsewhere),
}

/// Why there is none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
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
pub struct Clues {
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

impl Surroundings {
    /// What the clues say. A container on a WSL kernel is a container; one that somebody gave a
    /// display has it for a reason.
    #[must_use]
    pub fn of(clues: Clues) -> Self {
        match clues {
            Clues { ssh: true, .. } => Self::Elsewhere(Elsewhere::Ssh),
            Clues {
                dev_container: true,
                ..
            } => Self::Elsewhere(Elsewhere::Container),
            Clues {
                docker: true,
                display: false,
                ..
            } => Self::Elsewhere(Elsewhere::Container),
            Clues {
                wsl: true,
                docker: false,
                ..
            } => Self::Windows,
            Clues { display: true, .. } => Self::Desktop,
            Clues { display: false, .. } => Self::Elsewhere(Elsewhere::NoDisplay),
        }
    }
}

impl fmt::Display for Elsewhere {
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
    use super::{Clues, Elsewhere, Surroundings};

    #[test]
    fn each_place_is_told_from_the_others() {
        let desktop = Clues {
            display: true,
            ..Clues::default()
        };
        let wsl = Clues {
            wsl: true,
            ..Clues::default()
        };
        let elsewhere = Surroundings::Elsewhere;
        for (clues, expected) in [
            (desktop, Surroundings::Desktop),
            (Clues::default(), elsewhere(Elsewhere::NoDisplay)),
            (wsl, Surroundings::Windows),
            (
                Clues {
                    display: true,
                    ..wsl
                },
                Surroundings::Windows,
            ),
            (
                Clues {
                    docker: true,
                    ..wsl
                },
                elsewhere(Elsewhere::Container),
            ),
            (
                Clues {
                    docker: true,
                    ..desktop
                },
                Surroundings::Desktop,
            ),
            (
                Clues {
                    dev_container: true,
                    ..desktop
                },
                elsewhere(Elsewhere::Container),
            ),
            (
                Clues {
                    ssh: true,
                    ..desktop
                },
                elsewhere(Elsewhere::Ssh),
            ),
            (Clues { ssh: true, ..wsl }, elsewhere(Elsewhere::Ssh)),
        ] {
            assert_eq!(Surroundings::of(clues), expected, "{clues:?}");
        }
    }
}
