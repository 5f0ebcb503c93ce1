//! Valid and invalid scopes.

use super::Scopes;
use crate::app::App;
use crate::authority::Authority;
use crate::cloud::Cloud;
use crate::demo;
use crate::fault::Fault;
use crate::tenant::Tenant;

fn cloud() -> Cloud {
    let mut tenant = Tenant::demo("http://localhost:8080/oauth-callback");
    tenant.apps[1]
        .app_id_uris
        .push("https://mcp.example.com".to_owned());
    Cloud::new(vec![tenant]).unwrap()
}

fn contoso(cloud: &Cloud) -> Authority<'_> {
    Authority::parse(cloud, "contoso.example").unwrap()
}

fn app(cloud: &Cloud, position: usize) -> &App {
    &cloud.tenants()[0].apps[position]
}

/// `expected` has the `scp` and the response's `scope` of each resource.
fn check(
    client: usize,
    scope: &str,
    resource: Option<&str>,
    expected: Result<&[(&str, &str)], u32>,
) {
    let cloud = cloud();
    let resolved = Scopes::resolve(contoso(&cloud), app(&cloud, client), scope, resource)
        .map(|scopes| {
            let each = |requested: &super::ResourceScopes<'_>| {
                (
                    requested.granted(scopes.oidc).join(" "),
                    requested.response_scope(scopes.oidc),
                )
            };
            scopes.requested.iter().map(each).collect::<Vec<_>>()
        })
        .map_err(|fault| fault.code());
    let expected = expected.map(|all| {
        all.iter()
            .map(|(scp, scope)| ((*scp).to_owned(), (*scope).to_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(resolved, expected, "{scope} {resource:?}");
}

#[test]
fn scopes_resolve_as_in_entra() {
    let api = demo::gateway_app_id_uri();
    let id = demo::GATEWAY_CLIENT_ID;
    let (bridge, gateway) = (0, 1);
    check(bridge, "openid offline_access", None, Ok(&[]));
    let named = format!("{api}/mcp.access");
    check(
        bridge,
        &format!("openid {named}"),
        None,
        Ok(&[("mcp.access", &named)]),
    );
    check(
        bridge,
        &format!("{api}/.default"),
        None,
        Ok(&[("mcp.access", &format!("{named} {api}/.default"))]),
    );
    check(
        bridge,
        "user.read openid https://graph.microsoft.com/Mail.Read",
        None,
        Ok(&[("User.Read Mail.Read openid", "User.Read Mail.Read openid")]),
    );
    check(
        bridge,
        &format!("User.Read {named}"),
        None,
        Ok(&[("User.Read", "User.Read"), ("mcp.access", &named)]),
    );
    check(bridge, "mcp.access", None, Err(650_053));
    check(bridge, &format!("{api}/mcp.write"), None, Err(650_053));
    check(bridge, "api://nowhere/read", None, Err(500_011));
    check(
        bridge,
        "https://mcp.example.com//mcp.access",
        None,
        Err(500_011),
    );
    check(bridge, "https://mcp.example.com/", None, Err(70_011));
    check(
        bridge,
        &format!("{api}/.default {named}"),
        None,
        Err(70_011),
    );
    check(gateway, &format!("{api}/.default"), None, Err(90_009));
    check(gateway, &named, None, Ok(&[("mcp.access", &named)]));
    check(
        gateway,
        &format!("{id}/.default"),
        None,
        Ok(&[("mcp.access", &format!("{id}/mcp.access {id}/.default"))]),
    );
}

#[test]
fn resource_must_match_exactly() {
    let url = "https://mcp.example.com";
    let named = format!("{url}/mcp.access");
    check(0, &named, Some(url), Ok(&[("mcp.access", &named)]));
    check(
        0,
        "openid",
        Some(url),
        Ok(&[("mcp.access", &format!("{named} {url}/.default"))]),
    );
    for (scope, resource) in [
        (named.as_str(), "https://mcp.example.com/"),
        (&named, "https://MCP.example.com"),
        (&named, "https://graph.microsoft.com"),
        ("User.Read", url),
        (&format!("User.Read {named}"), url),
    ] {
        check(0, scope, Some(resource), Err(9_010_010));
    }
}

#[test]
fn unknown_scope_error_names_scope() {
    let cloud = cloud();
    let fault = Scopes::resolve(contoso(&cloud), app(&cloud, 0), "mcp.read", None).unwrap_err();
    assert!(matches!(&fault, Fault::UnknownScope { scope, .. } if scope == "mcp.read"));
    assert!(
        fault
            .to_string()
            .contains("00000003-0000-0000-c000-000000000000")
    );
}
