//! `gateway.toml`: what a gateway is told by the people who run it.
//!
//! Owns: the file's types, [`GatewayConfig::parse`] and [`GatewayConfig::validate`]; an error
//! names line and field. Does not own: reading the file, or the values of secrets, which stand
//! elsewhere and are named here as `{{name}}`.

mod network;
mod secret;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigVersion;
use crate::{EndpointUrl, ServerName};

pub use network::Network;
pub use secret::{SecretSource, SecretValue, Template, TemplatePart};
pub use validate::ConfigError;
pub(super) use validate::syntax_error;

/// The whole of `gateway.toml`.
///
/// ```toml
/// version = 1
/// public_url = "https://mcp.example.com"
/// listen = "127.0.0.1:4180"
/// name = "Example MCP"
/// root_server = "snippets"
///
/// [entra]
/// authority = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0"
/// client_id = "11111111-1111-1111-1111-111111111111"
/// client_secret = "{{entra-client-secret}}"
///
/// [secrets.entra-client-secret]
/// file = "secrets/entra-client-secret"
///
/// [secrets.functions-key]
/// env = "FUNCTIONS_KEY"
///
/// [servers.snippets]
/// url = "http://10.0.0.5:7071/runtime/webhooks/mcp"
/// sse_url = "http://10.0.0.5:7071/runtime/webhooks/mcp/sse"
/// title = "Snippets"
/// headers = { "x-functions-key" = "{{functions-key}}" }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The file's version; 1 is the only one so far.
    #[serde(default)]
    pub version: ConfigVersion,
    /// The address clients reach this gateway at, without a path: the OAuth issuer. It is never
    /// derived from what a request says.
    pub public_url: EndpointUrl,
    /// The address to listen on; plain HTTP, so that TLS ends in front of it.
    #[serde(default = "default_listen", deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The name people see on the consent page.
    #[serde(default = "default_name")]
    pub name: String,
    /// The server that is also reachable at `/mcp`, `/mcp/sse` and `/mcp/message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_server: Option<ServerName>,
    /// The tenant ids whose people may sign in; the authority's own tenant, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_tenants: Vec<String>,
    /// Web origins whose pages may call the servers, as in `https://app.example.com`; none, if
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// How many connections there may be at once, 100 at least; one address may have a quarter of them.
    /// Beyond that, idle ones are closed for new ones. Each needs two descriptors, and with a lower limit
    /// of open files there are fewer.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// After how many seconds of silence an event stream gets a comment line, so that a front end does
    /// not take it for dead: nginx waits for 60 seconds, and Azure for 230. 0 is never.
    #[serde(default = "default_keep_alive_seconds")]
    pub keep_alive_seconds: u32,
    /// How long requests may go on after the gateway was told to end, in seconds; 600 at most. It takes
    /// no new connections meanwhile, and event streams end when the last request has. Answers of servers
    /// over HTTP+SSE come on such a stream, and are cut off with it.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u32,
    /// The networks of the reverse proxies in front of this gateway. What they say in
    /// `forwarded_header` is believed; without them every visitor counts as the proxy itself, and
    /// all share one limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// The header in which `trusted_proxies` name the visitor; the other one is ignored.
    #[serde(default)]
    pub forwarded_header: ForwardedHeader,
    /// Networks whose visitors may register and sign in ten times as often as others: those through
    /// which many people come with one address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_networks: Vec<Network>,
    /// Keys that seal sessions, as lines of `id base64`, newest first; if absent, a generated
    /// file in the data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_keys: Option<Template>,
    /// How the gateway itself signs people in.
    pub entra: EntraConfig,
    /// Where the values of `{{name}}` come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The MCP servers behind this gateway, by name.
    pub servers: BTreeMap<ServerName, BackendConfig>,
}

/// The header by which a reverse proxy names the visitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedHeader {
    /// A list of addresses, the visitor's first; each proxy adds one at the end.
    #[default]
    #[serde(rename = "X-Forwarded-For", alias = "x-forwarded-for")]
    XForwardedFor,
    /// RFC 7239.
    #[serde(alias = "forwarded")]
    Forwarded,
}

/// `[entra]`: the gateway's own registration at Microsoft Entra ID.
///
/// At most one of `client_secret`, `certificate`, `federated_token_file` and `managed_identity`
/// is given; none makes it a public client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraConfig {
    /// `https://login.microsoftonline.com/{tenant}/v2.0`, or the same at another cloud.
    pub authority: EndpointUrl,
    /// The application (client) id.
    pub client_id: String,
    /// The client secret, as `{{name}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Template>,
    /// A certificate instead of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateConfig>,
    /// A file with a token of a federated credential, such as Kubernetes mounts for workload
    /// identity, relative to `gateway.toml`. It is read anew for every use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federated_token_file: Option<PathBuf>,
    /// An Azure managed identity as the federated credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentityConfig>,
    /// What is asked for at the sign-in.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
}

/// `[entra.certificate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// The certificate that was uploaded to the registration, as PEM: `{{name}}`.
    pub certificate: Template,
    /// Its RSA private key, as PEM: `{{name}}`.
    pub private_key: Template,
}

/// `[entra.managed_identity]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentityConfig {
    /// The client id of the user-assigned identity.
    pub client_id: String,
    /// The audience that Entra expects; other clouds have their own.
    #[serde(default = "default_exchange_audience")]
    pub audience: String,
    /// The token endpoint, if it is not the virtual machine's.
    #[serde(default = "default_identity_endpoint")]
    pub endpoint: String,
    /// The value of `X-IDENTITY-HEADER`, as `{{name}}`, where App Service provides the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Template>,
}

/// `[servers.NAME]`: one MCP server behind the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendConfig {
    /// Its Streamable HTTP endpoint.
    pub url: BackendUrl,
    /// Its HTTP+SSE endpoint, if it has one; the message endpoint is what that one announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse_url: Option<BackendUrl>,
    /// The name people see on the consent page; the server's name, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The scopes that a session needs for this server.
    #[serde(default = "default_server_scopes")]
    pub scopes: Vec<String>,
    /// Headers added to every request, such as `x-functions-key = "{{functions-key}}"`. A header of an
    /// answer that repeats one of these secrets is removed. Bodies are passed on unread: a server that
    /// writes what it was asked with into its answers gives the secret away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

/// The address of a server behind the gateway: http or https, to any host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct BackendUrl {
    text: String,
    #[schemars(skip)]
    url: url::Url,
}

impl BackendUrl {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed form, for its parts.
    #[must_use]
    pub fn url(&self) -> &url::Url {
        &self.url
    }
}

impl TryFrom<String> for BackendUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let url = url::Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(
                "not an http or https URL; hint: write it whole, as in http://10.0.0.5:8080/mcp",
            )?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(
                "a user name, a password or a fragment does not belong into the URL; \
                hint: give credentials under `headers`"
                    .to_owned(),
            );
        }
        Ok(Self { text, url })
    }
}

impl std::str::FromStr for BackendUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<BackendUrl> for String {
    fn from(url: BackendUrl) -> Self {
        url.text
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        D::Error::custom("is not an address with a port; hint: write one as in 127.0.0.1:4180")
    })
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4180))
}

fn default_max_connections() -> usize {
    10_000
}

fn default_keep_alive_seconds() -> u32 {
    45
}

fn default_drain_seconds() -> u32 {
    20
}

fn default_name() -> String {
    "MCP gateway".to_owned()
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "offline_access"]
        .map(str::to_owned)
        .to_vec()
}

fn default_server_scopes() -> Vec<String> {
    vec!["mcp".to_owned()]
}

fn default_exchange_audience() -> String {
    "api://AzureADTokenExchange".to_owned()
}

fn default_identity_endpoint() -> String {
    "http://169.254.169.254/metadata/identity/oauth2/token".to_owned()
}

#[cfg(test)]
mod tests;
