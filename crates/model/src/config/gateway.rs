//! `gateway.toml`: the configuration of a gateway.
//!
//! Owns: the file's types, [`GatewayConfig::parse`] and [`GatewayConfig::validate`], whose errors name
//! line and field. Does not own: reading the file, and the values of secrets, to which the file refers
//! as `{{name}}`.

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

/// The content of `gateway.toml`.
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
    /// The file's version. Only 1 exists.
    #[serde(default)]
    pub version: ConfigVersion,
    /// The URL under which clients reach this gateway, without a path. It is the OAuth issuer, and is
    /// never derived from a request.
    pub public_url: EndpointUrl,
    /// The address to listen on, with plain HTTP. A reverse proxy in front of it must provide TLS.
    #[serde(default = "default_listen", deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The name on the consent page.
    #[serde(default = "default_name")]
    pub name: String,
    /// The server that is also reachable at `/mcp`, `/mcp/sse` and `/mcp/message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_server: Option<ServerName>,
    /// The IDs of the tenants whose users may sign in. If empty, the authority's tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_tenants: Vec<String>,
    /// The web origins whose pages may call the servers, as in `https://app.example.com`. If empty, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The maximum number of connections, at least 100. One address may have a quarter of them. Beyond
    /// that, idle connections are closed for new ones. Each connection needs two descriptors, so a low
    /// limit on open files reduces the number.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// After how many idle seconds a comment line is sent on an event stream, so that a reverse proxy does
    /// not close it: nginx waits for 60 seconds, Azure for 230. 0 disables the comment lines.
    #[serde(default = "default_keep_alive_seconds")]
    pub keep_alive_seconds: u32,
    /// How long active requests may continue after the gateway was asked to shut down, in seconds. At most
    /// 600. Meanwhile, it accepts no new connections. Event streams end with the last request, which also
    /// cuts off responses of servers over HTTP+SSE, because they arrive on such a stream.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u32,
    /// The networks of the reverse proxies in front of this gateway, whose `forwarded_header` is trusted.
    /// If a proxy is not listed, all its clients count as one address and share one rate limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// The header in which `trusted_proxies` pass the client's address. The other header is ignored.
    #[serde(default)]
    pub forwarded_header: ForwardedHeader,
    /// The networks whose clients may register and sign in ten times as often as others, because many
    /// users share one address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_networks: Vec<Network>,
    /// The keys that encrypt sessions, as lines of `id base64`, newest first. If absent, they are
    /// generated and stored in the data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_keys: Option<Template>,
    /// How the gateway signs users in.
    pub entra: EntraConfig,
    /// The sources of the values of `{{name}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The MCP servers behind this gateway, by name.
    pub servers: BTreeMap<ServerName, BackendConfig>,
}

/// The header in which a reverse proxy passes the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedHeader {
    /// A list of addresses, with the client's first. Each proxy appends one.
    #[default]
    #[serde(rename = "X-Forwarded-For", alias = "x-forwarded-for")]
    XForwardedFor,
    /// RFC 7239.
    #[serde(alias = "forwarded")]
    Forwarded,
}

/// `[entra]`: the gateway's app registration in Microsoft Entra ID.
///
/// At most one of `client_secret`, `certificate`, `federated_token_file` and `managed_identity` may be
/// set. Without any, the gateway is a public client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraConfig {
    /// `https://login.microsoftonline.com/{tenant}/v2.0`, or its equivalent in another cloud.
    pub authority: EndpointUrl,
    /// The application (client) ID.
    pub client_id: String,
    /// The client secret, as `{{name}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Template>,
    /// A certificate instead of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateConfig>,
    /// A file with a federated token, such as Kubernetes mounts for workload identity, relative to
    /// `gateway.toml`. The file is read for every use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federated_token_file: Option<PathBuf>,
    /// An Azure managed identity as the federated credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentityConfig>,
    /// The scopes to request at the sign-in.
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
    /// The client ID of the user-assigned identity.
    pub client_id: String,
    /// The audience that Entra expects. It differs in other clouds.
    #[serde(default = "default_exchange_audience")]
    pub audience: String,
    /// The token endpoint. The default is that of virtual machines.
    #[serde(default = "default_identity_endpoint")]
    pub endpoint: String,
    /// The value of `X-IDENTITY-HEADER`, as `{{name}}`, if App Service provides the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Template>,
}

/// `[servers.NAME]`: one MCP server behind the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendConfig {
    /// Its Streamable HTTP endpoint.
    pub url: BackendUrl,
    /// Its HTTP+SSE endpoint, if it has one, which announces the message endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse_url: Option<BackendUrl>,
    /// The name on the consent page. If absent, the server's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The scopes that a session needs for this server.
    #[serde(default = "default_server_scopes")]
    pub scopes: Vec<String>,
    /// The headers added to every request, such as `x-functions-key = "{{functions-key}}"`. Response
    /// headers that contain one of these secrets are removed. Bodies are not inspected: a server that
    /// echoes request headers in its responses discloses the secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

/// The URL of a server behind the gateway: http or https, with any host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct BackendUrl {
    text: String,
    #[schemars(skip)]
    url: url::Url,
}

impl BackendUrl {
    /// Returns the original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the parsed form.
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
