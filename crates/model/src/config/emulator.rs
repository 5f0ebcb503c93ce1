//! `emulator.toml`: the tenants of `postern emulator`, instead of the demo's.
//!
//! Owns: the file's types and [`EmulatorConfig::parse`]. Does not own: the validation of tenants, such
//! as duplicate IDs of users, which the emulator does, and reading the file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigVersion;
use super::gateway::{ConfigError, SecretValue, syntax_error};

/// The content of `emulator.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmulatorConfig {
    /// The file's version. Only 1 exists.
    #[serde(default)]
    pub version: ConfigVersion,
    /// The tenants, at least one. The tenant of personal accounts has the ID
    /// `9188040d-6c67-4c5b-b112-36a304b66dad`.
    #[schemars(length(min = 1))]
    pub tenants: Vec<TenantConfig>,
}

/// `[[tenants]]`: an organisation, or the tenant of personal accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// The tenant ID.
    pub id: Guid,
    /// The name on the sign-in page.
    pub name: String,
    /// The users, who can sign in with any password. The domains of their names belong to the tenant.
    #[serde(default)]
    pub users: Vec<UserConfig>,
    /// The app registrations.
    #[serde(default)]
    pub apps: Vec<AppConfig>,
    /// The managed identities.
    #[serde(default)]
    pub managed_identities: Vec<ManagedIdentityConfig>,
}

/// `[[tenants.users]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// `oid` in tokens.
    pub object_id: Guid,
    /// The user principal name, as in `adele@contoso.example`.
    pub username: String,
    /// The display name.
    pub name: String,
}

/// `[[tenants.apps]]`: a client, an API, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// The application (client) ID.
    pub client_id: Guid,
    /// The name on the consent page.
    pub name: String,
    /// The platform of its redirect URIs.
    pub platform: PlatformName,
    /// The client secret. Only for `web`, where it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretValue>,
    /// The tenants whose users may use it.
    #[serde(default)]
    pub sign_in_audience: Audience,
    /// The redirect URIs. The port of `localhost` is ignored.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The Application ID URIs, compared character for character.
    #[serde(default)]
    pub app_id_uris: Vec<String>,
    /// The delegated permissions that it exposes as an API.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The application permissions that it exposes as an API.
    #[serde(default)]
    pub app_roles: Vec<AppRoleConfig>,
    /// The version of access tokens for it, 1 or 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 2))]
    pub access_token_version: u8,
    /// The PEM files of certificates for its signed assertions, relative to this file.
    #[serde(default)]
    pub certificates: Vec<PathBuf>,
    /// The federated tokens that it may use instead of a secret.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredentialConfig>,
}

/// `[[tenants.apps.app_roles]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppRoleConfig {
    /// Its value in `roles` of tokens.
    pub value: String,
    /// The client IDs of the applications that have it.
    #[serde(default)]
    pub granted_to: Vec<Guid>,
}

/// `[[tenants.apps.federated_credentials]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredentialConfig {
    /// The ID of the tenant that issues the tokens.
    pub issuer: Guid,
    /// `sub` of the tokens. For a managed identity, its object ID.
    pub subject: String,
    /// `aud` of the tokens. If absent, `api://AzureADTokenExchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// `[[tenants.managed_identities]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentityConfig {
    /// `oid` and `sub` in its tokens.
    pub object_id: Guid,
    /// The client ID with which a machine requests its tokens.
    pub client_id: Guid,
    /// The display name.
    pub name: String,
}

/// The platform of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformName {
    /// A public client.
    MobileDesktop,
    /// A confidential client.
    Web,
    /// A public client that redeems codes across origins.
    Spa,
}

/// The tenants whose users may use an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// Its own tenant.
    #[default]
    MyOrg,
    /// Every organisation.
    MultipleOrgs,
    /// Every organisation, and personal accounts.
    OrgsAndPersonal,
    /// Only personal accounts.
    Personal,
}

/// A GUID: 32 hexadecimal digits in five groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"))]
pub struct Guid(String);

/// Why a text is not a [`Guid`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a GUID; hint: write one as in 8c1f0a52-6d0e-4b7a-9f3c-2f5b7f1f6a10; `uuidgen` \
     generates them"
)]
pub struct GuidError(String);

impl EmulatorConfig {
    /// Parses the text of an `emulator.toml`.
    ///
    /// # Errors
    /// The first error, with its line and field.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| syntax_error(text, &error))
    }
}

impl Guid {
    /// Returns the GUID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Guid {
    type Error = GuidError;

    fn try_from(text: String) -> Result<Self, GuidError> {
        let groups = text.split('-').map(|group| {
            let is_hexadecimal = group.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hexadecimal.then_some(group.len())
        });
        if groups.eq([8, 4, 4, 4, 12].map(Some)) {
            Ok(Self(text))
        } else {
            Err(GuidError(text))
        }
    }
}

impl From<Guid> for String {
    fn from(id: Guid) -> Self {
        id.0
    }
}

const fn two() -> u8 {
    2
}

#[cfg(test)]
mod tests {
    use super::{Audience, EmulatorConfig, PlatformName};

    const TENANT: &str = "\
        [[tenants]]\n\
        id = '7d2f4a1b-93c5-4e60-8b7f-0a6c5d3e1f20'\n\
        name = 'Northwind'\n\
        [[tenants.apps]]\n\
        client_id = 'b1c2d3e4-f5a6-4708-9a1b-2c3d4e5f6071'\n\
        name = 'Orders'\n\
        platform = 'mobile-desktop'\n";

    #[test]
    fn defaults_match_entra_portal() {
        let config = EmulatorConfig::parse(TENANT).unwrap();
        let app = &config.tenants[0].apps[0];
        assert_eq!(app.platform, PlatformName::MobileDesktop);
        assert_eq!(app.sign_in_audience, Audience::MyOrg);
        assert_eq!(app.access_token_version, 2);
        let written = toml::to_string(&config).unwrap();
        assert_eq!(EmulatorConfig::parse(&written).unwrap(), config);
    }

    #[test]
    fn error_names_line_and_field() {
        for (from, to, line, field, part) in [
            (
                "Orders'",
                "Orders'\ncolour = 'red'",
                7,
                "colour",
                "unknown field",
            ),
            (
                "'mobile-desktop'",
                "'desktop'",
                7,
                "platform",
                "unknown variant",
            ),
            (
                "'b1c2d3e4-",
                "'x1c2d3e4-",
                5,
                "client_id",
                "hint: write one as in",
            ),
            ("9a1b-2c3d", "9a1b2c3d", 5, "client_id", "is not a GUID"),
        ] {
            let error = EmulatorConfig::parse(&TENANT.replace(from, to)).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert_eq!(error.field, format!("tenants.0.apps.0.{field}"), "{error}");
            assert!(error.message.contains(part), "{error}");
        }
    }
}
