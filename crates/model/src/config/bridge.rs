//! `config.toml`: what the resident bridge is told by its user.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ClientCredential, ClientCredentials, ClientMetadataUrl, Headers, Proxy, SecretRef};
use crate::{EndpointUrl, Issuer, Resource, SecretName, ServerName};

/// The whole of `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// The file's version; 1 is the only one so far.
    #[serde(default)]
    pub version: ConfigVersion,
    /// The bridge itself.
    #[serde(default)]
    pub bridge: BridgeSettings,
    /// The servers, by name.
    #[serde(default)]
    pub servers: BTreeMap<ServerName, ServerConfig>,
}

/// Two fields of `config.toml` that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Contradiction {
    /// The way to the field that has to change.
    pub path: Vec<String>,
    /// Why, and a hint.
    pub reason: String,
}

impl BridgeConfig {
    /// Checks what no field can hold by itself.
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
    /// The first.
    #[default]
    V1,
}

impl TryFrom<u32> for ConfigVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(Self::V1),
            other => Err(format!(
                "version {other} is not known; hint: a newer Postern wrote this file, update this one"
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
    /// The loopback port of the HTTP endpoint for hosts. It is never moved silently: if it is
    /// taken, the bridge says so and serves the other faces.
    pub port: u16,
    /// How long a call of a tool waits for a sign-in before it fails, in seconds; an hour at most.
    /// Hosts give up after 30 to 60.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub sign_in_wait_seconds: u64,
    /// How long a list of tools, prompts or resources of which nothing is known waits for a server
    /// that is slow, and for a sign-in that its own connection began, from the moment that began; in
    /// seconds, an hour at most. Over HTTP it is 4 at most, because some hosts give a remote server
    /// no more than 5 seconds to start.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub list_wait_seconds: u64,
    /// How long a call of a tool waits for a server that cannot be reached before it fails, in
    /// seconds; an hour at most. For a server that answered within the last minute it is
    /// `sign_in_wait_seconds`, because that one may be restarting.
    #[serde(deserialize_with = "max_one_hour")]
    #[schemars(range(max = MAX_WAIT_SECONDS))]
    pub server_wait_seconds: u64,
    /// Which proxy leads to servers and to sign-ins that are not on this machine: `system`,
    /// `none`, or a URL. In force from the bridge's next start.
    #[serde(skip_serializing_if = "is_system")]
    pub proxy: Proxy,
    /// Files of certificates (PEM) to trust beside the system's, as where a company inspects its
    /// traffic. In force from the bridge's next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_ca_files: Vec<PathBuf>,
    /// Where Postern's client ID metadata document is, for authorization servers that take such
    /// an address for a client id. The document has to name its own address as its `client_id`,
    /// `none` as its `token_endpoint_auth_method`, and `http://127.0.0.1/callback` among its
    /// `redirect_uris`, and `http://localhost` as well for Entra. Without it, Postern registers
    /// itself. In force from the bridge's next start.
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
        let text =
            format!("{seconds} seconds are too long to wait, {MAX_WAIT_SECONDS} are the most");
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
    /// The remote's MCP endpoint.
    #[serde(deserialize_with = "http_or_https")]
    pub url: EndpointUrl,
    /// Whether `url` may be http to another machine: then everybody on the way there can read and
    /// change what is sent, so that nobody can sign in to this server.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_http: bool,
    /// How the remote is spoken to.
    #[serde(default, skip_serializing_if = "Transport::is_auto")]
    pub transport: Transport,
    /// How one signs in to it.
    #[serde(default, skip_serializing_if = "ServerAuth::is_discover")]
    pub auth: ServerAuth,
    /// Headers to send with every request, such as `X-Api-Key = { keychain = "crm-key" }` with a
    /// secret that `postern secrets set crm-key` has stored, or a plain text for what is none.
    /// `Authorization` may be among them where `auth` is `{ kind = "none" }`.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

impl ServerConfig {
    /// What is said of a server that has only an address: the rest is found out.
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

    /// The stored secrets that it needs: for its headers, and to sign in.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.headers.secrets().chain(self.auth.secret())
    }

    fn check_exposed(&self, name: &ServerName) -> Result<(), Contradiction> {
        if !self.allow_http {
            return Err(Contradiction {
                path: path(name, ["url"]),
                reason: format!(
                    "`{}` is neither https nor on this machine; hint: use https, or say `allow_http = true` if everybody on the way there may read and change what is sent",
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
                reason: "a sign-in's token could be read on its way to this server; hint: use https, or `auth = { kind = \"none\" }`".to_owned(),
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
                    "{header} is what a sign-in brings; hint: take it out, or say `auth = {{ kind = \"none\" }}` where nobody signs in"
                ),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// [`ServerConfig::check`] tells http that is allowed from http that is not.
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

/// The transport towards a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Streamable HTTP, and HTTP+SSE where the remote turns out to speak only that.
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

/// How one signs in to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServerAuth {
    /// Ask the server (RFC 9728), then its authorization server (RFC 8414), and register there
    /// (RFC 7591) unless a client id is given.
    #[default]
    Discover,
    /// As `discover`, with a client that was registered beforehand.
    Client {
        /// The client id at the authorization server.
        client_id: String,
        /// Its secret, if it has one, as in `{ keychain = "crm-client" }` after
        /// `postern secrets set crm-client`. It goes where the authorization server's metadata
        /// wants it: into the `Authorization` header or the body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<SecretRef>,
        /// The authorization server that the client is registered at. Another one that the server
        /// may name gets neither the id nor the secret. Without it, that is so from the first
        /// sign-in on, as long as somebody is signed in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<Issuer>,
        /// The scopes to ask for; those the server names, if absent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// The port of the redirect URI `http://127.0.0.1:{port}/callback`, where that is
        /// registered with its port; 0 takes any free one, which an authorization server should
        /// allow (RFC 8252 section 7.3).
        #[serde(default, skip_serializing_if = "is_any")]
        redirect_port: u16,
    },
    /// The server is protected directly by Microsoft Entra ID.
    Entra {
        /// `https://login.microsoftonline.com/{tenant}/v2.0`, or the same at another cloud.
        authority: Issuer,
        /// The application (client) id.
        client_id: String,
        /// The App ID URI of the server's registration; it qualifies scopes.
        resource: Resource,
        /// Scopes, qualified or bare; `.default` if absent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// The port of the redirect URI `http://localhost:{port}`; 0 takes any free one, which
        /// Entra allows for `localhost`.
        #[serde(default)]
        redirect_port: u16,
    },
    /// Nobody signs in: this program proves itself (RFC 6749 section 4.4).
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

    /// Whether it is people who sign in: not where nobody does, nor where the program itself does.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        match self {
            Self::Discover | Self::Client { .. } | Self::Entra { .. } => true,
            Self::ClientCredentials(_) | Self::None => false,
        }
    }

    /// Returns the Entra authority that it names.
    #[must_use]
    pub fn authority(&self) -> Option<&Issuer> {
        match self {
            Self::Entra { authority, .. } => Some(authority),
            Self::ClientCredentials(config) => config.authority(),
            Self::Discover | Self::Client { .. } | Self::None => None,
        }
    }

    /// The secret that signing in takes.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Client { client_secret, .. } => {
                client_secret.as_ref().map(|secret| &secret.keychain)
            }
            Self::ClientCredentials(ClientCredentials {
                proof: ClientCredential::Secret(name),
                ..
            }) => Some(name),
            Self::Discover | Self::Entra { .. } | Self::ClientCredentials(_) | Self::None => None,
        }
    }
}
