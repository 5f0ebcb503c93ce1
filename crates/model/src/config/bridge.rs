//! `config.toml`: the configuration of the bridge.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ClientCredential, ClientCredentials, ClientMetadataUrl, Headers, Proxy, SecretRef};
use crate::{EndpointUrl, Issuer, Resource, SecretName, ServerName};

/// The content of `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// The file's version. Only 1 exists.
    #[serde(default)]
    pub version: ConfigVersion,
    /// The bridge itself.
    #[serde(default)]
    pub bridge: BridgeSettings,
    /// The servers, by name.
    #[serde(default)]
    pub servers: BTreeMap<ServerName, ServerConfig>,
}

/// Two fields of `config.toml` that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Contradiction {
    /// The path of the field to change.
    pub path: Vec<String>,
    /// The reason, and a hint.
    pub reason: String,
}

impl BridgeConfig {
    /// Checks the rules that concern several fields.
    ///
    /// # Errors
    /// The first [`Contradiction`].
    pub fn check(&self) -> Result<(), Contradiction> {
        let mut servers = self.servers.iter();
        servers.try_for_each(|(name, server)| server.check(name))
    }
}

/// The version of a configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(extend("const" = 1))]
pub enum ConfigVersion {
    /// Version 1.
    #[default]
    V1,
}

impl TryFrom<u32> for ConfigVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(Self::V1),
            other => Err(format!(
                "version {other} is not supported; hint: update Postern, because a newer version wrote this file"
            )),
        }
    }
}

impl From<ConfigVersion> for u32 {
    fn from(version: ConfigVersion) -> Self {
        match version {
            ConfigVersion::V1 => 1,
        }
    }
}

/// `[bridge]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeSettings {
    /// The loopback port of the HTTP endpoints for hosts. If it is in use, the bridge reports that and
    /// serves only the sockets. It does not choose another port.
    pub port: u16,
    /// How long a tool call waits for a sign-in before it fails, in seconds. At most one hour. Hosts time
    /// out after 30 to 60 seconds.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub sign_in_wait_seconds: u64,
    /// How long a request for a list of tools, prompts or resources waits if the list is not cached, in
    /// seconds. At most one hour. It waits for a slow server, and for a sign-in that its own connection
    /// started, from that start. Over HTTP, it waits at most 4 seconds, because some hosts allow a remote
    /// server only 5 seconds to start.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub list_wait_seconds: u64,
    /// How long a tool call waits for an unreachable server before it fails, in seconds. At most one hour.
    /// For a server that responded within the last minute, `sign_in_wait_seconds` applies, because it may
    /// be restarting.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub server_wait_seconds: u64,
    /// The proxy for servers and sign-ins on other machines: `system`, `none`, or a URL. Takes effect at
    /// the bridge's next start.
    #[serde(skip_serializing_if = "is_system")]
    pub proxy: Proxy,
    /// PEM files of certificates to trust in addition to the system's, for example if a company inspects
    /// its traffic. Takes effect at the bridge's next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_ca_files: Vec<PathBuf>,
    /// The URL of Postern's client ID metadata document, for authorization servers that accept such a URL
    /// as a client ID. The document must contain its own URL as `client_id`, `none` as
    /// `token_endpoint_auth_method`, and `http://127.0.0.1/callback` in `redirect_uris`, and also
    /// `http://localhost` for Entra. Without it, Postern registers itself. Takes effect at the bridge's
    /// next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata_url: Option<ClientMetadataUrl>,
}

fn is_system(proxy: &Proxy) -> bool {
    *proxy == Proxy::System
}

const MAX_WAIT_SECONDS: u64 = 60 * 60;

fn max_one_hour<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(from)?;
    if seconds > MAX_WAIT_SECONDS {
        let text = format!("{seconds} seconds is too long; hint: use at most {MAX_WAIT_SECONDS}");
        return Err(D::Error::custom(text));
    }
    Ok(seconds)
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            port: 4127,
            sign_in_wait_seconds: 25,
            list_wait_seconds: 8,
            server_wait_seconds: 8,
            proxy: Proxy::System,
            extra_ca_files: Vec::new(),
            client_metadata_url: None,
        }
    }
}

/// `[servers.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The URL of its MCP endpoint.
    #[serde(deserialize_with = "http_or_https")]
    pub url: EndpointUrl,
    /// Whether `url` may be an http URL of another machine. Everyone on the network path can then read and
    /// change the traffic, so a sign-in to this server is not possible.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_http: bool,
    /// The transport.
    #[serde(default, skip_serializing_if = "Transport::is_auto")]
    pub transport: Transport,
    /// How to sign in to it.
    #[serde(default, skip_serializing_if = "ServerAuth::is_discover")]
    pub auth: ServerAuth,
    /// Headers to send with every request, such as `X-Api-Key = { secret = "crm-key" }` with a secret
    /// that was stored with `postern secrets set crm-key`, or a plain string if it is not secret.
    /// `Authorization` is allowed if `auth` is `{ kind = "none" }`.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

impl ServerConfig {
    /// Returns the configuration of a server of which only the URL is known.
    #[must_use]
    pub fn at(url: EndpointUrl) -> Self {
        Self {
            url,
            allow_http: false,
            transport: Transport::Auto,
            auth: ServerAuth::Discover,
            headers: Headers::default(),
        }
    }

    /// Iterates over the stored secrets that it uses, for its headers and to sign in.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.headers.secrets().chain(self.auth.secret())
    }

    fn check_exposed(&self, name: &ServerName) -> Result<(), Contradiction> {
        if !self.allow_http {
            return Err(Contradiction {
                path: path(name, ["url"]),
                reason: format!(
                    "`{}` is neither https nor on this machine; hint: use https, or set `allow_http = true` if everyone on the network path may read and change the traffic",
                    self.url.shown()
                ),
            });
        }
        match self.auth {
            ServerAuth::Discover | ServerAuth::None => Ok(()),
            ServerAuth::Client { .. }
            | ServerAuth::Entra { .. }
            | ServerAuth::ClientCredentials(_) => Err(Contradiction {
                path: path(name, ["auth"]),
                reason: "a sign-in's token could be read on the network path to this server; hint: use https, or set `auth = { kind = \"none\" }`".to_owned(),
            }),
        }
    }

    fn check(&self, name: &ServerName) -> Result<(), Contradiction> {
        if self.url.is_exposed() {
            self.check_exposed(name)?;
        }
        match self.headers.authorization() {
            Some(header) if self.auth != ServerAuth::None => Err(Contradiction {
                path: path(name, ["headers", header.as_str()]),
                reason: format!(
                    "{header} is set by the sign-in; hint: remove it, or set `auth = {{ kind = \"none\" }}` if the server needs no sign-in"
                ),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Parses an http or https URL. [`ServerConfig::check`] rejects http that is not allowed.
fn http_or_https<'de, D: Deserializer<'de>>(from: D) -> Result<EndpointUrl, D::Error> {
    let text = String::deserialize(from)?;
    EndpointUrl::allowing_http(&text).map_err(D::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_false(value: &bool) -> bool {
    !value
}

fn path<const N: usize>(name: &ServerName, rest: [&str; N]) -> Vec<String> {
    let path = ["servers", name.as_str()].into_iter().chain(rest);
    path.map(str::to_owned).collect()
}

/// The transport of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Streamable HTTP, or HTTP+SSE if the server supports only that.
    #[default]
    Auto,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

impl Transport {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// How to sign in to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServerAuth {
    /// Discover the authorization server from the server's metadata (RFC 9728, RFC 8414), and register
    /// there (RFC 7591) unless a client ID is given.
    #[default]
    Discover,
    /// As `discover`, with a preregistered client.
    Client {
        /// The client ID at the authorization server.
        client_id: String,
        /// Its secret, if it has one, as in `{ secret = "crm-client" }` after
        /// `postern secrets set crm-client`. It is sent in the `Authorization` header or the body, as the
        /// authorization server's metadata requires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<SecretRef>,
        /// The authorization server at which the client is registered. If the server names another one,
        /// that gets neither the ID nor the secret. If absent, the authorization server of the first
        /// sign-in applies as long as an account is signed in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<Issuer>,
        /// The scopes to request. If absent, those that the server names.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// The port of the redirect URI `http://127.0.0.1:{port}/callback`, if it is registered with a
        /// port. 0 selects any free port, which authorization servers should allow (RFC 8252 section 7.3).
        #[serde(default, skip_serializing_if = "is_any")]
        redirect_port: u16,
    },
    /// The server is protected directly by Microsoft Entra ID.
    Entra {
        /// `https://login.microsoftonline.com/{tenant}/v2.0`, or its equivalent in another cloud.
        authority: Issuer,
        /// The application (client) ID.
        client_id: String,
        /// The App ID URI of the server's registration, which qualifies scopes.
        resource: Resource,
        /// The scopes, qualified or bare. If absent, `.default`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// The port of the redirect URI `http://localhost:{port}`. 0 selects any free port, which Entra
        /// allows for `localhost`.
        #[serde(default)]
        redirect_port: u16,
    },
    /// Postern gets tokens with its own credential, and no user signs in (RFC 6749 section 4.4).
    ClientCredentials(ClientCredentials),
    /// The server needs no sign-in.
    None,
}

fn is_any(port: &u16) -> bool {
    *port == 0
}

impl ServerAuth {
    fn is_discover(&self) -> bool {
        *self == Self::Discover
    }

    /// Returns whether users sign in: false without a sign-in and with client credentials.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        match self {
            Self::Discover | Self::Client { .. } | Self::Entra { .. } => true,
            Self::ClientCredentials(_) | Self::None => false,
        }
    }

    /// Returns the configured Entra authority, if any.
    #[must_use]
    pub fn authority(&self) -> Option<&Issuer> {
        match self {
            Self::Entra { authority, .. } => Some(authority),
            Self::ClientCredentials(config) => config.authority(),
            Self::Discover | Self::Client { .. } | Self::None => None,
        }
    }

    /// Returns the name of the secret for the sign-in, if there is one.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Client { client_secret, .. } => {
                client_secret.as_ref().map(|secret| &secret.secret)
            }
            Self::ClientCredentials(ClientCredentials {
                proof: ClientCredential::Secret(name),
                ..
            }) => Some(name),
            Self::Discover | Self::Entra { .. } | Self::ClientCredentials(_) | Self::None => None,
        }
    }
}
