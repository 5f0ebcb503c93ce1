//! Attacks on the local endpoint, which requires no credential and must reject others.

mod network;
mod page;

use tokio::process::Command;

use crate::harness::{
    Harness, browser::Browser, recording_proxy::RecordingProxy, relay::Relay, wire::Streamable,
    within,
};
use page::Site;

/// Requests the SSE endpoint from a shell. Returns the response until its first event or its end.
async fn request_sse(mut shell: Command, port: &str) -> String {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; \
         printf 'GET /snippets/sse HTTP/1.0\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n' >&3; \
         while read -t 5 -r line <&3; do echo \"$line\"; [[ $line == *endpoint* || $line == *hint* ]] && break; done"
    );
    let run = shell.args(["-c", &script]).kill_on_drop(true).output();
    let output = within("a shell", run).await.expect("a shell");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !answer.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    answer
}

/// Returns a shell of another user.
fn other_user_shell() -> Command {
    if rustix::process::getuid().is_root() {
        let mut shell = Command::new("/bin/bash");
        shell.uid(65_534).gid(65_534);
        return shell;
    }
    let mut shell = Command::new("sudo");
    shell.args(["-n", "-u", "nobody", "/bin/bash"]);
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn other_user_of_machine_is_rejected() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let address = bridge.state().await.bridge.http.expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");

    let ours = request_sse(Command::new("/bin/bash"), port).await;
    assert!(
        ours.contains("200 OK") && ours.contains("endpoint"),
        "{ours}"
    );

    let theirs = request_sse(other_user_shell(), port).await;
    assert!(theirs.contains("403 Forbidden"), "{theirs}");
    assert!(theirs.contains("another user's process"), "{theirs}");

    // The sockets reject other users too.
    for socket in ["mcp.sock", "control.sock", "http.sock"] {
        let socket = bridge.root().join("run").join(socket);
        assert!(socket.exists(), "{}", socket.display());
        let mut shell = other_user_shell();
        shell.args(["-c", "test -w \"$0\""]).arg(&socket);
        let reached = within("a shell", shell.status()).await.expect("a shell");
        assert!(!reached.success(), "{} is open to others", socket.display());
    }
}

/// A name of the attacker, resolved only by the browser.
const ATTACKER: &str = "attacker.example";

/// Opens a browser that resolves the attacker's name.
async fn victim_browser() -> Browser {
    Browser::open_with(&[&format!("--host-resolver-rules=MAP {ATTACKER} 127.0.0.1")]).await
}

/// Returns the port of the bridge for hosts.
async fn port(relay: &Relay) -> String {
    let address = relay.bridge.state().await.bridge.http.expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");
    port.to_owned()
}

/// Returns how many requests the bridge has rejected.
fn rejections(relay: &Relay) -> usize {
    relay.bridge.log().matches("turned a request away").count()
}

/// Checks that no request reached the server, and that a local program still can.
async fn assert_nothing_reached_server(relay: Relay) {
    assert_eq!(relay.upstream.state().requests, 0);
    let state = relay.bridge.state().await;
    assert!(state.sessions.is_empty(), "{:?}", state.sessions);
    let endpoint = state.servers[0].endpoint.as_ref().expect("an endpoint");
    Streamable::connect(endpoint, Default::default()).await;
    assert!(relay.upstream.state().requests > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_page_reaches_and_reads_nothing() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let site = Site::open().await;
    let browser = victim_browser().await;
    let here = site.address().port();
    for (page, target) in [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("attacker.localhost", "[::1]"),
        (ATTACKER, "127.0.0.1"),
        (ATTACKER, "localhost"),
    ] {
        let before = rejections(&relay);
        let lure = format!("http://{page}:{here}/#http://{target}:{port}");
        browser.go_to("about:blank").await;
        browser.go_to(&lure).await;
        let report = browser.find("#reported").await.text().await.expect("text");
        let tries: Vec<_> = report.lines().filter(|line| line.contains(": ")).collect();
        assert!(tries.len() > 70, "{lure}: {report}");
        for line in &tries {
            let came = ["read", "loaded"].map(|word| line.contains(&format!(": {word}")));
            assert_eq!(came, [false, false], "{lure}: {line}");
        }
        let turned = rejections(&relay) - before;
        assert!(turned >= tries.len(), "{lure}: {turned} of {report}");
    }
    assert_nothing_reached_server(relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_with_rebound_name_reaches_nothing() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let bridge = format!("127.0.0.1:{port}").parse().expect("an address");
    let site = Site::open().await;
    let browser = victim_browser().await;
    for name in [ATTACKER, "attacker.localhost"] {
        // The same name and port are the same origin for the browser.
        let proxy = RecordingProxy::open().await;
        proxy.forward_to(Some(site.address()));
        browser
            .go_to(&format!("http://{name}:{}/", proxy.address().port()))
            .await;
        let before = proxy.requests().len();
        proxy.forward_to(Some(bridge));
        browser.run("attack()").await;
        let report = browser.find("#reported").await.text().await.expect("text");
        let read = report
            .lines()
            .filter(|line| line.contains(": read"))
            .count();
        assert!(read > 10, "a site can read its own rejections: {report}");
        let answered = proxy.responses()[before..].concat();
        let refusals = answered.matches("HTTP/1.1 403 Forbidden\r\n").count();
        assert!(refusals > read, "{refusals} of {report}");
        assert_eq!(answered.matches("HTTP/1.1 ").count(), refusals);
    }
    assert_nothing_reached_server(relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_navigation_is_rejected() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let site = Site::open().await;
    let browser = victim_browser().await;
    for place in ["raw/mcp", "raw/sse"] {
        let target = format!("http://127.0.0.1:{port}/{place}");
        browser.go_to(&target).await;
        let seen = browser.text().await;
        assert!(seen.contains("only programs on this machine"), "{seen}");

        browser.go_to(&format!("http://{}/", site.address())).await;
        browser.run(&format!("location = '{target}'")).await;
        browser.find("body:not(:has(#report))").await;
        let seen = browser.text().await;
        assert!(seen.contains("only programs on this machine"), "{seen}");
    }
    assert_nothing_reached_server(relay).await;
}
