//! Servers on the internet that have us look at our neighbours.

use std::net::SocketAddr;

use serde_json::json;

use super::{Challenge, Discovered, Discovery, KnownIssuers};
use crate::error::SignInError;
use crate::http::Side;
use crate::http::tests::{INSIDE, Net, OUTSIDE, Site};

/// What is found out about a server that says it is at `name`.
async fn look(net: &Net, server: &Site, name: &str) -> Result<Discovered, SignInError> {
    ask(net, server, name, None).await
}

async fn ask(
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
    discovery.of_server(challenge, |_| true).await
}

/// Has the server at `name` describe itself, with an authorization server elsewhere.
fn describe(server: &Site, name: &str, issuer: &str) {
    let resource = format!("https://{name}:{}/mcp", server.port);
    let document = json!({ "resource": resource, "authorization_servers": [issuer] });
    server.put("/.well-known/oauth-protected-resource/mcp", &document);
}

/// Makes an authorization server of it.
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
async fn a_public_server_whose_authorization_server_resolves_to_a_neighbour_is_refused() {
    let net = Net::of(&[("mcp.example", &[OUTSIDE]), ("login.example", &[INSIDE])]);
    let (server, neighbour) = (net.serve(OUTSIDE), net.serve(INSIDE));
    let issuer = format!("https://login.example:{}", neighbour.port);
    describe(&server, "mcp.example", &issuer);
    issue(&neighbour, &issuer);
    let refused = look(&net, &server, "mcp.example").await.unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
    assert!(neighbour.asked().is_empty(), "{:?}", neighbour.asked());
}

#[tokio::test]
async fn an_intranet_server_may_name_its_neighbours() {
    let net = Net::of(&[
        ("mcp.corp.example", &[INSIDE]),
        ("login.corp.example", &[INSIDE]),
    ]);
    let (server, neighbour) = (net.serve(INSIDE), net.serve(INSIDE));
    let issuer = format!("https://login.corp.example:{}", neighbour.port);
    describe(&server, "mcp.corp.example", &issuer);
    issue(&neighbour, &issuer);
    let found = look(&net, &server, "mcp.corp.example").await.unwrap();
    assert_eq!(found.authorization_server.side, Side::Inside);
}

#[tokio::test]
async fn metadata_that_a_public_server_has_at_a_neighbour_is_not_fetched() {
    let net = Net::of(&[("mcp.example", &[OUTSIDE]), ("other.example", &[INSIDE])]);
    let (server, neighbour) = (net.serve(OUTSIDE), net.serve(INSIDE));
    let named = format!("https://other.example:{}/secrets", neighbour.port);
    let challenge = Challenge::parse(&format!(r#"Bearer resource_metadata="{named}""#));
    let refused = ask(&net, &server, "mcp.example", challenge).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
    assert!(neighbour.asked().is_empty(), "{:?}", neighbour.asked());
}

#[tokio::test]
async fn endpoints_of_a_public_authorization_server_are_public_too() {
    let net = Net::of(&[
        ("mcp.corp.example", &[INSIDE]),
        ("login.example", &[OUTSIDE]),
    ]);
    let (server, public) = (net.serve(INSIDE), net.serve(OUTSIDE));
    let issuer = format!("https://login.example:{}", public.port);
    describe(&server, "mcp.corp.example", &issuer);
    issue(&public, &issuer);
    let found = look(&net, &server, "mcp.corp.example").await.unwrap();
    // So a request there goes out by the client that knows no neighbours.
    assert_eq!(found.authorization_server.side, Side::Outside);
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("https://{}/token", SocketAddr::new(INSIDE, 443)),
    });
    public.put("/.well-known/oauth-authorization-server", &document);
    let refused = look(&net, &server, "mcp.corp.example").await.unwrap_err();
    assert!(matches!(refused, SignInError::Insecure { .. }), "{refused}");
}
