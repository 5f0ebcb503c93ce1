//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0).

use model::{EndpointUrl, Issuer};
use serde::Deserialize;
use url::Url;

use crate::error::SignInError;
use crate::http::NetworkZone;

/// The metadata of an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationServer {
    /// Its issuer, byte for byte.
    pub(crate) issuer: IssuerRule,
    pub(crate) authorization_endpoint: EndpointUrl,
    pub(crate) token_endpoint: EndpointUrl,
    pub(crate) registration_endpoint: Option<EndpointUrl>,
    /// The device authorization endpoint (RFC 8628 §4).
    pub(crate) device_authorization_endpoint: Option<EndpointUrl>,
    pub(crate) revocation_endpoint: Option<EndpointUrl>,
    pub(crate) userinfo_endpoint: Option<EndpointUrl>,
    /// The end session endpoint (OpenID Connect RP-Initiated Logout 1.0).
    pub(crate) end_session_endpoint: Option<EndpointUrl>,
    /// The list of the user's consents, an extension of Postern's gateway.
    pub(crate) consents_endpoint: Option<EndpointUrl>,
    pub(crate) scopes: Vec<String>,
    pub(crate) response_modes: Vec<String>,
    /// The client authentication methods of the token endpoint, or `None` if the metadata names
    /// none.
    pub(crate) client_authentication: Option<Vec<String>>,
    /// True if it accepts the URL of a client ID metadata document as a client id.
    pub(crate) supports_client_metadata: bool,
    /// The signing algorithms for client assertions, or `None` if the metadata names none.
    pub(crate) signing_algorithms: Option<Vec<String>>,
    /// True if it promises `iss` in authorization responses (RFC 9207).
    pub(crate) sends_issuer: bool,
    pub(crate) pkce: PkceSupport,
    /// The zone of the server that names these endpoints.
    pub(crate) zone: NetworkZone,
}

/// Its support for PKCE (RFC 7636).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PkceSupport {
    /// S256 is advertised.
    Advertised,
    /// The metadata does not name S256.
    NotAdvertised,
    /// There is no metadata.
    Assumed,
}

/// The issuer of an authorization server, with the rule for comparing it: byte for byte, or with
/// any tenant if it is the template of a multi-tenant Entra authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerRule(String);

const TENANT: &str = "{tenantid}";

/// The members of the document that are used.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    consents_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    response_modes_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AuthorizationServer {
    /// Converts the document. `check` parses a URL and decides whether the document may name it.
    pub(super) fn read(
        metadata: Metadata,
        zone: NetworkZone,
        check: impl Fn(&str, &str) -> Result<EndpointUrl, SignInError>,
    ) -> Result<Self, SignInError> {
        let required = |name: &str, text: Option<String>| check(name, &text.unwrap_or_default());
        let optional = |name: &str, text: Option<String>| match text {
            Some(text) => check(name, &text).map(Some),
            None => Ok(None),
        };
        let s256 = "S256".to_owned();
        Ok(Self {
            authorization_endpoint: required(
                "authorization_endpoint",
                metadata.authorization_endpoint,
            )?,
            token_endpoint: required("token_endpoint", metadata.token_endpoint)?,
            registration_endpoint: optional(
                "registration_endpoint",
                metadata.registration_endpoint,
            )?,
            device_authorization_endpoint: optional(
                "device_authorization_endpoint",
                metadata.device_authorization_endpoint,
            )?,
            revocation_endpoint: optional("revocation_endpoint", metadata.revocation_endpoint)?,
            userinfo_endpoint: optional("userinfo_endpoint", metadata.userinfo_endpoint)?,
            end_session_endpoint: optional("end_session_endpoint", metadata.end_session_endpoint)?,
            consents_endpoint: optional("consents_endpoint", metadata.consents_endpoint)?,
            issuer: IssuerRule(metadata.issuer),
            scopes: metadata.scopes_supported,
            response_modes: metadata.response_modes_supported,
            client_authentication: metadata.token_endpoint_auth_methods_supported,
            supports_client_metadata: metadata.client_id_metadata_document_supported,
            signing_algorithms: metadata.token_endpoint_auth_signing_alg_values_supported,
            sends_issuer: metadata.authorization_response_iss_parameter_supported,
            pkce: if metadata.code_challenge_methods_supported.contains(&s256) {
                PkceSupport::Advertised
            } else {
                PkceSupport::NotAdvertised
            },
            zone,
        })
    }

    /// Returns the endpoints of MCP 2025-03-26 for a server without metadata.
    pub(super) fn assumed(origin: &str) -> Result<Self, String> {
        let at = |path: &str| {
            let text = format!("{origin}{path}");
            text.parse::<EndpointUrl>()
                .map_err(|error| error.to_string())
        };
        Ok(Self {
            issuer: IssuerRule(origin.to_owned()),
            authorization_endpoint: at("/authorize")?,
            token_endpoint: at("/token")?,
            registration_endpoint: Some(at("/register")?),
            device_authorization_endpoint: None,
            revocation_endpoint: None,
            userinfo_endpoint: None,
            end_session_endpoint: None,
            consents_endpoint: None,
            scopes: Vec::new(),
            response_modes: Vec::new(),
            client_authentication: None,
            supports_client_metadata: false,
            signing_algorithms: None,
            sends_issuer: false,
            pkce: PkceSupport::Assumed,
            zone: NetworkZone::Local,
        })
    }

    /// Returns true if the server accepts this client authentication method. If its metadata names
    /// none, only `client_secret_basic` (RFC 8414 §2).
    pub(crate) fn offers_authentication(&self, method: &str) -> bool {
        match &self.client_authentication {
            Some(offered) => offered.iter().any(|offer| offer == method),
            None => method == "client_secret_basic",
        }
    }

    /// Returns true if the metadata lists the scope.
    pub(crate) fn offers_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|offered| offered == scope)
    }
}

impl IssuerRule {
    pub(crate) fn issuer(&self) -> Issuer {
        Issuer::new(self.0.clone())
    }

    /// Returns true if `issuer` matches, for an authorization response, which names no tenant.
    pub(crate) fn admits(&self, issuer: &str) -> bool {
        let Some((before, after)) = self.0.split_once(TENANT) else {
            return self.0 == issuer;
        };
        issuer
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('/'))
    }

    /// Returns true if `issuer` matches for `tenant`, for an ID token, which names its tenant.
    pub(crate) fn admits_for(&self, issuer: &str, tenant: Option<&str>) -> bool {
        match tenant {
            Some(tenant) => self.0.replace(TENANT, tenant) == issuer,
            None => self.0 == issuer,
        }
    }

    #[cfg(test)]
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Returns the possible locations of the document: RFC 8414 with the path inserted, then the two
/// forms of OpenID Connect.
pub(super) fn well_known(issuer: &Url) -> Vec<EndpointUrl> {
    let path = issuer.path().trim_end_matches('/');
    let mut addresses = Vec::new();
    for path in [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ] {
        let mut address = issuer.clone();
        address.set_path(&path);
        address.set_query(None);
        let address = address.as_str().parse();
        addresses.extend(address.ok().filter(|address| !addresses.contains(address)));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use model::EndpointUrl;

    use super::{IssuerRule, well_known};

    #[test]
    fn well_known_locations_follow_specification_order() {
        let at = |issuer: &str| -> Vec<String> {
            let addresses = well_known(&issuer.parse().unwrap());
            addresses.iter().map(EndpointUrl::to_string).collect()
        };
        assert_eq!(
            at("https://as.example/tenant/"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant",
                "https://as.example/.well-known/openid-configuration/tenant",
                "https://as.example/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            at("https://as.example"),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn issuer_matches_byte_for_byte() {
        let plain = IssuerRule::new("https://as.example");
        assert!(plain.admits("https://as.example"));
        assert!(!plain.admits("https://as.example/"));
        assert!(!plain.admits("https://AS.example"));
        let template = IssuerRule::new("https://login.example/{tenantid}/v2.0");
        assert!(template.admits("https://login.example/one/v2.0"));
        assert!(!template.admits("https://login.example//v2.0"));
        assert!(!template.admits("https://login.example/a/b/v2.0"));
        assert!(template.admits_for("https://login.example/one/v2.0", Some("one")));
        assert!(!template.admits_for("https://login.example/one/v2.0", Some("two")));
        assert!(!template.admits_for("https://login.example/one/v2.0", None));
    }
}
