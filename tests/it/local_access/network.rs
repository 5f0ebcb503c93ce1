//! A process in another network namespace, with a loopback of its own.

use std::{net::Ipv4Addr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
};

use super::port;
use crate::harness::{program, relay::Relay, within};

/// A network namespace, connected to ours by a virtual cable. It ends when it is dropped.
struct Network {
    process: u32,
    /// The addresses of our end and of the other end.
    here: Ipv4Addr,
    there: Ipv4Addr,
    _holder: Child,
    _input: ChildStdin,
}

impl Network {
    /// Creates and connects the namespace. Requires root.
    async fn create() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare; hint: `cargo xtask tools` installs it");
        let input = holder.stdin.take().expect("its input");
        let mut output = BufReader::new(holder.stdout.take().expect("its output")).lines();
        let line = within("a network", output.next_line()).await;
        let ready = line.expect("its output");
        assert_eq!(ready.as_deref(), Some("ready"), "no network of its own");
        let process = holder.id().expect("a process");
        // Four addresses per process, from the range for tests (RFC 2544).
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (process % (1 << 15)) * 4;
        let network = Self {
            process,
            here: Ipv4Addr::from(first + 1),
            there: Ipv4Addr::from(first + 2),
            _holder: holder,
            _input: input,
        };
        network.join().await;
        network
    }

    async fn join(&self) {
        let (ours, process) = (format!("pt{}", self.process), self.process.to_string());
        let (here, there) = (format!("{}/30", self.here), format!("{}/30", self.there));
        let link = format!("link add {ours} type veth peer name wire netns {process}");
        ip(Command::new("ip"), &link).await;
        ip(Command::new("ip"), &format!("addr add {here} dev {ours}")).await;
        ip(Command::new("ip"), &format!("link set {ours} up")).await;
        ip(self.inside("ip"), "link set lo up").await;
        ip(self.inside("ip"), &format!("addr add {there} dev wire")).await;
        ip(self.inside("ip"), "link set wire up").await;
    }

    /// Returns a program that runs in the namespace.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--target", &self.process.to_string(), program])
            .kill_on_drop(true);
        command
    }

    /// Returns true if a process in the namespace gets a connection.
    async fn reaches(&self, host: &str, port: &str) -> bool {
        let script = format!("exec 3<>/dev/tcp/{host}/{port}");
        let mut attempt = self.inside("timeout");
        attempt.args(["3", "bash", "-c", &script]);
        let output = within("an attempt", attempt.output()).await;
        output.expect("a shell").status.success()
    }

    /// Routes 127.0.0.1 of the namespace to our end.
    async fn route_loopback_to_host(&self) {
        let mut sysctl = self.inside("sh");
        sysctl.args(["-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet"]);
        let set = within("sysctl", sysctl.status()).await.expect("a shell");
        assert!(set.success(), "no route for 127.0.0.1");
        ip(self.inside("ip"), "addr flush dev lo").await;
        ip(
            self.inside("ip"),
            &format!("route add 127.0.0.1 via {} dev wire", self.here),
        )
        .await;
    }
}

async fn ip(mut command: Command, arguments: &str) {
    let run = command.args(arguments.split(' ')).output();
    let output = within("ip", run)
        .await
        .expect("ip; hint: `cargo xtask tools` installs it");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_network_namespace_gets_no_connection() {
    let relay = Relay::start().await;
    let process = relay.bridge.process().await;
    let listening = program::listening(process);
    assert!(!listening.is_empty());
    for address in listening {
        assert!(address.ip().is_loopback(), "it listens on {address}");
    }
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: only root can create the network namespace");
        return;
    }

    let port = port(&relay).await;
    let network = Network::create().await;
    let ours = TcpListener::bind((network.here, 0)).await.expect("our end");
    let open = ours.local_addr().expect("an address").port().to_string();
    let here = network.here.to_string();
    assert!(
        network.reaches(&here, &open).await,
        "the cable does not work"
    );

    assert!(!network.reaches(&here, &port).await, "by our address");
    assert!(!network.reaches("127.0.0.1", &port).await, "its own");
    network.route_loopback_to_host().await;
    assert!(!network.reaches("127.0.0.1", &port).await, "by the wire");
    assert_eq!(relay.upstream.state().requests, 0);
}
