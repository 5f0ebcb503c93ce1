//! Where people really are: behind hosts in snaps and Flatpaks, and two of them on one machine.

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

const NOT_TRIED: &str = "NOT TRIED: only root can be several users";

/// A temporary folder for all users of the machine, and a server that they know as `fixture`.
async fn place() -> (TempDir, Fixture) {
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
    let mut shim = Shim::of(shim);
    shim.initialize().await;
    let answer = shim.call("test_simple_text", json!({})).await;
    assert!(answer.expect("a text").contains("text"));
}

/// What VS Code's classic snap passes on.
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

/// What the SDKs pass on in a host whose snap is strict: a home of its own, and no word of a snap.
fn strict(home: &str) -> Vec<(&'static str, String)> {
    vec![
        ("HOME", format!("{home}/snap/host/7")),
        ("USER", "x".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_snap_has_the_same_bridge_as_everybody_and_leaves_no_trace_in_it() {
    if !can_switch_users() {
        eprintln!("{NOT_TRIED}");
        return;
    }
    let (folder, fixture) = place().await;
    let user = OsUser::new(folder.path(), 0, &config(0, &fixture));
    let home = user.home().to_str().expect("a path").to_owned();
    for folder in ["snap/code/180", "snap/host/7"] {
        std::fs::create_dir_all(user.home().join(folder)).expect("a folder");
    }
    user.take(user.home());

    for environment in [classic(&home), strict(&home)] {
        call(&user, &environment).await;
        let bridge = user.bridge().await;
        // The terminal and the other hosts find that one, its configuration and its vault.
        user.run(&["secrets", "set", "one"], "a secret of somebody's\n")
            .await;
        let listed = OsUser::output(user.postern(&["secrets", "list"], &environment), "").await;
        assert!(
            String::from_utf8_lossy(&listed.stdout).contains("one"),
            "{listed:?}"
        );
        call(&user, &[]).await;
        assert_eq!(user.bridges(), [bridge]);

        // Nothing that it opens hears of the snap.
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

/// What Flatpak puts into a sandbox, in one that is made as Flatpak makes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_flatpak_is_told_how_to_get_out_and_gets_no_bridge_of_its_own() {
    if !can_switch_users() {
        eprintln!("{NOT_TRIED}");
        return;
    }
    let (folder, fixture) = place().await;
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
    assert_eq!(connected.stdout, b"", "MCP and nothing else");
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
async fn two_people_on_one_machine_have_nothing_of_each_other() {
    if !can_switch_users() {
        eprintln!("{NOT_TRIED}");
        return;
    }
    let (folder, fixture) = place().await;
    let port = free_port().await;
    let [adele, ben] = [1, 2].map(|number| {
        let config = config(port, &fixture);
        OsUser::new(folder.path(), number, &config)
    });
    // Both at the same time, as with fast user switching. Who comes second has no port.
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

    // At her port he is a stranger, whatever he asks for; she is not.
    for path in ["fixture/mcp", "fixture/sse"] {
        let answer = get(&ben, port, path).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("another user"), "{answer}");
        let answer = get(&adele, port, path).await;
        assert!(!answer.contains("another user"), "{answer}");
    }

    // Nor do her sockets let him in, not even where their folders would.
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

/// The first bytes of the answer to a request of this user's.
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
async fn two_people_who_sign_in_at_once_come_back_each_to_their_own_bridge() {
    if !can_switch_users() {
        eprintln!("{NOT_TRIED}");
        return;
    }
    let harness = Harness::start().await;
    let url = format!("{}/snippets/mcp", harness.servers.gateway_url());
    let config = format!("[bridge]\nport = 0\n[servers.snippets]\nurl = \"{url}\"\n");
    let people = [1, 2].map(|number| OsUser::new(harness.folder(), number, &config));
    let hello = json!({ "name": "hello_mcp", "arguments": {} });
    let mut hosts = Vec::new();
    let mut pages = Vec::new();
    for person in &people {
        let mut host = Shim::of(person.postern(&["connect", "snippets"], &[]));
        host.initialize().await;
        let waiting = host.ask("tools/call", hello.clone()).await;
        let page = until("a page", async || {
            let status = person.status().await;
            let sign_in = &status["signIns"][0];
            let port = sign_in["callbackPort"].as_u64()?;
            let port = u16::try_from(port).expect("a port");
            Some((sign_in["url"].as_str()?.to_owned(), port))
        });
        pages.push(page.await);
        hosts.push((host, waiting));
    }

    // Where the browser comes back to is nobody else's, by either name that it may go by.
    assert_ne!(pages[0].1, pages[1].1);
    for (_, port) in &pages {
        for address in ["127.0.0.1", "::1"] {
            let taken = TcpListener::bind((address, *port)).expect_err("a port of somebody's");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse, "{address}");
        }
    }
    harness.sign_in_at(&pages[0].0).await;
    let (host, waiting) = &mut hosts[0];
    let answer = host.answer(*waiting).await;
    assert!(answer["result"]["content"].is_array(), "{answer}");
    let [hers, his] = [&people[0], &people[1]];
    assert_eq!(
        hers.status().await["accounts"].as_array().map(Vec::len),
        Some(1)
    );
    let status = his.status().await;
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        status["signIns"].as_array().map(Vec::len),
        Some(1),
        "he is still asked"
    );
}
