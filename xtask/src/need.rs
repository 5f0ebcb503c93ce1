//! The prerequisites on a machine, how each is detected, and its package on each system.

use std::{path::Path, process::Command, process::Stdio};

/// A prerequisite of the build or the tests.
pub(crate) struct Need {
    /// How it is detected.
    probe: Probe,
    /// Its purpose, for the user who is asked to install it.
    pub(crate) why: &'static str,
    /// The packages that contain it.
    pub(crate) packages: Packages,
}

/// How a prerequisite is detected.
enum Probe {
    /// The program runs with these arguments and succeeds.
    Runs(&'static str, &'static [&'static str]),
    /// The program is in the search path.
    Program(&'static str),
    /// `pkg-config` knows the library.
    Library(&'static str),
    /// The file or folder exists.
    File(&'static str),
}

/// Package names by system. Empty if the system includes it or cannot use it.
#[derive(Clone, Copy)]
pub(crate) struct Packages {
    pub(crate) debian: &'static str,
    pub(crate) fedora: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) homebrew: &'static str,
}

/// The prerequisites of compiling the desktop app.
pub(crate) const DESKTOP: &[Need] = &[
    Need {
        probe: Probe::Program("cc"),
        why: "C compiler, for aws-lc and SQLite",
        packages: packages("build-essential", "gcc gcc-c++ make", "base-devel", ""),
    },
    Need {
        probe: Probe::Program("pkg-config"),
        why: "finds the libraries of the desktop app",
        packages: packages("pkg-config", "pkgconf", "pkgconf", ""),
    },
    Need {
        probe: Probe::Library("webkit2gtk-4.1"),
        why: "the window of the desktop app",
        packages: packages(
            "libwebkit2gtk-4.1-dev",
            "webkit2gtk4.1-devel",
            "webkit2gtk-4.1",
            "",
        ),
    },
];

/// The programs that the tests run in addition to ours.
pub(crate) const TESTS: &[Need] = &[
    Need {
        probe: Probe::Program("chromium"),
        why: "the browser that signs in",
        packages: packages("chromium", "chromium", "chromium", "chromium"),
    },
    Need {
        probe: Probe::Program("chromedriver"),
        why: "drives that browser",
        packages: packages(
            "chromium-driver",
            "chromedriver",
            "chromium",
            "chromedriver",
        ),
    },
    Need {
        probe: Probe::Runs("python3", &["-c", "import ensurepip, venv"]),
        why: "runs the Python MCP client",
        packages: packages("python3 python3-venv", "python3", "python", "python"),
    },
    Need {
        probe: Probe::Program("ip"),
        why: "a second network, from which the bridge must not be reachable",
        packages: packages("iproute2", "iproute", "iproute2", ""),
    },
    Need {
        probe: Probe::Program("nsenter"),
        why: "runs programs in that network",
        packages: packages("util-linux", "util-linux", "util-linux", ""),
    },
    Need {
        probe: Probe::Program("Xvfb"),
        why: "a screen for the desktop app's tests",
        packages: packages("xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb", ""),
    },
    Need {
        probe: Probe::Program("dbus-run-session"),
        why: "a session bus for the tray and the keychain",
        packages: packages("dbus", "dbus-daemon", "dbus", ""),
    },
    Need {
        probe: Probe::Program("gnome-keyring-daemon"),
        why: "a real Secret Service",
        packages: packages("gnome-keyring", "gnome-keyring", "gnome-keyring", ""),
    },
    Need {
        probe: Probe::Program("openbox"),
        why: "a window manager for the desktop app's tests",
        packages: packages("openbox", "openbox", "openbox", ""),
    },
    Need {
        probe: Probe::Program("xdotool"),
        why: "a mouse and a keyboard for the desktop app's tests",
        packages: packages("xdotool", "xdotool", "xdotool", ""),
    },
    Need {
        probe: Probe::Program("xfce4-panel"),
        why: "a real tray",
        packages: packages("xfce4-panel", "xfce4-panel", "xfce4-panel", ""),
    },
    Need {
        probe: Probe::File("/usr/share/icons/Adwaita"),
        why: "icons for that tray",
        packages: packages(
            "adwaita-icon-theme",
            "adwaita-icon-theme",
            "adwaita-icon-theme",
            "",
        ),
    },
    Need {
        probe: Probe::Program("bwrap"),
        why: "creates the sandbox of a Flatpak",
        packages: packages("bubblewrap", "bubblewrap", "bubblewrap", ""),
    },
    Need {
        probe: Probe::File("/usr/libexec/xdg-desktop-portal"),
        why: "tells desktop programs which proxy to use",
        packages: packages(
            "xdg-desktop-portal",
            "xdg-desktop-portal",
            "xdg-desktop-portal",
            "",
        ),
    },
    Need {
        // The engine is a plug-in up to libproxy 0.4, and built in since then.
        probe: Probe::Runs(
            "sh",
            &[
                "-c",
                "test -e /usr/libexec/glib-pacrunner && \
                 ls /usr/lib*/*/libproxy/*/modules/pacrunner_* /usr/lib*/libproxy/libpxbackend* \
                    /usr/lib*/*/libproxy/libpxbackend* | grep -q .",
            ],
        ),
        why: "runs the scripts that choose proxies",
        packages: packages(
            "glib-networking-services libproxy1-plugin-webkit",
            "glib-networking",
            "glib-networking",
            "",
        ),
    },
    Need {
        probe: Probe::Program("WebKitWebDriver"),
        why: "drives the desktop app's window",
        packages: packages(
            "webkit2gtk-driver",
            "webkit2gtk-driver",
            "webkit2gtk-4.1",
            "",
        ),
    },
    Need {
        probe: Probe::Program("glewlwyd"),
        why: "a third-party authorization server, on Debian",
        packages: packages("glewlwyd dbconfig-sqlite3", "", "", ""),
    },
    Need {
        probe: Probe::Program("import"),
        why: "takes screenshots",
        packages: packages("imagemagick", "ImageMagick", "imagemagick", ""),
    },
];

/// The programs with which a gateway is compared, and those that measure it.
pub(crate) const GATEWAY_BENCH: &[Need] = &[
    Need {
        probe: Probe::File("/usr/sbin/nginx"),
        why: "a reverse proxy with which a gateway is compared",
        packages: packages("nginx", "nginx", "nginx", ""),
    },
    Need {
        probe: Probe::File("/usr/sbin/haproxy"),
        why: "a reverse proxy that verifies tokens, also compared",
        packages: packages("haproxy", "haproxy", "haproxy", ""),
    },
    Need {
        probe: Probe::Program("openssl"),
        why: "makes the tokens that it verifies",
        packages: packages("openssl", "openssl", "openssl", ""),
    },
    Need {
        probe: Probe::Program("ip"),
        why: "configures the separate network of the measurements",
        packages: packages("iproute2", "iproute", "iproute2", ""),
    },
    Need {
        probe: Probe::Program("unshare"),
        why: "creates that network",
        packages: packages("util-linux", "util-linux", "util-linux", ""),
    },
    Need {
        probe: Probe::Program("taskset"),
        why: "assigns a processor to the measured server",
        packages: packages("util-linux", "util-linux", "util-linux", ""),
    },
];

/// Node.js with npm, if there is no npm that could fetch a newer one.
pub(crate) const NPM: &[Need] = &[Need {
    probe: Probe::Program("npm"),
    why: "installs the UI's tools, and a newer Node.js under target/tools if necessary",
    packages: packages("nodejs npm", "nodejs npm", "nodejs npm", "node"),
}];

/// Compilers for other systems, and Wine. On Debian only, because its compiler and its source of the
/// standard library must match.
pub(crate) const PLATFORMS: &[Need] = &[
    Need {
        probe: Probe::File("/usr/lib/rustlib/src/rust/library/std/Cargo.toml"),
        why: "the standard library's source, to compile for other systems",
        packages: packages("rust-web-src", "", "", ""),
    },
    Need {
        probe: Probe::File("/usr/bin/rustc"),
        why: "the compiler that matches this source",
        packages: packages("rustc-web", "", "", ""),
    },
    Need {
        probe: Probe::Program("x86_64-w64-mingw32-g++"),
        why: "C and C++ for Windows",
        packages: packages("gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64", "", "", ""),
    },
    Need {
        probe: Probe::Program("cmake"),
        why: "builds aws-lc for other systems",
        packages: packages("cmake", "", "", ""),
    },
    Need {
        probe: Probe::Program("nasm"),
        why: "assembles aws-lc for Windows",
        packages: packages("nasm", "", "", ""),
    },
    Need {
        probe: Probe::Program("wine"),
        why: "runs what was built for Windows",
        packages: packages("wine wine64", "", "", ""),
    },
    Need {
        probe: Probe::Runs("python3", &["-c", "import ensurepip, venv"]),
        why: "installs a C compiler that supports macOS",
        packages: packages("python3 python3-venv", "", "", ""),
    },
];

impl Need {
    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Runs(program, arguments) => succeeds(Command::new(program).args(arguments)),
            Probe::Program(program) => in_path(program),
            Probe::Library(name) => succeeds(Command::new("pkg-config").args(["--exists", name])),
            Probe::File(path) => Path::new(path).exists(),
        }
    }
}

const fn packages(
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    homebrew: &'static str,
) -> Packages {
    Packages {
        debian,
        fedora,
        arch,
        homebrew,
    }
}

fn in_path(program: &str) -> bool {
    std::env::split_paths(&crate::environment::path()).any(|folder| {
        folder
            .join(program)
            .with_extension(std::env::consts::EXE_EXTENSION)
            .is_file()
    })
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
