//! The process at the other end of a connection, and waiting for it to end.
//!
//! Supported on Linux only. On other systems, no process is known.

#[cfg(target_os = "linux")]
#[path = "process/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "process/unknown.rs"]
mod system;

use std::net::SocketAddr;

use super::plain;

/// A process that runs or has ended. Never another process that got the same ID later.
#[derive(Debug)]
pub struct Process(system::Process);

impl Process {
    /// Returns the process with this ID, or `None` if there is none or the system does not tell.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn with_id(pid: u32) -> Option<Self> {
        system::Process::with_id(pid).map(Self)
    }

    /// Waits until the process has ended.
    pub async fn ended(&self) {
        self.0.ended().await;
    }
}

/// Returns the IDs of the processes that opened these connections, in the same order. Each connection
/// is given by its source and its destination, as seen from this end. An ID is `None` if there is no
/// such process, or if the system does not tell.
///
/// Searches the processes `likely` first. Blocks while it searches the descriptors of all processes of
/// this user: some milliseconds, for any number of connections.
#[must_use]
pub fn process_ids(connections: &[(SocketAddr, SocketAddr)], likely: &[u32]) -> Vec<Option<u32>> {
    let connections = connections.iter();
    let plain: Vec<_> = connections
        .map(|(peer, here)| (plain(*peer), plain(*here)))
        .collect();
    system::process_ids(&plain, likely)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::{Process, process_ids};

    fn process_id(peer: SocketAddr, here: SocketAddr) -> Option<u32> {
        process_ids(&[(peer, here)], &[])[0]
    }

    /// Spawns a child that inherits the connection and runs until its input ends.
    fn inheritor(client: &TcpStream) -> Child {
        Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(client.try_clone().expect("a descriptor")))
            .spawn()
            .expect("cat")
    }

    #[test]
    fn process_that_opened_connection_is_found() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).unwrap();
            let here = listener.local_addr().unwrap();
            let client = TcpStream::connect(here).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            assert_eq!(process_id(peer, here), Some(std::process::id()));
            let mut child = inheritor(&client);
            assert_eq!(process_id(peer, here), Some(std::process::id()));
            drop(client);
            assert_eq!(process_id(peer, here), Some(child.id()));
            drop(child.stdin.take());
            child.wait().unwrap();
            drop(accepted);
            assert_eq!(process_id(peer, here), None, "its end is closed");
        }
    }

    #[test]
    fn many_connections_are_looked_up_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let pairs: Vec<_> = (0..20)
            .map(|_| {
                let client = TcpStream::connect(here).unwrap();
                (client, listener.accept().unwrap())
            })
            .collect();
        let asked: Vec<_> = pairs.iter().map(|(_, (_, peer))| (*peer, here)).collect();
        let own = Some(std::process::id());
        for likely in [&[][..], &[std::process::id()], &[1]] {
            assert_eq!(process_ids(&asked, likely), [own; 20]);
        }
        // For a connection whose end is closed, the ID is `None`. The others are found.
        let mut pairs = pairs;
        drop(pairs.remove(3));
        let mut expected = [own; 20];
        expected[3] = None;
        assert_eq!(process_ids(&asked, &[]), expected);
    }

    #[tokio::test]
    async fn end_of_process_is_reported() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process::with_id(child.id()).unwrap();
        tokio::select! {
            biased;
            () = process.ended() => panic!("it still reads"),
            () = std::future::ready(()) => {}
        }
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(20), process.ended())
            .await
            .expect("it ends with its input");
        child.wait().unwrap();
        process.ended().await;
        assert!(Process::with_id(0).is_none());
    }
}
