//! Visitors that hold connections or misuse them, as a separate process with a lower priority than
//! what is measured.
//!
//! Owns: the kinds of attacks. Each connection comes from its own address, so that no limit per
//! address ends an attack. Does not own: what the gateway's users notice meanwhile.

mod http1;
mod http2;

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    sync::Semaphore,
};

use super::loopback::ourselves;

/// The first argument of this program when it attacks.
pub(super) const NAME: &str = "attack";

/// How many connections are opened concurrently. This is no flood of packets.
const OPENING: usize = 64;

/// The pause before a connection that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Connections of HTTP/2 that answer protocol frames, and never send a request.
    Silent,
    /// Requests whose heads are sent at one byte per second.
    Heads,
    /// Requests whose bodies are sent at one byte per second.
    Bodies,
    /// Requests of HTTP/2 that are reset immediately.
    Resets,
}

impl Attack {
    pub(super) const ALL: [Self; 4] = [Self::Silent, Self::Heads, Self::Bodies, Self::Resets];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent HTTP/2",
            Self::Heads => "slow heads",
            Self::Bodies => "slow bodies",
            Self::Resets => "rapid resets",
        }
    }

    fn connections(self) -> usize {
        match self {
            Self::Silent => 10_000,
            Self::Heads | Self::Bodies => 2_000,
            Self::Resets => 16,
        }
    }
}

/// A running attack. It ends when this value is dropped.
pub(super) struct Running {
    child: Child,
    tallies: Option<JoinHandle<String>>,
}

impl Running {
    pub(super) fn start(attack: Attack, processor: u32, target: SocketAddr) -> Result<Self> {
        let target = target.to_string();
        let ours = ourselves(processor, &[NAME, attack.name(), &target])?;
        let mut child = std::process::Command::new("nice")
            .args(["-n", "10"])
            .arg(ours.get_program())
            .args(ours.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start an attack")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let tallies = thread::spawn(move || lines.map_while(Result::ok).last().unwrap_or_default());
        Ok(Self {
            child,
            tallies: Some(tallies),
        })
    }

    /// Ends the attack and returns its report.
    pub(super) fn end(mut self) -> Result<String> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the attack ended by itself: {status}");
        }
        self.kill();
        let tallies = self.tallies.take().map(JoinHandle::join);
        Ok(tallies.and_then(Result::ok).unwrap_or_default())
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The results of the connections of an attack.
#[derive(Default)]
struct Tally {
    open: AtomicU64,
    /// Connections that could not be opened.
    refused: AtomicU64,
    /// Connections that the server closed.
    ended: AtomicU64,
    /// The sent requests, or the sent bytes.
    sent: AtomicU64,
}

/// The parameters of an attack, which its connections share.
struct Plan {
    target: SocketAddr,
    opening: Semaphore,
    tally: Tally,
}

/// Attacks until it is ended.
pub(super) fn run(name: &str, target: &str) -> Result<()> {
    let attack = Attack::ALL.into_iter().find(|attack| attack.name() == name);
    let attack = attack.with_context(|| format!("no attack is called {name}"))?;
    let plan = Arc::new(Plan {
        target: target.parse()?,
        opening: Semaphore::new(OPENING),
        tally: Tally::default(),
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 0..attack.connections() {
            tokio::spawn(again_and_again(attack, number, Arc::clone(&plan)));
        }
        loop {
            tokio::time::sleep(PAUSE).await;
            let shown = |value: &AtomicU64| value.load(Ordering::Relaxed);
            let Tally {
                open,
                refused,
                ended,
                sent,
            } = &plan.tally;
            println!(
                "{} connections, {} ended by the gateway, {} refused, {} requests or bytes sent",
                shown(open),
                shown(ended),
                shown(refused),
                shown(sent)
            );
        }
    })
}

/// Keeps one connection: opens it again when it has ended.
async fn again_and_again(attack: Attack, number: usize, plan: Arc<Plan>) {
    let count = |value: &AtomicU64| value.fetch_add(1, Ordering::Relaxed);
    loop {
        match plan.connect(number).await {
            Ok(stream) => {
                count(&plan.tally.open);
                // Every kind of end counts.
                let _ = match attack {
                    Attack::Silent => http2::be_silent(stream).await,
                    Attack::Heads => http1::send_head(stream, &plan).await,
                    Attack::Bodies => http1::send_body(stream, &plan).await,
                    Attack::Resets => http2::reset(stream, &plan).await,
                };
                plan.tally.open.fetch_sub(1, Ordering::Relaxed);
                count(&plan.tally.ended);
            }
            Err(_) => drop(count(&plan.tally.refused)),
        }
        if attack != Attack::Resets {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Plan {
    /// Connects from its own address.
    async fn connect(&self, number: usize) -> Result<TcpStream> {
        let _permit = self.opening.acquire().await?;
        let from = Ipv4Addr::from_bits(u32::from_be_bytes([127, 1, 0, 1]) + u32::try_from(number)?);
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(self.target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
