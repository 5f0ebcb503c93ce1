//! Hosts in a Flatpak sandbox.
//!
//! Such a host starts its processes inside the sandbox. There, the bridge's sockets, the keychain and
//! the browser are unavailable, and a second bridge must not run. `flatpak-spawn --host` starts a
//! process outside the sandbox, if the user allows the host to use it.
//!
//! Owns: detecting the sandbox, and the error that explains what to do. Does not own: leaving it.

use std::path::Path;

use crate::error::CliError;

/// The sandbox around this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flatpak {
    /// The ID of the sandboxed application, as in `com.visualstudio.code`.
    id: String,
}

impl Flatpak {
    /// Reads `info`, the file that each sandbox has (flatpak-metadata(5)). Returns `None` outside a
    /// sandbox.
    pub(crate) fn detect(info: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(info).ok()?;
        let mut application = text
            .lines()
            .skip_while(|line| line.trim() != "[Application]")
            .skip(1)
            .take_while(|line| !line.trim_start().starts_with('['))
            .filter_map(|line| line.split_once('='));
        let id = application
            .find(|(key, _)| key.trim() == "name")
            .map_or("ID", |(_, value)| value.trim());
        Some(Self { id: id.to_owned() })
    }

    /// Returns the error that explains the sandbox and how to start `program` outside of it.
    pub(crate) fn error(&self, program: &Path, arguments: &str) -> CliError {
        // The sandbox has the system's folders under /run/host.
        let outside = program
            .strip_prefix("/run/host")
            .map(|rest| Path::new("/").join(rest));
        let program = outside.as_deref().unwrap_or(program).display();
        let id = &self.id;
        CliError::unreachable(format_args!(
            "the sandbox of the Flatpak {id} blocks access to Postern; hint: let it start \
             `flatpak-spawn --host {program} {arguments}` instead, and allow that once with \
             `flatpak override --user --talk-name=org.freedesktop.Flatpak {id}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Flatpak;

    #[test]
    fn sandbox_is_detected_by_its_info_file() {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("info");
        assert_eq!(Flatpak::detect(&info), None);
        let text = "[Instance]\nname=other\n\n[Application]\nname=com.vscodium.codium\nruntime=r\n";
        std::fs::write(&info, text).unwrap();
        let flatpak = Flatpak::detect(&info).unwrap();
        assert_eq!(flatpak.id, "com.vscodium.codium");
        let error = flatpak.error(Path::new("/run/host/usr/bin/postern"), "connect crm");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("`flatpak-spawn --host /usr/bin/postern connect crm`"),
            "{hint}"
        );
        assert!(
            hint.ends_with("org.freedesktop.Flatpak com.vscodium.codium`"),
            "{hint}"
        );
    }
}
