//! The rules for a `gateway.toml` that its types do not express.

use std::fmt;

use super::{BackendConfig, EntraConfig, GatewayConfig, ManagedIdentityConfig, Template};
use crate::config::locate::{field_at, line_at, line_of};

/// An error in a configuration file. Does not contain the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The 1-based line, if the text is available.
    pub line: Option<usize>,
    /// The field, as in `servers.snippets.url`. Empty if the text is not TOML.
    pub field: String,
    /// The error, and a hint.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "`{}`: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl GatewayConfig {
    /// Parses the text of a `gateway.toml`.
    ///
    /// # Errors
    /// The first error, with its line and field.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        config
            .check()
            .map_err(|Wrong { path, message }| ConfigError {
                line: line_of(text, &path),
                field: path.join("."),
                message,
            })?;
        Ok(config)
    }

    /// Checks the rules that the types do not express, for a configuration that a program has created.
    ///
    /// # Errors
    /// The first error, with its field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check().map_err(|Wrong { path, message }| ConfigError {
            line: None,
            field: path.join("."),
            message,
        })
    }

    fn check(&self) -> Result<(), Wrong> {
        let origin = self.public_url.url().origin().ascii_serialization();
        if self.public_url.as_str() != origin {
            return Err(wrong(
                ["public_url"],
                "is not a plain origin; hint: scheme and host in lower case, a port only if it is \
                 not the usual one, and no path or slash after it",
            ));
        }
        if self.name.trim().is_empty() {
            return Err(wrong(
                ["name"],
                "is empty; hint: set the name that is shown on the consent page",
            ));
        }
        if self.max_connections < 100 {
            return Err(wrong(
                ["max_connections"],
                "is less than 100; hint: one host has several connections",
            ));
        }
        if self.drain_seconds > 600 {
            return Err(wrong(
                ["drain_seconds"],
                "is more than 600; hint: what starts and ends the gateway hardly waits that long",
            ));
        }
        if self.servers.is_empty() {
            return Err(wrong(
                ["servers"],
                "is empty; hint: add a [servers.NAME] with a url",
            ));
        }
        if self.servers.keys().any(|name| name.as_str() == "mcp") {
            return Err(wrong(
                ["servers", "mcp"],
                "has a name that paths need for the root server, as in /mcp/sse; hint: rename the server",
            ));
        }
        self.check_root_server()?;
        self.check_origins()?;
        self.entra.check(&self.allowed_tenants)?;
        if !self.allowed_tenants.iter().all(|id| is_tenant_id(id)) {
            return Err(wrong(
                ["allowed_tenants"],
                "holds something that is not a tenant id; hint: copy the Directory (tenant) ID, as in 8f1c6e4e-0000-4000-8000-000000000001",
            ));
        }
        for (name, server) in &self.servers {
            server.check(name.as_str())?;
        }
        self.check_secrets()
    }

    fn check_root_server(&self) -> Result<(), Wrong> {
        let Some(root) = &self.root_server else {
            return Ok(());
        };
        if !self.servers.contains_key(root) {
            return Err(wrong(
                ["root_server"],
                "names no server of this file; hint: it must be a NAME of a [servers.NAME]",
            ));
        }
        Ok(())
    }

    fn check_origins(&self) -> Result<(), Wrong> {
        let plain = |text: &String| {
            url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text)
        };
        if self.allowed_origins.iter().all(plain) {
            Ok(())
        } else {
            Err(wrong(
                ["allowed_origins"],
                "holds something that is not an origin; hint: write scheme and host, as in https://app.example.com",
            ))
        }
    }

    fn check_secrets(&self) -> Result<(), Wrong> {
        for (path, template) in self.templates() {
            for name in template.secrets() {
                if !self.secrets.contains_key(name) {
                    return Err(Wrong {
                        path,
                        message: format!(
                            "names the secret `{name}`, which is not in this file; hint: add a [secrets.{name}] with file or env"
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// Returns every text that may refer to a secret, with its path.
    fn templates(&self) -> Vec<(Vec<String>, &Template)> {
        let entra = |field: &str| vec!["entra".to_owned(), field.to_owned()];
        let mut all = Vec::new();
        all.extend(
            self.session_keys
                .iter()
                .map(|text| (vec!["session_keys".to_owned()], text)),
        );
        all.extend(
            self.entra
                .client_secret
                .iter()
                .map(|text| (entra("client_secret"), text)),
        );
        if let Some(certificate) = &self.entra.certificate {
            all.push((entra("certificate"), &certificate.certificate));
            all.push((entra("certificate"), &certificate.private_key));
        }
        let identity = self.entra.managed_identity.iter();
        all.extend(
            identity.filter_map(|identity| {
                Some((entra("managed_identity"), identity.header.as_ref()?))
            }),
        );
        for (name, server) in &self.servers {
            all.extend(server.headers.iter().map(|(header, text)| {
                (
                    ["servers", name.as_str(), "headers", header]
                        .map(str::to_owned)
                        .to_vec(),
                    text,
                )
            }));
        }
        all
    }
}

/// The tenants in an authority's URL that are not a single organisation: names, which Entra matches
/// ignoring case, and the tenant of personal accounts.
const SHARED_TENANTS: [&str; 4] = [
    "common",
    "organizations",
    "consumers",
    "9188040d-6c67-4c5b-b112-36a304b66dad",
];

/// Returns whether a path segment is a placeholder for the tenant, as in an example.
fn is_placeholder(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    // `{` and `<`, percent-encoded.
    let is_bracketed = part.starts_with("%7b") || part.starts_with("%3c");
    let words: String = part.chars().filter(char::is_ascii_alphanumeric).collect();
    is_bracketed
        || [
            "tenant",
            "tenantid",
            "yourtenant",
            "yourtenantid",
            "directoryid",
        ]
        .contains(&words.as_str())
}

/// Returns whether a text has the form of a tenant ID.
fn is_tenant_id(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

impl EntraConfig {
    fn check(&self, allowed_tenants: &[String]) -> Result<(), Wrong> {
        if self.client_id.trim().is_empty() {
            return Err(wrong(
                ["entra", "client_id"],
                "is empty; hint: copy the Application (client) ID from the registration",
            ));
        }
        let ways = [
            self.client_secret.is_some(),
            self.certificate.is_some(),
            self.federated_token_file.is_some(),
            self.managed_identity.is_some(),
        ];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            return Err(wrong(
                ["entra"],
                "has more than one of client_secret, certificate, federated_token_file and managed_identity; hint: keep one",
            ));
        }
        for (field, text) in self.must_be_secret() {
            if text.secrets().next().is_none() {
                return Err(wrong(
                    ["entra", field],
                    "holds the secret itself; hint: write {{name}} here and add a [secrets.name] with file or env",
                ));
            }
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err(wrong(
                ["entra", "scopes"],
                "lacks openid; hint: without it Entra does not say who signed in",
            ));
        }
        if self.is_shared_authority() && allowed_tenants.is_empty() {
            return Err(wrong(
                ["entra", "authority"],
                "lets users of every tenant sign in; hint: name the tenant in the URL, or list tenant IDs in allowed_tenants",
            ));
        }
        self.check_authority()?;
        self.managed_identity
            .as_ref()
            .map_or(Ok(()), ManagedIdentityConfig::check)
    }

    fn check_authority(&self) -> Result<(), Wrong> {
        let path = self.authority.url().path();
        let wrong_authority = |message| Err(wrong(["entra", "authority"], message));
        if path.split('/').any(is_placeholder) {
            return wrong_authority(
                "names no tenant; hint: put the Directory (tenant) ID where the example has a placeholder",
            );
        }
        if !path.ends_with("/v2.0") {
            return wrong_authority(
                "is no v2.0 endpoint; hint: it ends in /v2.0, as in https://login.microsoftonline.com/TENANT/v2.0",
            );
        }
        Ok(())
    }

    fn must_be_secret(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        let secret = self
            .client_secret
            .iter()
            .map(|text| ("client_secret", text));
        let key = self
            .certificate
            .iter()
            .map(|pair| ("certificate", &pair.private_key));
        secret.chain(key)
    }

    fn is_shared_authority(&self) -> bool {
        let tenant = self.tenant();
        tenant.is_empty()
            || SHARED_TENANTS
                .iter()
                .any(|shared| tenant.eq_ignore_ascii_case(shared))
    }

    /// Returns the ID of the only tenant whose users the authority signs in. Returns `None` if the
    /// authority signs in users of several tenants, or names its tenant by a domain.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        Some(self.tenant()).filter(|tenant| is_tenant_id(tenant))
    }

    fn tenant(&self) -> &str {
        let path = self.authority.url().path();
        path.split('/').nth(1).unwrap_or_default()
    }
}

impl ManagedIdentityConfig {
    fn check(&self) -> Result<(), Wrong> {
        let fits = url::Url::parse(&self.endpoint)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if fits {
            Ok(())
        } else {
            Err(wrong(
                ["entra", "managed_identity", "endpoint"],
                "is not a URL; hint: leave it out on a virtual machine",
            ))
        }
    }
}

impl BackendConfig {
    fn check(&self, name: &str) -> Result<(), Wrong> {
        let fits = |scope: &String| {
            !scope.is_empty()
                && scope
                    .bytes()
                    .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        };
        if !self.scopes.iter().all(fits) {
            return Err(wrong(
                ["servers", name, "scopes"],
                "holds something that is not a scope; hint: printable ASCII without spaces and quotes",
            ));
        }
        match self.headers.keys().find(|header| !may_inject(header)) {
            None => Ok(()),
            Some(header) => Err(wrong(
                ["servers", name, "headers", header],
                "cannot be set; hint: use a header of the backend's own, as in x-functions-key",
            )),
        }
    }
}

/// Returns whether a header may be configured: it is a valid name, does not affect the framing, and is
/// not set by the gateway itself.
fn may_inject(name: &str) -> bool {
    let token = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let name = name.to_ascii_lowercase();
    let ours = [
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    token && !ours.contains(&name.as_str()) && !name.starts_with("x-postern-")
}

struct Wrong {
    path: Vec<String>,
    message: String,
}

fn wrong<const N: usize>(path: [&str; N], message: &str) -> Wrong {
    Wrong {
        path: path.map(str::to_owned).to_vec(),
        message: message.to_owned(),
    }
}

pub(in crate::config) fn syntax_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map(|span| span.start);
    ConfigError {
        line: offset.map(|offset| line_at(text, offset)),
        field: offset
            .and_then(|offset| field_at(text, offset))
            .unwrap_or_default(),
        message: error.message().trim_end().to_owned(),
    }
}
