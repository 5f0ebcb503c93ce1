//! The command line as types.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use control::api::HostId;
use model::EndpointUrl;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const OVERVIEW: &str = "\
Getting started:
  postern servers add snippets https://gateway.example.com/snippets/mcp
  postern sign-in snippets
  postern hosts add claude-desktop snippets
  postern demo              run everything on this machine, with nothing to set up

Environment:
  POSTERN_HOME      keep all files under this folder, as --home does
  POSTERN_VAULT     `file`: protect the tokens with a key file instead of the keychain
  POSTERN_BROWSER   the command that opens pages; takes precedence over BROWSER
  POSTERN_LOG       the log filter, as in `debug` or `bridge=trace`
  POSTERN_EXTRA_CA  PEM files to trust in addition to the system's certificates

Exit codes:
  0  success
  1  failed
  2  invalid arguments
  3  a sign-in is needed, or was not completed
  4  the bridge does not run, or the server cannot be reached";

/// Connects local MCP hosts to your organisation's MCP servers.
#[derive(Debug, Parser)]
#[command(name = "postern", version, styles = STYLES, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Cli {
    /// Keep all files and sockets under this folder instead of the default folders.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect stdin and stdout to an MCP server. Hosts run this command.
    #[command(after_help = CONNECT)]
    Connect(ConnectArgs),
    /// Sign in to a server in the browser.
    #[command(after_help = SIGN_IN)]
    SignIn(SignInArgs),
    /// Sign out an account.
    #[command(after_help = SIGN_OUT)]
    SignOut(SignOutArgs),
    /// Show the bridge, accounts, servers and connected hosts.
    Status(JsonArgs),
    /// List, add, remove and test servers.
    #[command(subcommand)]
    Servers(ServersCommand),
    /// Add servers to hosts such as Claude Desktop.
    #[command(subcommand, visible_alias = "apps")]
    Hosts(HostsCommand),
    /// List and revoke consents.
    #[command(subcommand)]
    Consents(ConsentsCommand),
    /// Store, list and remove the secrets that server headers use.
    #[command(subcommand, visible_alias = "secret")]
    Secrets(SecretsCommand),
    /// Diagnose problems and suggest fixes.
    Doctor(JsonArgs),
    /// Open Postern's window in a browser.
    #[command(after_help = UI)]
    Ui(UiArgs),
    /// Run the bridge. Other commands start it automatically.
    #[command(after_help = BRIDGE)]
    Bridge(BridgeArgs),
    /// Run a gateway: an MCP authorization server and reverse proxy over Entra ID.
    #[command(after_help = GATEWAY)]
    Gateway(GatewayArgs),
    /// Print the app registration that Entra ID needs, or create it.
    #[command(subcommand)]
    EntraSetup(Box<EntraSetupCommand>),
    /// Run a local Entra ID for development.
    #[command(after_help = EMULATOR)]
    Emulator(EmulatorArgs),
    /// Run the sample MCP server.
    #[command(after_help = SNIPPETS)]
    Snippets(SnippetsArgs),
    /// Run emulator, gateway, sample server and bridge together on this machine.
    #[command(after_help = DEMO)]
    Demo(DemoArgs),
    /// The demo's headless browser.
    #[command(hide = true)]
    DemoBrowser {
        /// The page to open.
        url: String,
    },
}

const CONNECT: &str = "\
Examples:
  postern connect snippets
  postern connect https://gateway.example.com/snippets/mcp

In a host's configuration:
  \"snippets\": { \"command\": \"/usr/bin/postern\", \"args\": [\"connect\", \"snippets\"] }

Starts the bridge if none runs. Stdout carries MCP and nothing else.

The exit code is 0 whenever the host ends the session, even if the server is unknown or cannot be
reached. The host learns that from the responses to its requests, and many hosts take any other code
for a crash and start the command again. The exit code of `postern servers test NAME` shows whether
a server works.";

const SERVERS_ADD: &str = "\
Example:
  postern servers add snippets https://gateway.example.com/snippets/mcp

Probes the server first, for at most ten seconds and without credentials, and prints the next step. A
server that cannot be reached now is added anyway. If no MCP server answers at the URL, nothing is
added. If one answers at PATH/mcp, /mcp or /sse of the same origin, the command asks whether to add
that one, or prints the command that adds it if there is no terminal.";

const SIGN_IN: &str = "\
Examples:
  postern sign-in snippets
  postern sign-in snippets --device-code  enter a code in a browser on another device
  postern sign-in snippets --paste        use a browser that cannot reach this machine

Over SSH, in a container and without a display, the command opens no browser and prints what to do
instead.

If the server already accepts an account, the command says so and asks at a terminal whether to sign
in again. `--select-account` signs in again without asking, as the same account or another one.";

const SIGN_OUT: &str = "\
Examples:
  postern sign-out snippets
  postern sign-out adele@contoso.example

The account is signed out of every server that uses it. The command lists these servers.";

const HOSTS_IMPORT: &str = "\
Examples:
  postern hosts import claude-desktop
  postern hosts import claude-desktop \"Team wiki\"

Each entry becomes a server in config.toml, its headers and its client secret become stored
secrets, and the entry in the host's file becomes `postern connect NAME`. The command lists options
that Postern does not support. It makes all of the changes that you approve at the terminal, or none.
A backup of the file is kept next to it and still contains the secrets.";

const CONSENTS_REVOKE: &str = "\
Examples:
  postern consents revoke 667c43d1-81f2-4a90-8aae-f5b68037a989
  postern consents revoke snippets
  postern consents revoke snippets 667c43d1-81f2-4a90-8aae-f5b68037a989";

const SECRETS_SET: &str = "\
Examples:
  postern secrets set crm-key
  pass show crm/key | postern secrets set crm-key

In config.toml:
  [servers.crm.headers]
  X-Api-Key = { secret = \"crm-key\" }";

const BRIDGE: &str = "\
Examples:
  postern bridge                     stay in the foreground, log to stderr
  postern bridge --detach            start in the background unless a bridge runs
  postern bridge --replace           replace the running bridge";

const GATEWAY: &str = "\
Example:
  postern gateway --config /etc/postern/gateway.toml --data-dir /var/lib/postern

A minimal gateway.toml:
  public_url = \"https://gateway.example.com\"
  [entra]
  authority = \"https://login.microsoftonline.com/TENANT/v2.0\"
  client_id = \"…\"
  client_secret = \"{{entra}}\"
  [secrets.entra]
  file = \"/run/secrets/entra\"
  [servers.snippets]
  url = \"http://10.0.0.5:8080/mcp\"";

const ENTRA_BRIDGE: &str = "\
Examples:
  postern entra-setup bridge --api api://files --scope mcp.read
  az account get-access-token --resource-type ms-graph --query accessToken --output tsv |
    postern entra-setup bridge --api api://files --scope mcp.read --apply";

const ENTRA_GATEWAY: &str = "\
Examples:
  postern entra-setup gateway --public-url https://gateway.example.com
  postern entra-setup gateway --public-url https://gateway.example.com --apply --token-file token \\
    --federated-issuer https://oidc.example.com --federated-subject system:serviceaccount:mcp:gateway";

const EMULATOR: &str = "\
Examples:
  postern emulator --port 4190 --gateway-callback http://localhost:4180/oauth-callback
  postern emulator --port 4190 --data-dir entra --tls
  postern emulator --config emulator.toml

The emulator accepts any password and listens on this machine only. Clients that require TLS, such as
MSAL, must trust the certificate authority in entra/entra-ca.pem.";

const SNIPPETS: &str = "\
Example:
  postern snippets --port 8080 --functions-key-file key.txt

Every request must carry the key in the header x-functions-key.";

const UI: &str = "\
The page is served to this machine only, while the command runs. The printed link works once and
expires after five minutes. Run the command again for a new link.";

const DEMO: &str = "\
Examples:
  postern demo                       with a display: keeps running and suggests what to try
  postern demo --scripted            signs in, calls the tools and prints the messages
  postern demo --home DIR --keep     keeps its files in DIR and keeps running";

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The server's name, or the URL of a server that is not configured.
    #[arg(value_name = "NAME|URL")]
    pub(crate) server: String,
}

#[derive(Debug, Args)]
pub(crate) struct SignInArgs {
    /// The server's name.
    pub(crate) server: String,
    /// Account to sign in as (see `postern status`). Opens no browser if that account's existing
    /// sign-in to another server is sufficient.
    #[arg(
        long,
        alias = "as",
        value_name = "ACCOUNT",
        conflicts_with = "select_account"
    )]
    pub(crate) account: Option<String>,
    /// Choose the account in the browser.
    #[arg(long, alias = "choose")]
    pub(crate) select_account: bool,
    /// Show a code to enter in a browser on another device, if the authorization server supports it.
    #[arg(long, alias = "device", conflicts_with = "paste")]
    pub(crate) device_code: bool,
    /// Show the page's URL, and read the callback URL from a browser on another machine.
    #[arg(long)]
    pub(crate) paste: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignOutArgs {
    /// Account to sign out, or a server that it uses (see `postern status`). Required if several
    /// accounts are signed in.
    #[arg(value_name = "SERVER|ACCOUNT", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// Sign out all accounts.
    #[arg(long)]
    pub(crate) all: bool,
    /// End the session in the browser too, so that the next sign-in asks for credentials again.
    #[arg(long, alias = "everywhere")]
    pub(crate) end_browser_session: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServersCommand {
    /// List the servers.
    List(JsonArgs),
    /// Add a server, or save one that was connected to by its URL.
    #[command(after_help = SERVERS_ADD)]
    Add {
        /// Its name: a-z, 0-9 and -.
        name: String,
        /// The URL of its MCP endpoint.
        url: String,
        /// Add it without probing the server first.
        #[arg(long)]
        no_check: bool,
    },
    /// Remove a server.
    Remove {
        /// Its name.
        name: String,
    },
    /// Open a session with a server and list its tools.
    Test {
        /// Its name.
        name: String,
        #[command(flatten)]
        json: JsonArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// List the hosts and their servers.
    List(JsonArgs),
    /// Add a server to a host. Shows the change and asks first.
    #[command(after_help = "Example:\n  postern hosts add claude-desktop snippets")]
    Add(HostArgs),
    /// Remove a server from a host. Shows the change and asks first.
    Remove(HostArgs),
    /// Import a host's entries for mcp-remote. Shows the changes and asks first.
    #[command(after_help = HOSTS_IMPORT)]
    Import {
        /// The host, such as claude-desktop.
        #[arg(value_parser = host)]
        host: HostId,
        /// Names of the entries in the host's file. Default: all entries for mcp-remote.
        entries: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The host, such as claude-desktop.
    #[arg(value_parser = host)]
    pub(crate) host: HostId,
    /// The server's name.
    pub(crate) server: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

fn host(name: &str) -> Result<HostId, String> {
    let quoted = serde_json::Value::from(name);
    serde_json::from_value(quoted)
        .map_err(|_| "unknown host; hint: `postern hosts list` lists the hosts".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentsCommand {
    /// List the consents that gateways have stored for Postern.
    List {
        /// List only the consents at this server's gateway.
        server: Option<String>,
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Revoke a consent.
    #[command(after_help = CONSENTS_REVOKE)]
    Revoke {
        /// The consent (column ID), or the server whose gateway stores it (column VIA). The server
        /// is enough if its gateway lists only one consent.
        #[arg(value_name = "ID|SERVER")]
        consent: String,
        /// The consent, if the first argument is the server.
        id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// List the secrets by name, with the servers that use them.
    List(JsonArgs),
    /// Store a secret. Prompts for the value at a terminal, otherwise reads it from stdin.
    #[command(after_help = SECRETS_SET)]
    Set {
        /// Its name in config.toml: a-z, 0-9 and -.
        name: String,
    },
    /// Remove a secret.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Print the link without opening a browser.
    #[arg(long)]
    pub(crate) no_open: bool,
    /// The port; 0 for any free port.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// Run in the background; returns once the bridge listens.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Exit after this many idle seconds.
    #[arg(long, alias = "idle-exit", value_name = "SECONDS")]
    pub(crate) idle_timeout: Option<u64>,
    /// Replace the running bridge: any version, or only an older one. `any` also ends a bridge that
    /// does not respond.
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "any")]
    pub(crate) replace: Option<Replace>,
    /// Internal: the process that `--detach` starts.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Replace {
    Any,
    Older,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The folder for its database and keys. Default: `data` next to the configuration file.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Exit when stdin is closed, for example because the parent process has ended.
    #[arg(long, alias = "until-stdin-ends")]
    pub(crate) exit_on_stdin_eof: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EntraSetupCommand {
    /// The public client with which users sign in to servers.
    #[command(after_help = ENTRA_BRIDGE)]
    Bridge(EntraBridgeArgs),
    /// The confidential client with which a gateway signs users in.
    #[command(after_help = ENTRA_GATEWAY)]
    Gateway(EntraGatewayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EntraBridgeArgs {
    /// The app registration of the servers: its App ID URI or its client ID.
    #[arg(long, value_name = "APP", requires = "scopes")]
    pub(crate) api: Option<String>,
    /// A scope of that registration. May be repeated.
    #[arg(long = "scope", value_name = "SCOPE", requires = "api")]
    pub(crate) scopes: Vec<String>,
    /// The display name of the registration.
    #[arg(long, default_value = "Postern")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) setup: EntraSetupArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EntraGatewayArgs {
    /// The gateway's `public_url`.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: EndpointUrl,
    /// The display name of the registration.
    #[arg(long, default_value = "Postern gateway")]
    pub(crate) name: String,
    /// Issuer of the federated tokens, to use a federated credential instead of a secret.
    #[arg(long, value_name = "URL", requires = "federated_subject")]
    pub(crate) federated_issuer: Option<String>,
    /// Subject (`sub`) of the federated tokens.
    #[arg(long, value_name = "SUBJECT", requires = "federated_issuer")]
    pub(crate) federated_subject: Option<String>,
    /// Audience (`aud`) of the federated tokens; differs in other clouds.
    #[arg(
        long,
        value_name = "AUDIENCE",
        default_value = "api://AzureADTokenExchange"
    )]
    pub(crate) federated_audience: String,
    /// A PEM certificate that the gateway authenticates with instead of a secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) setup: EntraSetupArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EntraSetupArgs {
    /// Print only the JSON for Microsoft Graph.
    #[arg(long, conflicts_with = "apply")]
    pub(crate) json: bool,
    /// Create the registration, or add what an existing one lacks. Prompts for the Microsoft Graph
    /// token at a terminal, otherwise reads it from stdin.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Read the token from a file.
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub(crate) token_file: Option<PathBuf>,
    /// The client ID of the registration to change, if several have the same name.
    #[arg(long, value_name = "CLIENT_ID", requires = "apply")]
    pub(crate) client_id: Option<String>,
    /// The URL of Microsoft Graph; differs in other clouds.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://graph.microsoft.com",
        requires = "apply"
    )]
    pub(crate) graph: EndpointUrl,
}

#[derive(Debug, Args)]
pub(crate) struct EmulatorArgs {
    /// The file that defines the tenants. Default: the demo's tenants.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["gateway_callback", "gateway_certificate"]
    )]
    pub(crate) config: Option<PathBuf>,
    /// The port; 0 for any free port.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// The redirect URI of the emulated gateway registration.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://localhost:4180/oauth-callback"
    )]
    pub(crate) gateway_callback: String,
    /// A PEM certificate that the emulated gateway registration accepts besides its secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway_certificate: Option<PathBuf>,
    /// The folder for its keys. Default: in memory only.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Serve TLS, with a certificate authority that is created and kept in that folder.
    #[arg(long, requires = "data_dir")]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SnippetsArgs {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) address: IpAddr,
    /// The port; 0 for any free port.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// The file that contains the functions key.
    #[arg(long, value_name = "FILE")]
    pub(crate) functions_key_file: PathBuf,
    /// The folder for the snippets.
    #[arg(long, value_name = "DIR", default_value = "snippets-data")]
    pub(crate) data_dir: PathBuf,
}

impl SnippetsArgs {
    pub(crate) fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Sign in by script, call the tools over all three transports, print the messages, and exit.
    /// The default without a display.
    #[arg(long)]
    pub(crate) scripted: bool,
    /// Keep running until Ctrl-C, also after `--scripted`.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The desktop app to start with the demo.
    #[arg(long, value_name = "PATH")]
    pub(crate) app: Option<PathBuf>,
    /// Protect the tokens with the keychain instead of a key file.
    #[arg(long)]
    pub(crate) keychain: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, Replace};

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn earlier_option_names_are_accepted() {
        for (earlier, current) in [
            ("sign-in x --as a", "sign-in x --account a"),
            ("sign-in x --choose", "sign-in x --select-account"),
            ("sign-in x --device", "sign-in x --device-code"),
            (
                "sign-out x --everywhere",
                "sign-out x --end-browser-session",
            ),
            ("bridge --idle-exit 1", "bridge --idle-timeout 1"),
            (
                "gateway --config f --until-stdin-ends",
                "gateway --config f --exit-on-stdin-eof",
            ),
            ("apps list", "hosts list"),
        ] {
            let parse = |line: &str| {
                let arguments = std::iter::once("postern").chain(line.split(' '));
                let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}"));
                format!("{:?}", cli.command)
            };
            assert_eq!(parse(earlier), parse(current), "{earlier}");
        }
    }

    #[test]
    fn home_is_accepted_anywhere_and_replace_defaults_to_any() {
        let cli = Cli::parse_from(["postern", "connect", "x", "--home", "/h"]);
        assert_eq!(cli.home.unwrap(), std::path::Path::new("/h"));
        let cli = Cli::parse_from(["postern", "--home", "/h", "bridge", "--replace", "--detach"]);
        let Command::Bridge(args) = cli.command else {
            panic!("not the bridge");
        };
        assert_eq!(args.replace, Some(Replace::Any));
        assert!(args.detach);
    }
}
