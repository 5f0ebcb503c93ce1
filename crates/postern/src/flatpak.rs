//! Hosts in a Flatpak.
//!
//! Such a host starts what it starts inside of its sandbox. There the bridge's sockets are not to
//! be found, nor the keychain and the browser, and a bridge of its own would be one too many. What
//! leads out of the sandbox is `flatpak-spawn --host`, where the person allows the host to use it.
//!
//! Owns: telling that this process is inside of one, and what to do then.

use std::path::Path;

use crate::error::CliError;

/// The sandbox around this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flatpak {
    /// The program that it was made for, as in `com.visualstudio.code`.
    id: String,
}

impl Flatpak {
    /// What `info` says, the file that each sandbox has (flatpak-metadata(5)); none outside of one.
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

    /// Why nothing can be done from in here, and how `program` is started outside instead.
    pub(crate) fn error(&self, program: &Path, arguments: &str) -> CliError {
        // Where a sandbox has the system's own folders.
        let outside = program
            .strip_prefix("/run/host")
            .map(|rest| Path::new("/").join(rest));
        let program = outside.as_deref().unwrap_or(program).display();
        let id = &self.id;
        CliError::unreachable(format_args!(
            "the Flatpak {id} keeps what it starts away from Postern; hint: let it start \
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
    fn the_sandbox_is_told_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("info");
        assert_eq!(Flatpak::detect(&info), None);
        let text = "[Instance]\nname=other\n\n[Application]\nname=com.vscodium.codium\nruntime=r\n";
        std::fs::write(&info, text).unwrap();
        let around = Flatpak::detect(&info).unwrap();
        assert_eq!(around.id, "com.vscodium.codium");
        let told = around.error(Path::new("/run/host/usr/bin/postern"), "connect crm");
        let hint = told.hint().unwrap();
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
