//! A proxy auto-config script, which names the proxy for each destination. A real desktop portal
//! runs the script, as on GNOME.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use control::{
    Client, Home,
    api::{DoctorOutcome, Reply, Request},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Child,
};

use crate::harness::{
    bridge::Bridge,
    desktop::session::Session,
    program,
    shim::Shim,
    until,
    upstream::{Fault, Upstream},
};

const CONFIG: &str = r#"
[bridge]
port = 0
[servers.far]
url = "http://far.example/mcp"
allow_http = true
[servers.near]
url = "http://mcp.inside.example/mcp"
allow_http = true
"#;

/// A user's session whose network settings name the script.
struct DesktopSession {
    bridge: Bridge,
    _processes: [Child; 2],
    _session: Session,
    _folder: TempDir,
}

impl DesktopSession {
    async fn with(script: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-")
            .tempdir()
            .expect("a temporary folder");
        let bridge = Bridge::configured(folder.path(), CONFIG);
        let session = Session::start(folder.path(), &bridge).await;
        let settings = settings(folder.path(), script);
        let portal = session.spawn(
            session
                .command("/usr/libexec/xdg-desktop-portal")
                .env("GSETTINGS_BACKEND", "keyfile")
                .env("XDG_CONFIG_HOME", settings)
                .env("XDG_CURRENT_DESKTOP", "GNOME"),
        );
        session.until_owned("org.freedesktop.portal.Desktop").await;
        let resident = session.spawn(
            session
                .command(program::postern())
                .args(["bridge", "--home"])
                .arg(bridge.root()),
        );
        let home = Home::under(bridge.root()).expect("a home");
        let version = env!("CARGO_PKG_VERSION");
        until("the bridge", async || {
            Client::connect(&home, version, false).await.ok()
        })
        .await;
        Self {
            bridge,
            _processes: [portal, resident],
            _session: session,
            _folder: folder,
        }
    }
}

/// Writes settings that name the script and returns their folder.
fn settings(folder: &Path, script: &str) -> PathBuf {
    let file = folder.join("proxy.pac");
    fs::write(&file, script).expect("a script");
    let settings = folder.join("settings");
    let keyfile = settings.join("glib-2.0/settings/keyfile");
    fs::create_dir_all(keyfile.with_file_name("")).expect("a folder");
    let script = file.display();
    let text = format!("[system/proxy]\nmode='auto'\nautoconfig-url='file://{script}'\n");
    fs::write(keyfile, text).expect("settings");
    settings
}

/// Starts a proxy (RFC 9110 §9.3.6) that connects every tunnel to `to`.
async fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.expect("a head"));
                }
                assert!(head.starts_with(b"CONNECT far.example:80 "), "{head:?}");
                let mut far = TcpStream::connect(to).await.expect("the server");
                let opened = near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                opened.expect("an answer");
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_script_is_applied_and_reported() {
    let upstream = Upstream::start().await;
    let proxy = proxy(upstream.address()).await;
    let desktop = DesktopSession::with(&format!(
        r#"function FindProxyForURL(url, host) {{
            if (dnsDomainIs(host, ".inside.example")) return "DIRECT";
            return "PROXY 127.0.0.1:9; PROXY {proxy}; DIRECT";
        }}"#
    ))
    .await;

    let mut host = Shim::spawn(&desktop.bridge, "far");
    host.initialize().await;
    let arguments = json!({ "key": "through the proxy", "fault": Fault::NONE });
    let said = host.call("echo", arguments).await;
    assert_eq!(said.expect("an answer"), "through the proxy");

    let Reply::Doctor(checks) = desktop.bridge.request(Request::Doctor).await else {
        panic!("no checks");
    };
    let found = |subject: &str| {
        let check = checks.iter().find(|check| check.subject == subject);
        let check = check.unwrap_or_else(|| panic!("no {subject} in {checks:#?}"));
        (check.outcome, check.finding.clone())
    };
    let through = format!("http://{proxy} on the way to http://far.example");
    assert_eq!(found("server far, proxy"), (DoctorOutcome::Ok, through));
    let direct = "none on the way to http://mcp.inside.example".to_owned();
    assert_eq!(found("server near, proxy"), (DoctorOutcome::Ok, direct));
}
