//! A gateway and everything it needs, in release build.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    super::{
        direct::{self, Tokens},
        upstream::Upstream,
    },
    loopback::on,
};
use crate::tree;

/// The emulator's first tenant, and the gateway's registration there (`emulator::demo`).
const TENANT: &str = "8c1f0a52-6d0e-4b7a-9f3c-2f5b7f1f6a10";
const CLIENT: &str = "c7a9d3f0-1e52-4a86-8d1b-6e7f8091a202";
const SECRET: &str = "demo~gateway.secret-that-protects-nothing";

/// The setup of a gateway.
#[derive(Clone)]
pub(super) struct Setting {
    /// The server behind it. If absent, this process provides one.
    pub(super) backend: Option<String>,
    /// More lines of its configuration, before the tables.
    pub(super) lines: String,
    /// The processor of its only worker. If absent, it uses all processors.
    pub(super) processor: Option<u32>,
    /// What it logs.
    pub(super) logging: Logging,
}

/// By default, visitors come through a proxy on this machine.
impl Default for Setting {
    fn default() -> Self {
        Self {
            backend: None,
            lines: r#"trusted_proxies = ["127.0.0.1"]"#.to_owned(),
            processor: None,
            logging: Logging::Lines,
        }
    }
}

/// What a gateway or a proxy logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Logging {
    /// Each request, as a gateway does by default.
    Lines,
    /// No successful request.
    Nothing,
}

/// A running gateway. It ends when this value is dropped.
pub(super) struct Site {
    pub(super) url: String,
    setting: Setting,
    program: PathBuf,
    folder: PathBuf,
    gateway: Option<Child>,
    emulator: Child,
}

impl Site {
    /// Starts everything in an empty folder.
    pub(super) fn start() -> Result<Self> {
        Self::with(Setting::default())
    }

    pub(super) fn with(setting: Setting) -> Result<Self> {
        let program = tree::root().join("target/release/postern");
        let folder = tree::root().join("target/bench-gateway");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("cannot empty target/bench-gateway")?;
        }
        fs::create_dir_all(&folder)?;
        // The gateway's address must be configured before it exists.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("http://{address}");
        let callback = format!("{url}/oauth-callback");
        let (emulator, at) = start(
            &mut Command::new(&program),
            &folder,
            &["emulator", "--gateway-callback", &callback],
        )?;
        let backend = match &setting.backend {
            Some(backend) => backend.clone(),
            None => Upstream::start()?.json(),
        };
        let config = config(&url, &at, &backend, &setting.lines);
        fs::write(folder.join("gateway.toml"), config)?;
        let mut site = Self {
            url,
            setting,
            program,
            folder,
            gateway: None,
            emulator,
        };
        site.start_gateway()?;
        Ok(site)
    }

    /// Starts the gateway. Returns how long it took until it listened.
    pub(super) fn start_gateway(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let arguments = [
            "gateway",
            "--config",
            "gateway.toml",
            "--data-dir",
            "gateway",
        ];
        let mut command = match self.setting.processor {
            Some(processor) => {
                let mut command = on(processor, &self.program);
                command.env("TOKIO_WORKER_THREADS", "1");
                command
            }
            None => Command::new(&self.program),
        };
        if self.setting.logging == Logging::Nothing {
            command.env("POSTERN_LOG", "warn");
        }
        let (gateway, _) = start(&mut command, &self.folder, &arguments)?;
        self.gateway = Some(gateway);
        Ok(begun.elapsed())
    }

    /// Stops the gateway gracefully.
    pub(super) fn stop_gateway(&mut self) -> Result<()> {
        match self.gateway.take() {
            Some(gateway) => stop(gateway),
            None => Ok(()),
        }
    }

    /// Returns the address of the gateway.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.url.trim_start_matches("http://").parse()?)
    }

    /// Returns the process id of the gateway.
    pub(super) fn process(&self) -> Result<u32> {
        let gateway = self.gateway.as_ref().context("the gateway was stopped")?;
        Ok(gateway.id())
    }

    /// Returns the path of the database, which must not be written while the gateway runs.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("gateway/gateway.sqlite")
    }

    pub(super) fn endpoint(&self) -> String {
        format!("{}/echo/mcp", self.url)
    }

    /// Signs in with a new client.
    pub(super) fn sign_in(&self) -> Result<Tokens> {
        let browser = |page: &str| {
            let mut browser = Command::new(&self.program);
            browser
                .args(["demo-browser", page, "--home"])
                .arg(&self.folder);
            browser
        };
        direct::sign_in(&self.url, &self.endpoint(), browser)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.stop_gateway();
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// Runs postern with `ARGUMENTS`, started by `command`. Returns the process and its address.
fn start(command: &mut Command, folder: &Path, arguments: &[&str]) -> Result<(Child, String)> {
    let log = fs::File::create(folder.join(format!("{}.log", arguments[0])))?;
    let mut process = command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("postern {} cannot be started", arguments[0]))?;
    let output = process.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    for line in lines.by_ref() {
        let line = line?;
        if let Some((_, at)) = line.split_once("listens on ") {
            let at = at.trim_start_matches("http://");
            let end = at.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
            let at = at[..end.unwrap_or(at.len())].trim_end_matches('.');
            // The remaining output must be read.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((process, format!("http://{at}")));
        }
    }
    anyhow::bail!(
        "postern {} ended; its log is in {}",
        arguments[0],
        folder.display()
    );
}

fn stop(mut process: Child) -> Result<()> {
    Command::new("kill")
        .args(["-TERM", &process.id().to_string()])
        .status()?;
    process.wait()?;
    Ok(())
}

fn config(url: &str, entra: &str, backend: &str, lines: &str) -> String {
    format!(
        r#"
public_url = "{url}"
listen = "{listen}"
root_server = "echo"
{lines}

[entra]
authority = "{entra}/{TENANT}/v2.0"
client_id = "{client}"
client_secret = "{{{{entra}}}}"

[secrets]
entra = {{ value = "{secret}" }}

[servers.echo]
url = "{backend}"
"#,
        listen = url.trim_start_matches("http://"),
        client = CLIENT,
        secret = SECRET,
    )
}
