//! Hosts in snaps and Flatpaks, and two users on one machine.

use std::{io::ErrorKind, net::TcpListener, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{
    Harness,
    fixture::Fixture,
    free_port,
    os_user::{OsUser, can_switch_users},
    program,
    shim::Shim,
    until,
};

const SKIPPED: &str = "SKIPPED: only root can run processes as other users";

/// Returns a temporary folder for all users, and a server that they know as `fixture`.
async fn folder_and_fixture() -> (TempDir, Fixture) {
    let folder = tempfile::Builder::new()
        .prefix("postern-it-")
        .tempdir()
        .expect("a temporary folder");
    (folder, Fixture::start().await)
}

fn config(port: u16, fixture: &Fixture) -> String {
    let url = fixture.url("mcp");
    format!("[bridge]\nport = {port}\n[servers.fixture]\nurl = \"{url}\"\n")
}

async fn call(user: &OsUser, environment: &[(&str, String)]) {
    let shim = user.postern(&["connect", "fixture"], environment);
    let mut shim = Shim::from_command(shim);
    shim.initialize().await;
    let answer = shim.call("test_simple_text", json!({})).await;
    assert!(answer.expect("a text").contains("text"));
}

/// Returns what VS Code's classic snap passes on.
fn classic(home: &str) -> Vec<(&'static str, String)> {
    let variables = [
        ("DISPLAY", ":0"),
        ("GIO_MODULE_DIR", "HOME/snap/code/common/.cache/gio-modules"),
        (
            "GTK_PATH",
            "/snap/code/180/usr/lib/x86_64-linux-gnu/gtk-3.0",
        ),
        ("GTK_PATH_VSCODE_SNAP_ORIG", ""),
        ("LD_LIBRARY_PATH", "/snap/code/180/usr/lib"),
        ("LOCPATH", "/snap/code/180/usr/lib/locale"),
        ("SNAP", "/snap/code/180"),
        ("SNAP_NAME", "code"),
        ("SNAP_REAL_HOME", "HOME"),
        ("SNAP_USER_DATA", "HOME/snap/code/180"),
        ("XDG_CONFIG_HOME", "HOME/snap/code/180/.config"),
        ("XDG_DATA_DIRS", "/snap/code/180/usr/share:/usr/share"),
        ("XDG_DATA_HOME", "HOME/snap/code/180/.local/share"),
        ("XDG_RUNTIME_DIR", "/run/user/61700/snap.code"),
    ];
    let filled = variables.map(|(name, value)| (name, value.replace("HOME", home)));
    filled.into()
}

/// Returns what the SDKs pass on in a strict snap: a home of its own, and no variable of a snap.
fn strict(home: &str) -> Vec<(&'static str, String)> {
    vec![
        ("HOME", format!("{home}/snap/host/7")),
        ("USER", "x".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn host_in_snap_shares_bridge_without_snap_environment() {
    if !can_switch_users() {
        eprintln!("{SKIPPED}");
        return;
    }
    let (folder, fixture) = folder_and_fixture().await;
    let user = OsUser::new(folder.path(), 0, &config(0, &fixture));
    let home = user.home().to_str().expect("a path").to_owned();
    for folder in ["snap/code/180", "snap/host/7"] {
        std::fs::create_dir_all(user.home().join(folder)).expect("a folder");
    }
    user.take(user.home());

    for environment in [classic(&home), strict(&home)] {
        call(&user, &environment).await;
        let bridge = user.bridge().await;
        // The terminal and other hosts use the same bridge, configuration and vault.
        user.run(&["secrets", "set", "one"], "a secret\n").await;
        let listed = OsUser::output(user.postern(&["secrets", "list"], &environment), "").await;
        assert!(
            String::from_utf8_lossy(&listed.stdout).contains("one"),
            "{listed:?}"
        );
        call(&user, &[]).await;
        assert_eq!(user.bridges(), [bridge]);

        // Programs that the bridge opens get no variable of the snap.
        let variables = program::variables(bridge);
        let of_snap = |(name, value): &&(String, String)| {
            name.contains("SNAP") || value.contains("/snap/") || value.contains("snap.")
        };
        assert_eq!(variables.iter().find(of_snap), None);
        assert!(variables.contains(&("HOME".to_owned(), home.clone())));
        program::kill(bridge);
        until("its end", async || program::is_gone(bridge).then_some(())).await;
    }
}

/// A sandbox as Flatpak creates it.
#[tokio::test(flavor = "multi_thread")]
async fn host_in_flatpak_gets_hint_and_starts_no_bridge() {
    if !can_switch_users() {
        eprintln!("{SKIPPED}");
        return;
    }
    let (folder, fixture) = folder_and_fixture().await;
    let user = OsUser::new(folder.path(), 3, &config(0, &fixture));
    let info = folder.path().join("flatpak-info");
    let text = "[Application]\nname=com.visualstudio.code\n";
    std::fs::write(&info, text).expect("a file");
    let sandboxed = async |arguments: &[&str]| {
        let postern = user.postern(arguments, &[]);
        let mut command = Command::new("bwrap");
        let folder = folder.path();
        command
            .args(["--ro-bind", "/usr", "/usr"])
            .args(["--proc", "/proc", "--dev", "/dev"])
            .args(["--symlink", "usr/lib", "/lib"])
            .args(["--symlink", "usr/lib64", "/lib64"])
            .args(["--symlink", "usr/bin", "/bin"])
            .arg("--bind")
            .args([folder, folder])
            .arg("--ro-bind")
            .args([&*info, Path::new("/.flatpak-info")])
            .arg(postern.as_std().get_program())
            .args(postern.as_std().get_args())
            .env_clear()
            .env("HOME", user.home())
            .env("PATH", program::search_path());
        OsUser::output(command, "").await
    };
    let connected = sandboxed(&["connect", "fixture"]).await;
    let told = String::from_utf8_lossy(&connected.stderr);
    assert_eq!(connected.status.code(), Some(4), "{told}");
    assert_eq!(connected.stdout, b"", "no output except MCP");
    let postern = folder.path().join("bin/postern").display().to_string();
    for part in [
        "the Flatpak com.visualstudio.code",
        &format!("`flatpak-spawn --host {postern} connect fixture`"),
        "`flatpak override --user --talk-name=org.freedesktop.Flatpak com.visualstudio.code`",
    ] {
        assert!(told.contains(part), "{told}");
    }
    for arguments in [&["bridge", "--detach"][..], &["servers", "list"]] {
        let refused = sandboxed(arguments).await;
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}");
    }
    assert!(!user.run_dir().exists(), "no bridge was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_on_one_machine_are_isolated() {
    if !can_switch_users() {
        eprintln!("{SKIPPED}");
        return;
    }
    let (folder, fixture) = folder_and_fixture().await;
    let port = free_port().await;
    let [adele, ben] = [1, 2].map(|number| {
        let config = config(port, &fixture);
        OsUser::new(folder.path(), number, &config)
    });
    // Both run at the same time, as with fast user switching. The second gets no port.
    call(&adele, &[]).await;
    call(&ben, &[]).await;
    let (hers, his) = (adele.status().await, ben.status().await);
    assert_ne!(hers["bridge"]["pid"], his["bridge"]["pid"]);
    assert_eq!(hers["bridge"]["http"], format!("http://127.0.0.1:{port}"));
    assert_eq!(his["bridge"]["http"], Value::Null, "never another port");
    let problem = &his["bridge"]["httpProblem"];
    let message = problem["message"].as_str().expect("a problem");
    assert!(message.contains(&format!("port {port} ")), "{message}");
    let hint = problem["hint"].as_str().expect("a hint");
    assert!(hint.contains("another `port`"), "{hint}");

    // Her port rejects all requests of his, and none of hers.
    for path in ["fixture/mcp", "fixture/sse"] {
        let answer = get(&ben, port, path).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("another user"), "{answer}");
        let answer = get(&adele, port, path).await;
        assert!(!answer.contains("another user"), "{answer}");
    }

    // Her sockets reject him too, even with open folders.
    let as_if_her = [("HOME", adele.home().display().to_string())];
    for open in [false, true] {
        if open {
            let status = std::process::Command::new("chmod")
                .args(["-R", "a+rwX"])
                .args([adele.home(), &adele.run_dir()])
                .status();
            assert!(status.expect("chmod").success());
        }
        for arguments in [["status", "--json"], ["servers", "list"]] {
            let refused = OsUser::output(ben.postern(&arguments, &as_if_her), "").await;
            let said = String::from_utf8_lossy(&refused.stdout);
            assert!(!refused.status.success(), "{arguments:?}: {said}");
            assert!(!said.contains("fixture"), "{said}");
        }
    }
    assert_eq!(adele.status().await["bridge"]["pid"], hers["bridge"]["pid"]);
    assert_eq!(adele.bridges().len(), 1);
    assert_eq!(ben.bridges().len(), 1);
}

/// Returns the start of the response to a request of this user.
async fn get(user: &OsUser, port: u16, path: &str) -> String {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; \
         printf 'GET /{path} HTTP/1.1\\r\\nhost: 127.0.0.1:{port}\\r\\naccept: text/event-stream\\r\\nconnection: close\\r\\n\\r\\n' >&3; \
         IFS= read -r status <&3; printf '%s\\n' \"$status\"; \
         case $status in *' 403 '*) cat <&3;; esac"
    );
    let mut command = user.command("bash", &[]);
    command.args(["-c", &script]);
    let output = OsUser::output(command, "").await;
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sign_ins_of_two_users_use_separate_callbacks() {
    if !can_switch_users() {
        eprintln!("{SKIPPED}");
        return;
    }
    let harness = Harness::start().await;
    let url = format!("{}/snippets/mcp", harness.servers.gateway_url());
    let config = format!("[bridge]\nport = 0\n[servers.snippets]\nurl = \"{url}\"\n");
    let users = [1, 2].map(|number| OsUser::new(harness.folder(), number, &config));
    let hello = json!({ "name": "hello_mcp", "arguments": {} });
    let mut hosts = Vec::new();
    let mut pages = Vec::new();
    for user in &users {
        let mut host = Shim::from_command(user.postern(&["connect", "snippets"], &[]));
        host.initialize().await;
        let waiting = host.send_request("tools/call", hello.clone()).await;
        let page = until("a page", async || {
            let status = user.status().await;
            let sign_in = &status["signIns"][0];
            let port = sign_in["callbackPort"].as_u64()?;
            let port = u16::try_from(port).expect("a port");
            Some((sign_in["url"].as_str()?.to_owned(), port))
        });
        pages.push(page.await);
        hosts.push((host, waiting));
    }

    // Each callback port belongs to one user only, on both loopback addresses.
    assert_ne!(pages[0].1, pages[1].1);
    for (_, port) in &pages {
        for address in ["127.0.0.1", "::1"] {
            let taken =
                TcpListener::bind((address, *port)).expect_err("the callback port is in use");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse, "{address}");
        }
    }
    harness.sign_in_at(&pages[0].0).await;
    let (host, waiting) = &mut hosts[0];
    let answer = host.response(*waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    let [hers, his] = [&users[0], &users[1]];
    assert_eq!(
        hers.status().await["accounts"].as_array().map(Vec::len),
        Some(1)
    );
    let status = his.status().await;
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        status["signIns"].as_array().map(Vec::len),
        Some(1),
        "his sign-in is still pending"
    );
}
