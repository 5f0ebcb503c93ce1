//! The memory of one event stream without events, through nginx and through a gateway.
//!
//! Each stream is one HTTP/1.1 connection from the client, and one to the backend, which sends the
//! head of its response and then nothing. nginx does not buffer responses. A gateway sends a comment
//! now and then, which nginx does not. The system's memory for connections is not included.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
};

use super::{
    super::Report,
    echo,
    load::{self, Endpoint},
    loopback::{Processors, descriptors},
    proxies,
    server::{Server, memory},
    site::{Logging, Setting, Site},
    wire,
};

const STREAMS: [usize; 2] = [1_000, 10_000];

/// How many descriptors a server needs for other purposes.
const OTHER_DESCRIPTORS: usize = 200;

/// How long a server may settle after the last stream was opened.
const SETTLE: Duration = Duration::from_secs(2);

/// After this time, a gateway has sent a comment on each stream.
const COMMENTED: Duration = Duration::from_secs(50);

/// The number of streams per address.
const EACH_ADDRESS: usize = 500;

pub(super) fn measure(processors: Processors, report: &mut Report) -> Result<()> {
    let folder = proxies::folder()?;
    let most = (descriptors()? - OTHER_DESCRIPTORS) / 2;
    let counts = STREAMS.map(|count| count.min(most));
    let [.., most] = counts;
    if most < STREAMS[1] {
        println!("{most} streams at most: the system allows no more descriptors");
    }
    let backend = echo::start(processors.others)?;
    let at = backend.address;
    let nginx = proxies::nginx(processors.server, &folder, at, most, Logging::Lines)?;
    let endpoint = Endpoint {
        address: nginx.server.address,
        path: "/mcp",
        token: nginx.token,
    };
    of(
        "nginx",
        &endpoint,
        &nginx.server.processes()?,
        counts,
        report,
    )?;
    drop(nginx.server);
    let site = gateway(&backend, processors, most)?;
    let endpoint = Endpoint {
        address: site.address()?,
        path: "/echo/mcp",
        token: site.sign_in()?.access,
    };
    of("Postern", &endpoint, &[site.process()?], counts, report)
}

fn gateway(backend: &Server, processors: Processors, streams: usize) -> Result<Site> {
    Site::with(Setting {
        backend: Some(echo::endpoint(backend)),
        lines: format!("max_connections = {}", 2 * streams),
        processor: Some(processors.server),
        ..Setting::default()
    })
}

/// Opens the two numbers of streams, one after the other, and measures after each.
fn of(
    name: &str,
    endpoint: &Endpoint,
    processes: &[u32],
    counts: [usize; STREAMS.len()],
    report: &mut Report,
) -> Result<()> {
    // Memory that a server takes for its first calls is not part of the streams' memory.
    load::calls(endpoint, 16, SETTLE, processes)?;
    thread::sleep(SETTLE);
    let before = memory(processes)?;
    report.bytes(&format!("{name}: without a stream (PSS)"), before, None);
    let mut streams = Streams::new(endpoint)?;
    for count in counts {
        streams
            .open(count)
            .with_context(|| format!("{name} fails"))?;
        thread::sleep(SETTLE);
        each(
            &format!("{name}: {count} streams, each"),
            before,
            processes,
            count,
            report,
        )?;
    }
    thread::sleep(COMMENTED);
    let ended = streams.ended()?;
    ensure!(ended == 0, "{name}: {ended} streams ended");
    let [.., count] = counts;
    let row = format!("{name}: {count} streams, 50 s later, each");
    each(&row, before, processes, count, report)
}

fn each(
    row: &str,
    before: u64,
    processes: &[u32],
    count: usize,
    report: &mut Report,
) -> Result<()> {
    let more = memory(processes)?.saturating_sub(before);
    let kibibytes = more as f64 / 1024.0 / count as f64;
    report.row(row, format!("{kibibytes:.1} KiB"), None, false);
    Ok(())
}

/// The client's side of the streams.
struct Streams<'a> {
    runtime: Runtime,
    endpoint: &'a Endpoint,
    open: Vec<TcpStream>,
}

impl<'a> Streams<'a> {
    fn new(endpoint: &'a Endpoint) -> Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            endpoint,
            open: Vec::new(),
        })
    }

    /// Opens streams up to this number.
    fn open(&mut self, count: usize) -> Result<()> {
        while self.open.len() < count {
            let stream = self
                .runtime
                .block_on(open(self.endpoint, self.open.len()))?;
            self.open.push(stream);
        }
        Ok(())
    }

    /// Returns how many streams have ended.
    fn ended(&self) -> Result<usize> {
        let _context = self.runtime.enter();
        // Only the runtime notices readiness.
        self.runtime.block_on(tokio::time::sleep(SETTLE / 20));
        let mut ended = 0;
        for stream in &self.open {
            let mut buffer = [0; 256];
            match stream.try_read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => ended += 1,
            }
        }
        Ok(ended)
    }
}

/// Opens a stream, and reads the head of its response.
async fn open(endpoint: &Endpoint, number: usize) -> Result<TcpStream> {
    let from = u8::try_from(1 + number / EACH_ADDRESS)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, from), 0)))?;
    let mut stream = socket.connect(endpoint.address).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         accept: text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n\r\n",
        endpoint.path, endpoint.address, endpoint.token
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::new();
    let head = wire::read(&mut stream, &mut buffer)
        .await?
        .context("a stream ended at once")?;
    let status = head.first_line(&buffer);
    ensure!(
        status.starts_with(b"HTTP/1.1 200"),
        "no stream: {}",
        String::from_utf8_lossy(&buffer)
    );
    Ok(stream)
}
