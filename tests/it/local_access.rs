//! The local endpoint under attack: it asks for no credential, so others must not reach it.

mod network;
mod page;

use tokio::process::Command;

use crate::harness::{
    Harness, browser::Browser, recording_proxy::RecordingProxy, relay::Relay, wire::Streamable,
    within,
};
use page::Site;

/// Opens an SSE endpoint with nothing but a shell; the answer until its first event or its end.
async fn ask(mut shell: Command, port: &str) -> String {
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

/// A shell of a user who is nobody to us.
fn shell_of_another() -> Command {
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
async fn another_user_of_this_machine_is_turned_away() {
    let harness = Harness::start().await;
    let bridge = harness.bridge();
    bridge.start().await;
    let address = bridge.state().await.bridge.http.expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");

    let ours = ask(Command::new("/bin/bash"), port).await;
    assert!(
        ours.contains("200 OK") && ours.contains("endpoint"),
        "{ours}"
    );

    let theirs = ask(shell_of_another(), port).await;
    assert!(theirs.contains("403 Forbidden"), "{theirs}");
    assert!(theirs.contains("another user's process"), "{theirs}");

    // Nor do the sockets that only their owner can reach let them in.
    for socket in ["mcp.sock", "control.sock", "http.sock"] {
        let socket = bridge.root().join("run").join(socket);
        assert!(socket.exists(), "{}", socket.display());
        let mut shell = shell_of_another();
        shell.args(["-c", "test -w \"$0\""]).arg(&socket);
        let reached = within("a shell", shell.status()).await.expect("a shell");
        assert!(!reached.success(), "{} is open to others", socket.display());
    }
}

/// A name of the attacker's, as far as the browser knows.
const ATTACKER: &str = "attacker.example";

/// A browser of someone who is lured to a hostile site.
async fn lured() -> Browser {
    Browser::open_with(&[&format!("--host-resolver-rules=MAP {ATTACKER} 127.0.0.1")]).await
}

/// Where the bridge serves hosts: the port.
async fn port(relay: &Relay) -> String {
    let address = relay.bridge.state().await.bridge.http.expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");
    port.to_owned()
}

/// How often the bridge has turned a request away.
fn turned_away(relay: &Relay) -> usize {
    relay.bridge.log().matches("turned a request away").count()
}

/// Nothing came through, and a program of this machine still gets through.
async fn nothing_came_through(relay: Relay) {
    assert_eq!(relay.upstream.seen().requests, 0);
    let state = relay.bridge.state().await;
    assert!(state.sessions.is_empty(), "{:?}", state.sessions);
    let endpoint = state.servers[0].endpoint.as_ref().expect("an endpoint");
    Streamable::connect(endpoint, Default::default()).await;
    assert!(relay.upstream.seen().requests > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_reaches_nothing_and_reads_nothing() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let site = Site::open().await;
    let browser = lured().await;
    let here = site.address().port();
    for (page, target) in [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("attacker.localhost", "[::1]"),
        (ATTACKER, "127.0.0.1"),
        (ATTACKER, "localhost"),
    ] {
        let before = turned_away(&relay);
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
        let turned = turned_away(&relay) - before;
        assert!(turned >= tries.len(), "{lure}: {turned} of {report}");
    }
    nothing_came_through(relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_name_was_rebound_reaches_nothing() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let bridge = format!("127.0.0.1:{port}").parse().expect("an address");
    let site = Site::open().await;
    let browser = lured().await;
    for name in [ATTACKER, "attacker.localhost"] {
        // The same name and the same port: to the browser it is the same site.
        let proxy = RecordingProxy::open().await;
        proxy.lead_to(Some(site.address()));
        browser
            .go_to(&format!("http://{name}:{}/", proxy.address().port()))
            .await;
        let before = proxy.said().len();
        proxy.lead_to(Some(bridge));
        browser.run("attack()").await;
        let report = browser.find("#reported").await.text().await.expect("text");
        let read = report
            .lines()
            .filter(|line| line.contains(": read"))
            .count();
        assert!(
            read > 10,
            "refusals can be read at one's own site: {report}"
        );
        let answered = proxy.answered()[before..].concat();
        let refusals = answered.matches("HTTP/1.1 403 Forbidden\r\n").count();
        assert!(refusals > read, "{refusals} of {report}");
        assert_eq!(answered.matches("HTTP/1.1 ").count(), refusals);
    }
    nothing_came_through(relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_led_there_sees_a_refusal() {
    let relay = Relay::start().await;
    let port = port(&relay).await;
    let site = Site::open().await;
    let browser = lured().await;
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
    nothing_came_through(relay).await;
}
