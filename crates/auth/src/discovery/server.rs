//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0).

use model::{EndpointUrl, Issuer};
use serde::Deserialize;
use url::Url;

use crate::error::SignInError;
use crate::http::Side;

/// What is known of an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationServer {
    /// Its identifier, as it writes it.
    pub(crate) issuer: IssuerRule,
    pub(crate) authorization_endpoint: EndpointUrl,
    pub(crate) token_endpoint: EndpointUrl,
    pub(crate) registration_endpoint: Option<EndpointUrl>,
    /// Where a device asks for its codes (RFC 8628 section 4).
    pub(crate) device_authorization_endpoint: Option<EndpointUrl>,
    pub(crate) revocation_endpoint: Option<EndpointUrl>,
    pub(crate) userinfo_endpoint: Option<EndpointUrl>,
    /// Where a browser ends its session (OpenID Connect RP-Initiated Logout 1.0).
    pub(crate) end_session_endpoint: Option<EndpointUrl>,
    /// Where the user's consents are listed: an extension that our gateway has.
    pub(crate) consents_endpoint: Option<EndpointUrl>,
    pub(crate) scopes: Vec<String>,
    pub(crate) response_modes: Vec<String>,
    /// How clients prove themselves at the token endpoint; `None` if it does not say.
    pub(crate) client_authentication: Option<Vec<String>>,
    /// Whether it takes the address of a client ID metadata document for a client id.
    pub(crate) takes_client_metadata: bool,
    /// How they may sign what proves them there; `None` if it does not say.
    pub(crate) signing_algorithms: Option<Vec<String>>,
    /// Whether it promises to name itself in the answer of a sign-in (RFC 9207).
    pub(crate) names_itself: bool,
    pub(crate) proof: Proof,
    /// Where it is that names these endpoints.
    pub(crate) side: Side,
}

/// What is known of its support for PKCE (RFC 7636).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// S256 is advertised.
    Advertised,
    /// There is metadata, and it does not name S256.
    NotAdvertised,
    /// There is no metadata.
    Assumed,
}

/// The identifier of an authorization server, and what passes for it: itself, byte for byte;
/// where it is the template of a multi-tenant Entra authority, any tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerRule(String);

const TENANT: &str = "{tenantid}";

/// The document, as far as it matters here.
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
    /// Takes the document; `check` parses an address and decides whether it may be named.
    pub(super) fn read(
        metadata: Metadata,
        side: Side,
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
            takes_client_metadata: metadata.client_id_metadata_document_supported,
            signing_algorithms: metadata.token_endpoint_auth_signing_alg_values_supported,
            names_itself: metadata.authorization_response_iss_parameter_supported,
            proof: if metadata.code_challenge_methods_supported.contains(&s256) {
                Proof::Advertised
            } else {
                Proof::NotAdvertised
            },
            side,
        })
    }

    /// The endpoints of MCP 2025-03-26 for a server without metadata.
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
            takes_client_metadata: false,
            signing_algorithms: None,
            names_itself: false,
            proof: Proof::Assumed,
            side: Side::Inside,
        })
    }

    /// Whether clients may prove themselves to it by this method: where it does not say, by
    /// `client_secret_basic` alone (RFC 8414 section 2).
    pub(crate) fn offers_authentication(&self, method: &str) -> bool {
        match &self.client_authentication {
            Some(offered) => offered.iter().any(|offer| offer == method),
            None => method == "client_secret_basic",
        }
    }

    /// Whether it lists the scope.
    pub(crate) fn offers_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|offered| offered == scope)
    }
}

impl IssuerRule {
    pub(crate) fn issuer(&self) -> Issuer {
        Issuer::new(self.0.clone())
    }

    /// Whether `issuer` is this one: for an answer that names no tenant beside it.
    pub(crate) fn admits(&self, issuer: &str) -> bool {
        let Some((before, after)) = self.0.split_once(TENANT) else {
            return self.0 == issuer;
        };
        issuer
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('/'))
    }

    /// Whether `issuer` is this one for `tenant`: for a token, which names its tenant.
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

/// Where the document may be: RFC 8414 with the path inserted, then the two forms of OpenID
/// Connect.
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
    fn asks_in_the_order_of_the_specification() {
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
    fn an_issuer_is_itself_byte_for_byte() {
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
