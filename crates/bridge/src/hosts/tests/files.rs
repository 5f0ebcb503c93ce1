//! Plans and changes on disk.

use std::fs;
use std::path::PathBuf;

use crate::hosts::{
    Change, Entry, Host, HostsError, Kind, Os, Places, apply, entries, file, plan_add, plan_remove,
};

const HOST: Host = Host::ClaudeDesktop;

/// A temporary home folder.
struct Fixture {
    #[cfg_attr(
        not(unix),
        expect(
            dead_code,
            reason = "it is there until the end; cases of Unix look into it"
        )
    )]
    folder: tempfile::TempDir,
    places: Places,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            os: Os::Linux,
            home: folder.path().to_owned(),
            config_home: None,
            appdata: None,
            local_appdata: None,
        };
        Self { folder, places }
    }

    fn with(text: &str) -> Self {
        let fixture = Self::new();
        fs::create_dir_all(fixture.file().parent().unwrap()).unwrap();
        fs::write(fixture.file(), text).unwrap();
        fixture
    }

    fn file(&self) -> PathBuf {
        file(HOST, &self.places)
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    fn plan_add(&self, name: &str) -> Change {
        plan_add(HOST, &self.places, &entry(name)).unwrap()
    }

    fn add(&self, name: &str) -> Kind {
        let change = self.plan_add(name);
        apply(&change).unwrap();
        assert_eq!(self.text(), change.after);
        change.kind
    }

    fn remove(&self, name: &str) -> Kind {
        let change = plan_remove(HOST, &self.places, name).unwrap();
        apply(&change).unwrap();
        assert_eq!(self.text(), change.after);
        change.kind
    }

    /// Returns the other names in the file's folder.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file().parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != "claude_desktop_config.json");
        names.sort();
        names
    }
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        command: "/opt/postern/postern".into(),
        args: vec!["connect".to_owned(), name.to_owned()],
    }
}

const TEXTS: &[&str] = &[
    "",
    "\n",
    "  \r\n\t",
    "{}",
    "{}\n",
    "{ }",
    "{\n}\n",
    "{\r\n\r\n}\r\n",
    "\u{feff}",
    "\u{feff}{}",
    r#"{"mcpServers":{}}"#,
    "{\"mcpServers\": {\n\n  }\n}",
    "{\n\t\"mcpServers\": {\n\t\t\"x\": { \"command\": \"y\" }\n\t}\n}\n",
    "{\n\n  \"mcpServers\": {\n\n    \"x\": {}\n\n  },\n\n  \"n\": 1.0e400\n\n}\n\n\n",
    "{\r\n    \"mcpServers\": {\r\n        \"x\": {}\r\n    }\r\n}\r\n",
    r#"{"a":{"mcpServers":1},"mcpServers":{"x":{"command":"y"}},"z":[]}"#,
    "// note\n{\n  // more\n  \"mcpServers\": {\n    \"x\": {}, // last\n  },\n} // end\n",
    "/* only a comment */",
    "// only a comment\n",
    "{\n\"flat\": true,\n\"mcpServers\": {\n\"x\": {}\n}\n}\n",
];

#[test]
fn add_then_remove_restores_bytes() {
    for before in TEXTS {
        let fixture = Fixture::with(before);
        for round in 1..=2 {
            assert_eq!(fixture.add("demo"), Kind::Added, "{before:?}");
            assert_eq!(fixture.remove("demo"), Kind::Removed, "{before:?}");
            assert_eq!(fixture.text().as_deref(), Some(*before), "round {round}");
        }
    }
}

#[test]
fn removing_two_entries_in_any_order_restores_bytes() {
    for before in TEXTS {
        for [first, second] in [["one", "two"], ["two", "one"]] {
            let fixture = Fixture::with(before);
            fixture.add("one");
            fixture.add("two");
            fixture.remove(first);
            fixture.remove(second);
            assert_eq!(fixture.text().as_deref(), Some(*before), "{first} first");
        }
    }
}

#[test]
fn created_file_is_deleted_on_remove() {
    let fixture = Fixture::new();
    assert_eq!(fixture.add("demo"), Kind::Created);
    assert_eq!(fixture.add("demo"), Kind::Unchanged);
    assert_eq!(fixture.remove("demo"), Kind::Deleted);
    assert_eq!(fixture.text(), None);
    assert_eq!(fixture.remove("demo"), Kind::Unchanged);
}

#[test]
fn created_file_with_other_content_is_kept() {
    let fixture = Fixture::new();
    fixture.add("demo");
    let text = fixture
        .text()
        .unwrap()
        .replacen('{', "{\n  \"theme\": \"dark\",", 1);
    fs::write(fixture.file(), text).unwrap();
    assert_eq!(fixture.remove("demo"), Kind::Removed);
    assert_eq!(fixture.text().unwrap(), "{\n  \"theme\": \"dark\"\n}\n");
}

#[test]
fn change_contains_unified_diff() {
    let fixture = Fixture::with("{\n  \"a\": 1\n}\n");
    let diff = fixture.plan_add("demo").diff;
    let path = fixture.file().display().to_string();
    let expected = format!(
        "--- {path}\n+++ {path}\n@@ -1,3 +1,9 @@\n {{\n-  \"a\": 1\n+  \"a\": 1,\n+  \"mcpServers\": {{\n+    \"demo\": {{\n+      \"command\": \"/opt/postern/postern\",\n+      \"args\": [\"connect\", \"demo\"]\n+    }}\n+  }}\n }}\n"
    );
    assert_eq!(diff, expected);
    fixture.add("demo");
    assert_eq!(fixture.plan_add("demo").diff, "");
}

#[test]
fn apply_writes_backup() {
    let fixture = Fixture::with("{}");
    let applied = apply(&fixture.plan_add("demo")).unwrap();
    let backup = applied.backup.unwrap();
    assert_eq!(
        backup,
        fixture.file().with_extension("json.postern-backup-1")
    );
    assert_eq!(fs::read_to_string(backup).unwrap(), "{}");
    assert_eq!(apply(&fixture.plan_add("demo")).unwrap().backup, None);
}

#[test]
fn identical_backups_are_not_repeated() {
    let fixture = Fixture::with("{}");
    for _ in 0..5 {
        fixture.add("demo");
        fixture.remove("demo");
    }
    assert_eq!(fixture.beside().len(), 2, "{:?}", fixture.beside());
    let newest = fixture.file().with_extension("json.postern-backup-10");
    assert!(fs::read_to_string(newest).unwrap().contains("demo"));
}

#[test]
fn newest_three_backups_are_kept() {
    let fixture = Fixture::with("{}");
    for name in ["one", "two", "three", "four", "five"] {
        fixture.add(name);
    }
    let numbered = |number: u64| format!("claude_desktop_config.json.postern-backup-{number}");
    let kept = [3, 4, 5].map(numbered);
    assert_eq!(fixture.beside(), kept);
    for (name, (last, next)) in
        kept.iter()
            .zip([("two", "three"), ("three", "four"), ("four", "five")])
    {
        let text = fs::read_to_string(fixture.file().with_file_name(name)).unwrap();
        assert!(
            text.contains(last) && !text.contains(next),
            "{name}: {text}"
        );
    }
}

#[test]
fn files_with_other_names_are_kept() {
    let fixture = Fixture::with("{}");
    let foreign = ["+1", "01", "1.old", "2026", "1~", ""].map(|end| match end {
        // A backup of another file.
        "2026" => "other.json.postern-backup-1".to_owned(),
        end => format!("claude_desktop_config.json.postern-backup-{end}"),
    });
    for name in &foreign {
        fs::write(fixture.file().with_file_name(name), "mine").unwrap();
    }
    for name in ["one", "two", "three", "four", "five"] {
        fixture.add(name);
    }
    let beside = fixture.beside();
    assert!(
        foreign.iter().all(|name| beside.contains(name)),
        "{beside:?}"
    );
    assert_eq!(beside.len(), foreign.len() + 3, "{beside:?}");
}

#[test]
fn backup_without_free_number_fails() {
    let fixture = Fixture::with("{}");
    let last = fixture
        .file()
        .with_extension(format!("json.postern-backup-{}", u64::MAX));
    fs::write(&last, "mine").unwrap();
    let error = apply(&fixture.plan_add("demo")).unwrap_err().to_string();
    assert!(
        error.contains("no backup can have a higher number"),
        "{error}"
    );
    assert_eq!(fixture.text().as_deref(), Some("{}"));
    assert_eq!(fs::read_to_string(&last).unwrap(), "mine");
}

#[test]
fn remove_works_without_backups() {
    let fixture = Fixture::with("{\n  \"mcpServers\": {\n    \"x\": {}\n  }\n}\n");
    let before = fixture.text();
    fixture.add("demo");
    for name in fixture.beside() {
        fs::remove_file(fixture.file().with_file_name(name)).unwrap();
    }
    fixture.remove("demo");
    assert_eq!(fixture.text(), before);
}

#[test]
fn changed_file_is_not_overwritten() {
    let fixture = Fixture::with("{}");
    let change = fixture.plan_add("demo");
    fs::write(fixture.file(), "{ }").unwrap();
    assert!(matches!(
        apply(&change),
        Err(HostsError::ChangedMeanwhile { .. })
    ));
    fs::remove_file(fixture.file()).unwrap();
    assert!(matches!(
        apply(&change),
        Err(HostsError::ChangedMeanwhile { .. })
    ));
    let change = fixture.plan_add("demo");
    fs::write(fixture.file(), "{}").unwrap();
    assert!(matches!(
        apply(&change),
        Err(HostsError::ChangedMeanwhile { .. })
    ));
    assert_eq!(fixture.text().as_deref(), Some("{}"));
    assert_eq!(fixture.beside(), [""; 0], "nothing was written");
}

#[test]
fn error_names_position_and_hint() {
    let fixture = Fixture::with("{\n  \"mcpServers\": 1\n}");
    let error = plan_add(HOST, &fixture.places, &entry("demo"))
        .unwrap_err()
        .to_string();
    let path = fixture.file().display().to_string();
    assert!(
        error.starts_with(&format!("{path}:2:17: `mcpServers` must be")),
        "{error}"
    );
    assert!(error.contains("hint: "), "{error}");

    fs::write(fixture.file(), b"{\"a\": \"\xe9\"}").unwrap();
    let error = entries(HOST, &fixture.places).unwrap_err();
    assert!(matches!(error, HostsError::NotUtf8 { .. }), "{error}");

    fs::remove_file(fixture.file()).unwrap();
    fs::create_dir(fixture.file()).unwrap();
    let error = plan_remove(HOST, &fixture.places, "demo").unwrap_err();
    assert!(matches!(error, HostsError::Read { .. }), "{error}");
}

#[test]
fn temporary_command_path_is_rejected() {
    let fixture = Fixture::new();
    for (os, command, says) in [
        (Os::Linux, "postern", "not absolute"),
        (Os::Linux, "./postern", "not absolute"),
        (Os::Windows, r"\postern.exe", "not absolute"),
        (
            Os::Linux,
            "/tmp/.mount_PosteraBcD/usr/bin/postern",
            "AppImage",
        ),
        (Os::Linux, "/usr/bin/other", "`postern connect …`"),
    ] {
        let places = Places {
            os,
            ..fixture.places.clone()
        };
        let entry = Entry {
            command: command.into(),
            ..entry("demo")
        };
        let error = plan_add(HOST, &places, &entry).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("hint: "), "{error}");
    }
    let bridge = Entry {
        args: vec!["bridge".to_owned()],
        ..entry("demo")
    };
    assert!(matches!(
        plan_add(HOST, &fixture.places, &bridge),
        Err(HostsError::Entry { .. })
    ));
}

#[test]
fn missing_file_has_no_entries() {
    let fixture = Fixture::new();
    assert_eq!(entries(HOST, &fixture.places).unwrap(), []);
    fixture.add("demo");
    let names: Vec<_> = entries(HOST, &fixture.places).unwrap();
    assert_eq!((names[0].name.as_str(), names[0].ours), ("demo", true));
}

#[test]
fn change_debug_omits_content() {
    let fixture = Fixture::with(r#"{"mcpServers": {"x": {"env": {"KEY": "s3cret"}}}}"#);
    assert!(!format!("{:?}", fixture.plan_add("demo")).contains("s3cret"));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn mode_is_kept_and_backup_is_private() {
        for wanted in [0o600, 0o640, 0o664] {
            let fixture = Fixture::with("{}");
            fs::set_permissions(fixture.file(), fs::Permissions::from_mode(wanted)).unwrap();
            let applied = apply(&fixture.plan_add("demo")).unwrap();
            assert_eq!(mode(&fixture.file()), wanted);
            assert_eq!(mode(&applied.backup.unwrap()), 0o600);
        }
    }

    #[test]
    fn links_named_as_backups_are_not_followed() {
        let fixture = Fixture::with("{}");
        let precious = fixture.folder.path().join("precious.json");
        fs::write(&precious, "{}").unwrap();
        let link = |number: u64| {
            let extension = format!("json.postern-backup-{number}");
            fixture.file().with_extension(extension)
        };
        for number in [1, 4] {
            symlink(&precious, link(number)).unwrap();
        }
        symlink("nowhere", link(2)).unwrap();
        for name in ["one", "two", "three", "four", "five"] {
            fixture.add(name);
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "{}");
        assert!(
            [1, 2, 4]
                .into_iter()
                .all(|number| link(number).is_symlink())
        );
        assert!(!fixture.folder.path().join("nowhere").exists());
        // 3, 5, 6, 7 and 8 were written, and the newest three remain.
        assert_eq!(fixture.beside().len(), 6, "{:?}", fixture.beside());
        assert!([6, 7, 8].into_iter().all(|number| link(number).is_file()));
    }

    #[test]
    fn new_file_is_private() {
        let fixture = Fixture::new();
        fixture.add("demo");
        assert_eq!(mode(&fixture.file()), 0o600);
    }

    #[test]
    fn read_only_file_is_not_changed() {
        let fixture = Fixture::with("{}");
        fs::set_permissions(fixture.file(), fs::Permissions::from_mode(0o444)).unwrap();
        let error = apply(&fixture.plan_add("demo")).unwrap_err();
        assert!(matches!(error, HostsError::ReadOnly { .. }), "{error}");
        assert_eq!(fixture.text().as_deref(), Some("{}"));
    }

    #[test]
    fn symbolic_link_is_followed_and_kept() {
        let fixture = Fixture::with("");
        fs::remove_file(fixture.file()).unwrap();
        let dotfiles = fixture.folder.path().join("dotfiles");
        fs::create_dir(&dotfiles).unwrap();
        let target = dotfiles.join("claude.json");
        fs::write(&target, "{}").unwrap();
        symlink("../../dotfiles/claude.json", fixture.file()).unwrap();
        let applied = apply(&fixture.plan_add("demo")).unwrap();
        assert!(fixture.file().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().contains("demo"));
        assert!(
            applied
                .backup
                .unwrap()
                .ends_with("claude.json.postern-backup-1")
        );
        fixture.remove("demo");
        assert_eq!(fs::read_to_string(&target).unwrap(), "{}");
    }

    #[test]
    fn dangling_link_target_is_created() {
        let fixture = Fixture::with("");
        fs::remove_file(fixture.file()).unwrap();
        let target = fixture.folder.path().join("later.json");
        symlink(&target, fixture.file()).unwrap();
        assert_eq!(fixture.add("demo"), Kind::Created);
        assert!(fixture.file().is_symlink() && target.is_file());
        assert_eq!(fixture.remove("demo"), Kind::Deleted);
        assert!(fixture.file().is_symlink() && !target.exists());
    }

    #[test]
    fn link_cycle_fails() {
        let fixture = Fixture::with("");
        fs::remove_file(fixture.file()).unwrap();
        symlink(fixture.file(), fixture.file()).unwrap();
        let error = plan_add(HOST, &fixture.places, &entry("demo")).unwrap_err();
        assert!(error.to_string().contains("circle"), "{error}");
    }
}
