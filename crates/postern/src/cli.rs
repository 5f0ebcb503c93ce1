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
  postern demo              all of it on this machine, with nothing to set up

Environment:
  POSTERN_HOME      keep everything under this folder, as --home does
  POSTERN_VAULT     `file`: guard the tokens by a key file instead of the keychain
  POSTERN_BROWSER   the command that opens pages, before BROWSER
  POSTERN_LOG       what is logged, as in `debug` or `bridge=trace`
  POSTERN_EXTRA_CA  PEM files to trust besides the system's certificates

Exit codes:
  0  done
  1  failed
  2  the command line makes no sense
  3  someone must sign in first, or the sign-in was not finished
  4  the bridge does not run, or the remote cannot be reached";

/// Brings MCP servers that an organisation protects to the programs on your desk.
#[derive(Debug, Parser)]
#[command(name = "postern", version, styles = STYLES, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Cli {
    /// Keep all files and sockets under this folder instead of the usual places.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Speak MCP on stdin and stdout with a server: what a host program runs.
    #[command(after_help = CONNECT)]
    Connect(ConnectArgs),
    /// Sign in to a server in the browser.
    #[command(after_help = SIGN_IN)]
    SignIn(SignInArgs),
    /// Sign out of a server, or sign an account out.
    #[command(after_help = SIGN_OUT)]
    SignOut(SignOutArgs),
    /// Show the bridge, accounts, servers and who is connected.
    Status(JsonArgs),
    /// List, add, remove and test servers.
    #[command(subcommand)]
    Servers(ServersCommand),
    /// Add servers to host programs such as Claude Desktop.
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// See and take back what gateways allow Postern to do.
    #[command(subcommand)]
    Consents(ConsentsCommand),
    /// Store, list and remove the secrets that headers of servers need.
    #[command(subcommand, visible_alias = "secret")]
    Secrets(SecretsCommand),
    /// Look everything over and say what to do about what is wrong.
    Doctor(JsonArgs),
    /// Open Postern's window in an ordinary browser.
    #[command(after_help = UI)]
    Ui(UiArgs),
    /// Run the resident bridge. Hosts and the other commands start one by themselves.
    #[command(after_help = BRIDGE)]
    Bridge(BridgeArgs),
    /// Run a gateway: an MCP authorization server and reverse proxy over Entra ID.
    #[command(after_help = GATEWAY)]
    Gateway(GatewayArgs),
    /// Print the app registration that Entra ID needs, or make it.
    #[command(subcommand)]
    EntraSetup(Box<EntraSetupCommand>),
    /// Run a local Entra ID for development.
    #[command(after_help = EMULATOR)]
    Emulator(EmulatorArgs),
    /// Run the sample MCP server.
    #[command(after_help = SNIPPETS)]
    Snippets(SnippetsArgs),
    /// Try it all on this machine: emulator, gateway, sample server and bridge together.
    #[command(after_help = DEMO)]
    Demo(DemoArgs),
    /// The browser of the demo, which nobody need look at.
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

The exit code is 0 whenever the host ended the conversation, also where the server is unknown or
cannot be reached: the host is told by the answers to its requests, and many hosts take any other
code for a crash and start the command again. `postern servers test NAME` tells by its exit code
whether a server works.";

const SERVERS_ADD: &str = "\
Example:
  postern servers add snippets https://gateway.example.com/snippets/mcp

Asks the server first, for ten seconds at most and without credentials, and says what comes next. A
server that cannot be reached now is added all the same. Where no MCP server answers at the URL,
nothing is added; if one answers at PATH/mcp, /mcp or /sse of the same origin, you are asked whether
that is the one, or without a terminal told the command.";

const SIGN_IN: &str = "\
Examples:
  postern sign-in snippets
  postern sign-in snippets --device      where there is no browser: enter a code elsewhere
  postern sign-in snippets --paste       in a browser that cannot reach this machine

Over SSH, in a container and without a display the way without a browser is taken by itself.

Where the server accepts an account already, this says so, and asks at a terminal whether to sign in
again. `--choose` does that at once, as the same account or another one.";

const SIGN_OUT: &str = "\
Examples:
  postern sign-out snippets
  postern sign-out adele@contoso.example

An account is signed out of every server that it opens; the command names them.";

const HOSTS_IMPORT: &str = "\
Examples:
  postern hosts import claude-desktop
  postern hosts import claude-desktop \"Team wiki\"

Each entry becomes a server in config.toml, its headers and its client secret become stored
secrets, and the entry in the host's file becomes `postern connect NAME`. Options that Postern
has no counterpart for are named. What was approved at the terminal is done, all of it or nothing;
the file as it was is kept beside it, with the secrets that stood there.";

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
  X-Api-Key = { keychain = \"crm-key\" }";

const BRIDGE: &str = "\
Examples:
  postern bridge                     stay in the foreground, log to stderr
  postern bridge --detach            start one in the background unless one runs
  postern bridge --replace           take over from the one that runs";

const GATEWAY: &str = "\
Example:
  postern gateway --config /etc/postern/gateway.toml --data-dir /var/lib/postern

A smallest gateway.toml:
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

Any password is right. It listens on this machine only. For clients that insist on TLS, as MSAL does,
entra/entra-ca.pem is the authority to trust.";

const SNIPPETS: &str = "\
Example:
  postern snippets --port 8080 --functions-key-file key.txt

Every request must carry the key as the header x-functions-key.";

const UI: &str = "\
The page is served to this machine only, and only for as long as the command runs. The address that
is printed opens it once, within five minutes; run the command again for another one.";

const DEMO: &str = "\
Examples:
  postern demo                       with a display: stays and says what to try
  postern demo --scripted            signs in by itself, calls the tools, prints what was said
  postern demo --home DIR --keep     keeps its files in DIR and stays";

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The server's name, or its address for one that is not configured.
    #[arg(value_name = "NAME|URL")]
    pub(crate) server: String,
}

#[derive(Debug, Args)]
pub(crate) struct SignInArgs {
    /// The server's name.
    pub(crate) server: String,
    /// Have this account open the server, as `postern status` names it; without a browser where
    /// its sign-in to another server can.
    #[arg(long = "as", value_name = "ACCOUNT", conflicts_with = "choose")]
    pub(crate) account: Option<String>,
    /// Choose in the browser who signs in.
    #[arg(long)]
    pub(crate) choose: bool,
    /// Show a code to enter in a browser on any other device, where the server offers that.
    #[arg(long, conflicts_with = "paste")]
    pub(crate) device: bool,
    /// Show the page, and read the address that a browser on another machine ended on.
    #[arg(long)]
    pub(crate) paste: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignOutArgs {
    /// The server to sign out of, or the account to sign out, as `postern status` names them.
    /// Needed where several accounts are signed in.
    #[arg(value_name = "SERVER|ACCOUNT", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// Sign out all accounts.
    #[arg(long)]
    pub(crate) all: bool,
    /// End the browser's own session too, so that the next sign-in asks for everything again.
    #[arg(long)]
    pub(crate) everywhere: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServersCommand {
    /// List the servers.
    List(JsonArgs),
    /// Add a server, or keep one that was connected to by its address.
    #[command(after_help = SERVERS_ADD)]
    Add {
        /// What to call it: a-z, 0-9 and -.
        name: String,
        /// Its MCP endpoint.
        url: String,
        /// Add it without asking the server first.
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
    /// List the host programs and which servers they have.
    List(JsonArgs),
    /// Add a server to a host program. Shows the change and asks first.
    #[command(after_help = "Example:\n  postern hosts add claude-desktop snippets")]
    Add(HostArgs),
    /// Remove it again. Shows the change and asks first.
    Remove(HostArgs),
    /// Take over a host program's entries for mcp-remote. Shows what becomes of them and asks first.
    #[command(after_help = HOSTS_IMPORT)]
    Import {
        /// The host program, as in claude-desktop.
        #[arg(value_parser = host)]
        host: HostId,
        /// The entries, as they are named in its file; all for mcp-remote if none is named.
        entries: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The host program, as in claude-desktop.
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
        .map_err(|_| "not a host that Postern knows; hint: `postern hosts list`".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentsCommand {
    /// List what gateways allow Postern to do.
    List {
        /// Only those of this server's gateway.
        server: Option<String>,
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Take a consent back.
    #[command(after_help = CONSENTS_REVOKE)]
    Revoke {
        /// The consent: the column ID. Or the server through which its gateway is known, the column
        /// VIA, which is enough where that gateway lists one consent.
        #[arg(value_name = "ID|SERVER")]
        consent: String,
        /// The consent, where the server stands before it.
        id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// List the names of the secrets, and the servers that need them.
    List(JsonArgs),
    /// Store a secret. It is asked for at the terminal, or read from stdin.
    #[command(after_help = SECRETS_SET)]
    Set {
        /// What config.toml calls it: a-z, 0-9 and -.
        name: String,
    },
    /// Forget a secret.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Print the address and leave opening it to you.
    #[arg(long)]
    pub(crate) no_open: bool,
    /// The port; any free one if 0.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// Run in the background; returns once it listens.
    #[arg(long)]
    pub(crate) detach: bool,
    /// End after this many seconds without anybody to serve.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle_exit: Option<u64>,
    /// Take over from the bridge that runs: from any, or only if it is older. `any` ends one that
    /// does not react.
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "any")]
    pub(crate) replace: Option<Replace>,
    /// What `--detach` runs.
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
    /// The folder for its database and keys; `data` beside the configuration file, if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// End when stdin ends, and so together with the program that started it.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EntraSetupCommand {
    /// The public client that people sign in to servers with.
    #[command(after_help = ENTRA_BRIDGE)]
    Bridge(EntraBridgeArgs),
    /// The confidential client that a gateway signs people in with.
    #[command(after_help = ENTRA_GATEWAY)]
    Gateway(EntraGatewayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EntraBridgeArgs {
    /// The registration that protects the servers: its App ID URI or its client id.
    #[arg(long, value_name = "APP", requires = "scopes")]
    pub(crate) api: Option<String>,
    /// A scope of that registration. May be given several times.
    #[arg(long = "scope", value_name = "SCOPE", requires = "api")]
    pub(crate) scopes: Vec<String>,
    /// What to call the registration.
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
    /// What to call the registration.
    #[arg(long, default_value = "Postern gateway")]
    pub(crate) name: String,
    /// Who issues the tokens of a federated credential, instead of a secret.
    #[arg(long, value_name = "URL", requires = "federated_subject")]
    pub(crate) federated_issuer: Option<String>,
    /// Whom those tokens are about.
    #[arg(long, value_name = "SUBJECT", requires = "federated_issuer")]
    pub(crate) federated_subject: Option<String>,
    /// Whom those tokens are for; other clouds have their own.
    #[arg(
        long,
        value_name = "AUDIENCE",
        default_value = "api://AzureADTokenExchange"
    )]
    pub(crate) federated_audience: String,
    /// A certificate, in PEM, to prove the gateway by instead of a secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) setup: EntraSetupArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EntraSetupArgs {
    /// Print only the JSON of Microsoft Graph.
    #[arg(long, conflicts_with = "apply")]
    pub(crate) json: bool,
    /// Create the registration, or add to it what it lacks. The token for Microsoft Graph is asked
    /// for at the terminal, or read from stdin.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Read the token from a file.
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub(crate) token_file: Option<PathBuf>,
    /// The client id of the registration to change, where its name does not say which.
    #[arg(long, value_name = "CLIENT_ID", requires = "apply")]
    pub(crate) client_id: Option<String>,
    /// Microsoft Graph; other clouds have their own.
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
    /// The file with the tenants to play, instead of the demo's.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["gateway_callback", "gateway_certificate"]
    )]
    pub(crate) config: Option<PathBuf>,
    /// The port; any free one if 0.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Where the emulated gateway registration takes its codes.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://localhost:4180/oauth-callback"
    )]
    pub(crate) gateway_callback: String,
    /// A certificate, in PEM, that the emulated gateway registration knows beside its secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway_certificate: Option<PathBuf>,
    /// The folder for its keys; in memory only, if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Speak TLS, with a certificate authority that is made and kept in the folder.
    #[arg(long, requires = "data_dir")]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SnippetsArgs {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) address: IpAddr,
    /// The port; any free one if 0.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// The file that holds the functions key.
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
    /// Sign in by script, call the tools over all three faces, print what was said, and end.
    /// The default without a display.
    #[arg(long)]
    pub(crate) scripted: bool,
    /// Stay until Ctrl-C, also after `--scripted`.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The desktop app to start in the demo world.
    #[arg(long, value_name = "PATH")]
    pub(crate) app: Option<PathBuf>,
    /// Keep tokens by the keychain instead of a key file.
    #[arg(long)]
    pub(crate) keychain: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, Replace};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_home_may_stand_anywhere_and_replace_means_any() {
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
