//! The paths of host files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hosts::{Host, Os, Places, file};

fn places(os: Os, home: &Path) -> Places {
    Places {
        os,
        home: home.to_owned(),
        config_home: None,
        appdata: None,
        local_appdata: None,
    }
}

fn claude(places: &Places) -> PathBuf {
    file(Host::ClaudeDesktop, places)
}

#[test]
fn linux_uses_absolute_xdg_config_home() {
    let mut places = places(Os::Linux, Path::new("/home/ada"));
    let usual = Path::new("/home/ada/.config/Claude/claude_desktop_config.json");
    assert_eq!(claude(&places), usual);
    for not_a_path in ["", "relative/folder"] {
        places.config_home = Some(not_a_path.into());
        assert_eq!(claude(&places), usual);
    }
    places.config_home = Some("/etc/xdg-ada".into());
    assert_eq!(
        claude(&places),
        Path::new("/etc/xdg-ada/Claude/claude_desktop_config.json")
    );
}

#[test]
fn macos_uses_application_support() {
    let places = places(Os::MacOs, Path::new("/Users/ada"));
    let expected = "/Users/ada/Library/Application Support/Claude/claude_desktop_config.json";
    assert_eq!(claude(&places), Path::new(expected));
}

#[test]
fn windows_prefers_store_package() {
    let home = tempfile::tempdir().unwrap();
    let local = home.path().join("AppData/Local");
    let places = Places {
        appdata: Some(home.path().join("AppData/Roaming")),
        local_appdata: Some(local.clone()),
        ..places(Os::Windows, home.path())
    };
    let classic = home
        .path()
        .join("AppData/Roaming/Claude/claude_desktop_config.json");
    assert_eq!(claude(&places), classic);

    fs::create_dir_all(local.join("Packages/Other_abc")).unwrap();
    fs::write(local.join("Packages/Claude_file"), "").unwrap();
    assert_eq!(claude(&places), classic);

    let package = |name: &str| local.join("Packages").join(name);
    let inside =
        |name: &str| package(name).join("LocalCache/Roaming/Claude/claude_desktop_config.json");
    fs::create_dir_all(package("Claude_pzs8sxrjxfjjc")).unwrap();
    assert_eq!(claude(&places), inside("Claude_pzs8sxrjxfjjc"));

    // Of two packages, the one that Claude has written to.
    fs::create_dir_all(package("Claude_zzz")).unwrap();
    fs::create_dir_all(inside("Claude_pzs8sxrjxfjjc").parent().unwrap()).unwrap();
    assert_eq!(claude(&places), inside("Claude_pzs8sxrjxfjjc"));
}

#[test]
fn windows_without_variables_uses_default_folders() {
    let home = tempfile::tempdir().unwrap();
    let places = places(Os::Windows, home.path());
    let classic = home
        .path()
        .join("AppData/Roaming/Claude/claude_desktop_config.json");
    assert_eq!(claude(&places), classic);
    let package = home.path().join("AppData/Local/Packages/Claude_x");
    fs::create_dir_all(&package).unwrap();
    assert!(claude(&places).starts_with(package));
}

#[test]
fn host_name_round_trips() {
    for host in Host::ALL {
        assert_eq!(host.to_string().parse(), Ok(*host));
    }
    let error = "claude".parse::<Host>().unwrap_err().to_string();
    assert!(error.contains("claude-desktop"), "{error}");
}
