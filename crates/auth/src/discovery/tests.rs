//! Public servers that name private network addresses.

use std::net::SocketAddr;

use serde_json::json;

use super::{Challenge, Discovered, Discovery, KnownIssuers};
use crate::error::SignInError;
use crate::http::NetworkZone;
use crate::http::tests::{INSIDE, Net, OUTSIDE, Site};

/// Discovers a server at `name`.
async fn discover(net: &Net, server: &Site, name: &str) -> Result<Discovered, SignInError> {
    discover_with(net, server, name, None).await
}

async fn discover_with(
    net: &Net,
    server: &Site,
    name: &str,
    challenge: Option<Challenge>,
) -> Result<Discovered, SignInError> {
    let discovery = Discovery {
        http: &net.clients(),
        server: &format!("https://{name}:{}/mcp", server.port)
            .parse()
            .unwrap(),
        issuers: KnownIssuers::default(),
    };
    discovery.discover(challenge, |_| true).await
}

/// Gives the server at `name` protected resource metadata that names `issuer`.
fn describe(server: &Site, name: &str, issuer: &str) {
    let resource = format!("https://{name}:{}/mcp", server.port);
    let document = json!({ "resource": resource, "authorization_servers": [issuer] });
    server.put("/.well-known/oauth-protected-resource/mcp", &document);
}

/// Makes the site an authorization server.
fn issue(site: &Site, issuer: &str) {
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "code_challenge_methods_supported": ["S256"],
    });
    site.put("/.well-known/oauth-authorization-server", &document);
}

#[tokio::test]
async fn issuer_of_public_server_on_private_address_is_rejected() {
    let net = Net::of(&[("mcp.example", &[OUTSIDE]), ("login.example", &[INSIDE])]);
    let (server, private) = (net.serve(OUTSIDE), net.serve(INSIDE));
    let issuer = format!("https://login.example:{}", private.port);
    describe(&server, "mcp.example", &issuer);
    issue(&private, &issuer);
    let refused = discover(&net, &server, "mcp.example").await.unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
    assert!(private.asked().is_empty(), "{:?}", private.asked());
}

#[tokio::test]
async fn local_server_may_name_private_addresses() {
    let net = Net::of(&[
        ("mcp.corp.example", &[INSIDE]),
        ("login.corp.example", &[INSIDE]),
    ]);
    let (server, private) = (net.serve(INSIDE), net.serve(INSIDE));
    let issuer = format!("https://login.corp.example:{}", private.port);
    describe(&server, "mcp.corp.example", &issuer);
    issue(&private, &issuer);
    let found = discover(&net, &server, "mcp.corp.example").await.unwrap();
    assert_eq!(found.authorization_server.zone, NetworkZone::Local);
}

#[tokio::test]
async fn metadata_of_public_server_on_private_address_is_not_fetched() {
    let net = Net::of(&[("mcp.example", &[OUTSIDE]), ("other.example", &[INSIDE])]);
    let (server, private) = (net.serve(OUTSIDE), net.serve(INSIDE));
    let named = format!("https://other.example:{}/secrets", private.port);
    let challenge = Challenge::parse(&format!(r#"Bearer resource_metadata="{named}""#));
    let refused = discover_with(&net, &server, "mcp.example", challenge).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
    assert!(private.asked().is_empty(), "{:?}", private.asked());
}

#[tokio::test]
async fn endpoints_of_public_issuer_must_be_public() {
    let net = Net::of(&[
        ("mcp.corp.example", &[INSIDE]),
        ("login.example", &[OUTSIDE]),
    ]);
    let (server, public) = (net.serve(INSIDE), net.serve(OUTSIDE));
    let issuer = format!("https://login.example:{}", public.port);
    describe(&server, "mcp.corp.example", &issuer);
    issue(&public, &issuer);
    let found = discover(&net, &server, "mcp.corp.example").await.unwrap();
    // The client for this zone resolves no private network address.
    assert_eq!(found.authorization_server.zone, NetworkZone::Public);
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("https://{}/token", SocketAddr::new(INSIDE, 443)),
    });
    public.put("/.well-known/oauth-authorization-server", &document);
    let refused = discover(&net, &server, "mcp.corp.example")
        .await
        .unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
}
