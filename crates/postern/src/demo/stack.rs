//! The components of the demo: emulator, sample server and gateway in this process, and the bridge
//! in its own process.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use control::api::Request;
use control::{CallError, Client, Home};
use emulator::{Tenant, demo};
use model::Clock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::files::{self, Addresses, SERVER, gateway_file, public_url};
use crate::cli::{DemoArgs, GatewayArgs};
use crate::commands;
use crate::context::{Context, VERSION};

/// The timeout for a component to start or to end.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The interval between attempts to connect to the bridge.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The folders, addresses and bridge of a running demo.
pub(super) struct DemoStack {
    folder: Folder,
    home: Home,
    addresses: Addresses,
    vault: &'static str,
    browser: Option<String>,
    bridge: Child,
}

/// The servers that run in this process.
pub(super) struct Servers {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

enum Folder {
    Given(PathBuf),
    /// Deleted when the demo ends.
    Temporary(TempDir),
}

impl DemoStack {
    pub(super) async fn start(
        args: &DemoArgs,
        context: &Context,
        scripted: bool,
    ) -> anyhow::Result<(Self, Servers)> {
        files::check_unused(&context.home)?;
        let folder = Folder::new(context)?;
        let home = Home::under(folder.path())?;
        anyhow::ensure!(
            Client::connect(&home, VERSION, false).await.is_err(),
            "a bridge already runs in {}; hint: give the demo another --home",
            folder.path().display()
        );
        let (addresses, servers) = start_servers(folder.path()).await?;
        files::write_bridge_config(&home, &addresses)
            .context("the bridge's configuration cannot be written")?;
        let vault = if args.keychain { "keychain" } else { "file" };
        let browser = scripted.then(|| scripted_browser(context)).transpose()?;
        let bridge = start_bridge(&home, vault, browser.as_deref(), context)?;
        let mut stack = Self {
            folder,
            home,
            addresses,
            vault,
            browser,
            bridge,
        };
        stack.wait_for_bridge().await?;
        Ok((stack, servers))
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) async fn client(&self) -> Result<Client, CallError> {
        Client::connect(&self.home, VERSION, false).await
    }

    /// Sets the variables with which `command` would start a bridge like this one.
    pub(super) fn set_environment(&self, command: &mut Command) {
        command
            .env("POSTERN_HOME", self.folder())
            .env("POSTERN_VAULT", self.vault);
        if let Some(browser) = &self.browser {
            command.env("POSTERN_BROWSER", browser);
        }
    }

    /// Ends all components.
    pub(super) async fn end(mut self, servers: Servers) {
        if let Ok(mut client) = self.client().await {
            // The connection may end before the reply.
            let _ = client.call(&Request::Quit).await;
        }
        if tokio::time::timeout(TIMEOUT, self.bridge.wait())
            .await
            .is_err()
        {
            tracing::warn!("the bridge did not exit in time and is killed");
            let _ = self.bridge.kill().await;
        }
        servers.end().await;
    }

    pub(super) fn announcement(&self) -> String {
        let Addresses {
            emulator,
            snippets,
            gateway,
        } = &self.addresses;
        format!(
            "The demo is running.\n\n\
             \x20 Entra ID, emulated  {}\n\
             \x20                     {} or {}, any password\n\
             \x20 sample server       http://{snippets}/mcp, behind a functions key\n\
             \x20 gateway             {}, {}\n\
             \x20 bridge              process {}, log {}\n\
             \x20 files               {}",
            emulator::base_url(*emulator),
            demo::ADELE,
            demo::GRADY,
            public_url(gateway),
            gateway_file(self.folder()).display(),
            self.bridge.id().unwrap_or_default(),
            self.home.log_file().display(),
            self.folder().display(),
        )
    }

    pub(super) fn suggestions(&self, context: &Context) -> String {
        let postern = format!(
            "{} --home {}",
            context.program.display(),
            self.folder().display()
        );
        format!(
            "\nTry, in another terminal:\n\n\
             \x20 {postern} sign-in {SERVER}\n\
             \x20 {postern} servers test {SERVER}\n\
             \x20 {postern} consents list\n\
             \x20 {postern} ui\n\
             \x20 {postern} connect {SERVER}        MCP on stdin and stdout\n\n\
             Ctrl-C ends everything."
        )
    }

    async fn wait_for_bridge(&mut self) -> anyhow::Result<()> {
        let listens = async {
            loop {
                if self.client().await.is_ok() {
                    return Ok(());
                }
                if let Some(status) = self.bridge.try_wait()? {
                    anyhow::bail!(
                        "the bridge ended with {status}; hint: see its log {}",
                        self.home.log_file().display()
                    );
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(TIMEOUT, listens)
            .await
            .context("the bridge does not listen")?
    }
}

impl Servers {
    /// Waits until a server ends unexpectedly. Never returns `Ok`.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Ok(()))) | None => anyhow::bail!("a server of the demo ended unexpectedly"),
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(TIMEOUT, rest).await.is_err() {
            tracing::warn!("a server of the demo did not end in time");
        }
    }
}

impl Folder {
    fn new(context: &Context) -> anyhow::Result<Self> {
        match context.home.root() {
            Some(root) => {
                std::fs::create_dir_all(root)
                    .with_context(|| format!("{} cannot be created", root.display()))?;
                Ok(Self::Given(root.to_owned()))
            }
            None => Ok(Self::Temporary(
                tempfile::Builder::new().prefix("postern-demo-").tempdir()?,
            )),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

async fn start_servers(folder: &Path) -> anyhow::Result<(Addresses, Servers)> {
    let [emulator, snippets, gateway] = listeners(folder).await?;
    let addresses = Addresses {
        emulator: emulator.local_addr()?,
        snippets: snippets.local_addr()?,
        gateway: gateway.local_addr()?,
    };
    files::write_gateway_files(folder, &addresses)
        .context("the gateway's files cannot be written")?;
    let callback = format!("{}/oauth-callback", public_url(&addresses.gateway));
    let emulated = emulator::Options {
        data_dir: Some(folder.join("entra")),
        ..emulator::Options::new(Tenant::demo(&callback), Clock::system())
    };
    let sample = snippets::Options {
        functions_key: files::functions_key(folder)?.into(),
        data_dir: folder.join("snippets"),
    };
    let gatewayed = commands::gateway::options(&GatewayArgs {
        config: gateway_file(folder),
        data_dir: None,
        exit_on_stdin_eof: false,
    });
    let gatewayed = gatewayed.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(emulator::serve(emulated, emulator, stop.clone()));
    tasks.spawn(snippets::serve(sample, snippets, stop.clone()));
    tasks.spawn(gateway::serve(gatewayed, gateway, || {}, stop.clone()));
    Ok((addresses, Servers { tasks, stop }))
}

/// Binds the ports of the previous run if they are free, so that earlier grants stay valid.
async fn listeners(folder: &Path) -> anyhow::Result<[TcpListener; 3]> {
    let file = folder.join("ports");
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let mut ports = known
        .lines()
        .map(|line| line.parse().unwrap_or(0))
        .chain(std::iter::repeat(0));
    let mut next = async || {
        let port: u16 = ports.next().unwrap_or(0);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(_) if port != 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
            bound => bound,
        }
    };
    let listeners = [next().await?, next().await?, next().await?];
    let mut lines = String::new();
    for listener in &listeners {
        lines.push_str(&format!("{}\n", listener.local_addr()?.port()));
    }
    std::fs::write(file, lines)?;
    Ok(listeners)
}

fn start_bridge(
    home: &Home,
    vault: &str,
    browser: Option<&str>,
    context: &Context,
) -> anyhow::Result<Child> {
    let log = home.log_file();
    std::fs::create_dir_all(log.with_file_name(""))?;
    let mut command = Command::new(&context.program);
    command.arg("bridge").arg("--home").args(home.root());
    command.env("POSTERN_VAULT", vault);
    if let Some(browser) = browser {
        command.env("POSTERN_BROWSER", browser);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log)?);
    command
        .kill_on_drop(true)
        .spawn()
        .context("the bridge cannot be started")
}

/// Returns the command that opens a page: `POSTERN_BROWSER` if set, otherwise this program.
fn scripted_browser(context: &Context) -> anyhow::Result<String> {
    if let Some(command) = &context.environment.postern_browser {
        return Ok(command.clone());
    }
    let program = context
        .program
        .to_str()
        .filter(|path| !path.contains(char::is_whitespace));
    let program = program
        .context("the path of this program contains spaces; hint: run it from another folder")?;
    Ok(format!("{program} demo-browser"))
}
