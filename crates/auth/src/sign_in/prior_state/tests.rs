//! A client that is preregistered at Entra, and the authorities that servers name.

use model::Issuer;
use model::config::ServerAuth;
use serde_json::json;

use super::PriorState;
use crate::error::SignInError;
use crate::http::tests::{Net, OUTSIDE};
use crate::sign_in::plan::Plan;
use crate::target::Target;
use crate::token::source::Source;

const ENTRA: &str = "login.microsoftonline.com";
const TENANT: &str = "7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11";
const OTHER: &str = "00000000-9f0e-4b53-8f4e-0e3b5f3d2a11";

/// Plans a sign-in with a client whose `issuer` is the authority of one tenant, at a server that
/// names the authority of another one.
async fn make_plan(configured: &str, named: &str) -> Result<(), SignInError> {
    let net = Net::of(&[("mcp.example", &[OUTSIDE]), (ENTRA, &[OUTSIDE])]);
    let site = net.serve(OUTSIDE);
    let at = |tenant: &str| format!("https://{ENTRA}:{}/{tenant}/v2.0", site.port);
    for (tenant, issuer) in [
        ("common", "{tenantid}"),
        ("organizations", "{tenantid}"),
        ("contoso.example", TENANT),
        (TENANT, TENANT),
        (OTHER, OTHER),
    ] {
        let document = json!({
            "issuer": at(issuer),
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
        });
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        site.put(&path, &document);
    }
    let url = format!("https://mcp.example:{}/mcp", site.port);
    let document = json!({ "resource": url, "authorization_servers": [at(named)] });
    site.put("/.well-known/oauth-protected-resource/mcp", &document);
    let target = Target::new(
        url.parse().unwrap(),
        ServerAuth::Client {
            client_id: "client".to_owned(),
            client_secret: None,
            issuer: Some(Issuer::new(at(configured))),
            scopes: Vec::new(),
            redirect_port: 0,
        },
    );
    let prior = PriorState {
        target: &target,
        source: &Source::in_memory(net.clients()),
        client_metadata: None,
        previous: None,
    };
    Plan::make(&net.clients(), prior, None).await.map(drop)
}

#[tokio::test]
async fn client_of_alias_authority_is_used_at_its_issuer() {
    for (configured, named) in [
        ("common", "common"),
        ("common", "organizations"),
        ("organizations", TENANT),
        ("contoso.example", "contoso.example"),
        ("contoso.example", TENANT),
        (TENANT, "contoso.example"),
        (TENANT, TENANT),
    ] {
        let decided = make_plan(configured, named).await;
        assert!(decided.is_ok(), "{configured}, {named}: {decided:?}");
    }
}

#[tokio::test]
async fn client_of_tenant_is_not_used_at_another() {
    for (configured, named) in [
        ("contoso.example", OTHER),
        ("contoso.example", "common"),
        (TENANT, OTHER),
        (TENANT, "common"),
    ] {
        let decided = make_plan(configured, named).await;
        let Err(SignInError::Insecure { what, .. }) = decided else {
            panic!("{configured}, {named}: {decided:?}");
        };
        assert!(what.contains(&format!("/{configured}/v2.0")), "{what}");
    }
}
