//! The OAuth profile of Microsoft Entra ID: how it differs from what MCP requires of an
//! authorization server.
//!
//! - Entra has no RFC 8414 metadata and no client registration.
//! - It supports S256 but has no `code_challenge_methods_supported`.
//! - It compares `resource` with its registrations character by character, and refuses all others
//!   (AADSTS9010010). So the scope carries the audience instead, and a scope without an audience
//!   means Microsoft Graph.
//! - The metadata of a multi-tenant authority names a template as its issuer.

use std::collections::BTreeSet;

use model::{Issuer, Resource};
use serde_json::{Map, Value, json};
use url::Url;

/// The OAuth profile of an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthProfile {
    /// MCP.
    Mcp,
    /// Microsoft Entra ID.
    Entra,
}

/// The hosts of Entra in all its clouds.
const HOSTS: [&str; 11] = [
    "login.microsoftonline.com",
    "login.windows.net",
    "login.microsoft.com",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login.usgovcloudapi.net",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.sovcloud-identity.fr",
    "login.sovcloud-identity.de",
    "login.sovcloud-identity.sg",
];

/// Scopes of OpenID Connect, which belong to no resource.
const PROTOCOL_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// Returns true if the issuer is Entra, by its host.
pub(crate) fn is_entra(issuer: &Issuer) -> bool {
    Url::parse(issuer.as_str()).is_ok_and(|url| is_entra_url(&url))
}

/// Returns true if the URL is at a host where Entra signs users in.
pub(crate) fn is_entra_url(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        // A trailing dot does not change the name.
        let host = host.trim_end_matches('.');
        HOSTS.contains(&host) || host.ends_with(".ciamlogin.com")
    })
}

/// Returns true if the scope is one of OpenID Connect and belongs to no resource.
pub(crate) fn is_protocol_scope(scope: &str) -> bool {
    PROTOCOL_SCOPES.contains(&scope)
}

/// Returns true if metadata with this `issuer` belongs to `authority`. Both must be equal. If the
/// authority names its tenant other than by id (`common`, a domain), only the tenant may differ.
pub(crate) fn names_authority(authority: &Issuer, issuer: &str) -> bool {
    if authority.as_str() == issuer {
        return true;
    }
    match (around_tenant(authority.as_str()), around_tenant(issuer)) {
        (Some((head, tenant, tail)), Some((other_head, other, other_tail))) => {
            !is_guid(tenant) && head == other_head && tail == other_tail && !other.is_empty()
        }
        _ => false,
    }
}

/// Returns true for an Entra authority whose metadata has another issuer: one that names its
/// tenant other than by id (`common`, a domain).
pub(crate) fn is_alias(authority: &Issuer) -> bool {
    let tenant = around_tenant(authority.as_str()).map(|(_, tenant, _)| tenant);
    is_entra(authority) && tenant.is_some_and(|tenant| !is_guid(tenant) && !tenant.contains('{'))
}

/// Splits an authority into `https://host/`, the tenant, and the rest.
fn around_tenant(authority: &str) -> Option<(&str, &str, &str)> {
    let host = authority.find("://")? + 3;
    let tenant = host + authority[host..].find('/')? + 1;
    let end = authority[tenant..]
        .find('/')
        .map_or(authority.len(), |length| tenant + length);
    Some((
        &authority[..tenant],
        &authority[tenant..end],
        &authority[end..],
    ))
}

/// Returns true if the text is a GUID, like the ids of tenants and applications.
pub(crate) fn is_guid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Returns the `claims` parameter: the claims of the challenge, if any, and the client capability
/// `cp1`, which says that this client handles claims challenges. Entra then revokes access
/// immediately if needed, and otherwise issues tokens with a lifetime of a day.
pub(crate) fn claims(challenged: Option<&str>) -> String {
    let known = challenged.and_then(|text| serde_json::from_str(text).ok());
    let mut claims = match known {
        Some(Value::Object(claims)) => claims,
        Some(_) | None => Map::new(),
    };
    let access = claims.entry("access_token").or_insert_with(|| json!({}));
    if let Some(access) = access.as_object_mut() {
        access.insert("xms_cc".to_owned(), json!({ "values": ["cp1"] }));
    }
    Value::Object(claims).to_string()
}

/// Returns the page on which an administrator consents to `client_id` in the tenant of
/// `authority`.
pub(crate) fn admin_consent(authority: &Issuer, client_id: &str) -> Option<Url> {
    let (host, tenant, _) = around_tenant(authority.as_str())?;
    let tenant = if tenant == "common" {
        "organizations"
    } else {
        tenant
    };
    let mut link = Url::parse(&format!("{host}{tenant}/adminconsent")).ok()?;
    link.query_pairs_mut().append_pair("client_id", client_id);
    Some(link)
}

/// Returns the scopes for a sign-in: `asked`, or `.default` if there are none, each with its
/// resource, and those for a refresh token and the user's name.
pub(crate) fn with_sign_in_scopes(asked: &[String], resource: &Resource) -> Vec<String> {
    let mut scopes = without_sign_in_scopes(asked, resource);
    scopes.extend(["openid", "profile", "offline_access"].map(str::to_owned));
    scopes
}

/// Like [`with_sign_in_scopes`], for the client credentials grant, which has no user and no
/// refresh token.
pub(crate) fn without_sign_in_scopes(asked: &[String], resource: &Resource) -> Vec<String> {
    let mut scopes: Vec<String> = asked
        .iter()
        .filter(|scope| !is_protocol_scope(scope))
        .map(|scope| qualify(scope, resource))
        .collect();
    // `.default` cannot be combined with other scopes (AADSTS70011), and is already granted.
    if scopes.iter().any(|scope| !scope.ends_with("/.default")) {
        scopes.retain(|scope| !scope.ends_with("/.default"));
    }
    let mut seen = BTreeSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    if scopes.is_empty() {
        scopes.push(qualify(".default", resource));
    }
    scopes
}

/// Returns those of `named`, each with its resource, that `asked` does not include or imply:
/// `.default` adds nothing to a scope of its resource.
pub(crate) fn missing(named: &[String], asked: &[String], resource: &Resource) -> Vec<String> {
    let adds_nothing = |scope: &String| {
        let mut others = asked.iter();
        let mut has_another = || others.any(|known| resource_of(known) == resource_of(scope));
        asked.contains(scope) || (scope.ends_with("/.default") && has_another())
    };
    let named = named.iter().filter(|scope| !is_protocol_scope(scope));
    let named = named.map(|scope| qualify(scope, resource));
    named.filter(|scope| !adds_nothing(scope)).collect()
}

/// Returns a scope with its resource in front: `resource`, if it is a bare one.
pub(crate) fn qualify(scope: &str, resource: &Resource) -> String {
    // A bare scope has no slash. The resource is what precedes the last slash.
    if scope.contains('/') {
        scope.to_owned()
    } else {
        format!("{resource}/{scope}")
    }
}

/// Returns the text before the last `/` of a scope, which names its resource at Entra. Returns
/// `None` for a bare scope.
pub(crate) fn resource_of(scope: &str) -> Option<&str> {
    scope.rsplit_once('/').map(|(resource, _)| resource)
}

#[cfg(test)]
mod tests {
    use model::{Issuer, Resource};

    use super::{
        claims, is_alias, is_entra, missing, names_authority, resource_of, with_sign_in_scopes,
    };

    #[test]
    fn scopes_get_their_resource_once() {
        let ask = |scopes: &[&str], resource: &str| {
            let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            with_sign_in_scopes(&scopes, &Resource::new(resource)).join(" ")
        };
        let rest = "openid profile offline_access";
        assert_eq!(ask(&[], "api://app"), format!("api://app/.default {rest}"));
        assert_eq!(
            ask(&["mcp.read", "api://app/mcp.write", "openid"], "api://app"),
            format!("api://app/mcp.read api://app/mcp.write {rest}")
        );
        assert_eq!(
            ask(
                &["mcp.write", "api://app/.default", "api://app/mcp.write"],
                "api://app"
            ),
            format!("api://app/mcp.write {rest}"),
            "more access after `.default` was granted"
        );
        assert_eq!(
            ask(&["x"], "https://mcp.example/"),
            format!("https://mcp.example//x {rest}"),
            "an App ID URI that ends with a slash keeps it"
        );
    }

    #[test]
    fn missing_scopes_are_those_not_requested() {
        let lacks = |named: &[&str], asked: &[&str]| {
            let owned = |scopes: &[&str]| scopes.iter().map(|&one| one.to_owned()).collect();
            let (named, asked): (Vec<_>, Vec<_>) = (owned(named), owned(asked));
            missing(&named, &asked, &Resource::new("api://app")).join(" ")
        };
        let asked = ["api://app/mcp.read", "openid", "profile", "offline_access"];
        assert_eq!(lacks(&["mcp.read", "api://app/mcp.read"], &asked), "");
        assert_eq!(lacks(&["mcp.write"], &asked), "api://app/mcp.write");
        assert_eq!(lacks(&["api://b/x"], &asked), "api://b/x");
        assert_eq!(lacks(&["email", ".default"], &asked), "");
        assert_eq!(
            lacks(&["mcp.read"], &["api://app/.default"]),
            "api://app/mcp.read"
        );
        assert_eq!(lacks(&["mcp.read"], &[]), "api://app/mcp.read");
    }

    #[test]
    fn claims_always_include_client_capability() {
        assert_eq!(
            claims(None),
            r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#
        );
        assert_eq!(
            claims(Some(r#"{"access_token":{"nbf":{"essential":true}}}"#)),
            r#"{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#
        );
        assert_eq!(claims(Some("no json")), claims(None));
    }

    #[test]
    fn resource_of_scope_is_text_before_last_slash() {
        assert_eq!(resource_of("api://files/read"), Some("api://files"));
        assert_eq!(resource_of("api://files//.default"), Some("api://files/"));
        assert_eq!(
            resource_of("https://x.example//a"),
            Some("https://x.example/")
        );
        assert_eq!(resource_of("mcp.read"), None);
    }

    #[test]
    fn entra_is_recognised_by_host() {
        let entra = |issuer: &str| is_entra(&Issuer::new(issuer));
        assert!(entra("https://login.microsoftonline.com/common/v2.0"));
        assert!(entra("https://contoso.ciamlogin.com/x/v2.0"));
        assert!(!entra("https://login.microsoftonline.com.evil.example/"));
        assert!(!entra("https://evil.example/login.microsoftonline.com"));
    }

    #[test]
    fn authority_with_tenant_name_is_alias() {
        let alias = |authority: &str| is_alias(&Issuer::new(authority));
        assert!(alias("https://login.microsoftonline.com/common/v2.0"));
        assert!(alias("https://login.microsoftonline.com/contoso.com/v2.0"));
        for issuer in [
            "https://login.microsoftonline.com/7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11/v2.0",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "https://login.microsoftonline.com",
            "https://login.example/common/v2.0",
        ] {
            assert!(!alias(issuer), "{issuer}");
        }
    }

    #[test]
    fn metadata_issuer_must_match_authority() {
        let guid = "7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11";
        let other = "00000000-9f0e-4b53-8f4e-0e3b5f3d2a11";
        let at = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
        let names =
            |authority: String, issuer: String| names_authority(&Issuer::new(authority), &issuer);
        assert!(names(at(guid), at(guid)));
        assert!(names(at("common"), at("{tenantid}")));
        assert!(names(at("contoso.example"), at(guid)));
        assert!(!names(at(guid), at(other)));
        assert!(!names(at(guid), at("{tenantid}")));
        assert!(!names(at("common"), at("a/b")));
        assert!(!names(
            at("common"),
            "https://evil.example/common/v2.0".to_owned()
        ));
        assert!(!names(
            at("common"),
            "https://login.example/x/v1.0".to_owned()
        ));
    }
}
