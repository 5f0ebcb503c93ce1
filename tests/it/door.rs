//! The local endpoint under attack: it asks for no credential, so others must not reach it.

use tokio::process::Command;

use crate::world::{World, within};

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
    let world = World::start().await;
    let bridge = world.bridge();
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

    // Nor does a socket that only its owner can reach let them in.
    let mut shell = shell_of_another();
    let socket = bridge.root().join("run/mcp.sock");
    shell.args(["-c", "test -w \"$0\""]).arg(&socket);
    let reached = within("a shell", shell.status()).await.expect("a shell");
    assert!(!reached.success(), "{} is open to others", socket.display());
}
