//! The gateway with a third-party client: registration, consent and sign-in in a real browser, and
//! the three tools over each transport.

use emulator::demo;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

use crate::harness::{
    Harness,
    browser::Browser,
    oauth::OAuthClient,
    servers::FUNCTIONS_KEY,
    sign_in_pages,
    wire::{self, Sse, Streamable},
    within,
};

#[tokio::test(flavor = "multi_thread")]
async fn third_party_client_reaches_tools_over_every_transport() {
    let harness = Harness::start().await;
    let (resource, metadata) = discover(&harness).await;
    let guest = Guest::sign_in(&resource, &metadata).await;

    let gateway = harness.servers.gateway_url();
    for (place, name) in [("/snippets", "by-name"), ("", "by-root")] {
        let url = format!("{gateway}{place}/mcp");
        let mut host = Streamable::connect(&url, guest.bearer()).await;
        let hello = host.call("hello_mcp", json!({})).await.unwrap();
        assert!(hello.contains("Hello"), "{hello}");
        let given = json!({ "snippetname": name, "snippet": "fn main() {}" });
        host.call("save_snippet", given).await.unwrap();
    }
    for (place, name) in [("/snippets/sse", "by-root"), ("/mcp/sse", "by-name")] {
        let mut host = Sse::connect(&format!("{gateway}{place}"), guest.bearer()).await;
        let got = host
            .call("get_snippet", json!({ "snippetname": name }))
            .await;
        assert_eq!(got.unwrap(), "fn main() {}");
    }

    let backend = harness
        .servers
        .backend_proxy
        .requests()
        .join("\n")
        .to_ascii_lowercase();
    assert!(backend.contains(&format!("x-functions-key: {FUNCTIONS_KEY}")));
    assert!(!backend.contains("authorization:"), "{backend}");
    assert!(!backend.contains(&guest.session.to_ascii_lowercase()));

    // A code that is redeemed twice was stolen, so its session is revoked.
    let (status, refused) = guest.redeem().await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    let url = format!("{gateway}/snippets/mcp");
    let request = wire::client()
        .post(&url)
        .headers(guest.bearer())
        .json(&json!({}));
    let refused = within(&url, request.send()).await.expect("an answer");
    assert_eq!(refused.status(), 401);
}

/// Returns the resource and the metadata of its authorization server, as a client discovers them
/// from a 401.
async fn discover(harness: &Harness) -> (String, Value) {
    let http = wire::client();
    let url = format!("{}/snippets/mcp", harness.servers.gateway_url());
    let refused = within(&url, http.post(&url).json(&json!({})).send()).await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"]
        .to_str()
        .expect("text");
    let place = challenge
        .split_once("resource_metadata=\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or_else(|| panic!("no metadata in {challenge}"));

    let resource: Value = json_at(place).await;
    assert_eq!(resource["resource"], url);
    let issuer = resource["authorization_servers"][0]
        .as_str()
        .expect("an issuer");
    let metadata = json_at(&format!("{issuer}/.well-known/oauth-authorization-server")).await;
    assert_eq!(metadata["issuer"], issuer);
    (url, metadata)
}

async fn json_at(url: &str) -> Value {
    let response = within(url, wire::client().get(url).send()).await;
    response.expect("an answer").json().await.expect("JSON")
}

/// A client with a session.
struct Guest {
    client: OAuthClient,
    id: String,
    resource: String,
    token_endpoint: String,
    code: String,
    session: String,
}

impl Guest {
    /// Registers, consents and signs in as a user, and redeems the code.
    async fn sign_in(resource: &str, metadata: &Value) -> Self {
        let endpoint = |name: &str| metadata[name].as_str().expect("an endpoint").to_owned();
        let (browser, mut client) =
            tokio::join!(Browser::open(), OAuthClient::new("127.0.0.1", "/callback"));
        let id = client.register(&endpoint("registration_endpoint")).await;
        let authorize = endpoint("authorization_endpoint");
        let page = client.authorize_url(&authorize, &id, &[("resource", resource)]);

        browser.go_to(&page).await;
        let text = browser.text().await;
        assert!(
            text.contains("A third-party client") && text.contains("Snippets"),
            "{text}"
        );
        sign_in_pages::consent_at_gateway(&browser).await;
        sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
        let came_back = client.callback().await;
        let issuer = ("iss".to_owned(), endpoint("issuer"));
        assert!(came_back.contains(&issuer), "{came_back:?}");

        let mut guest = Self {
            code: client.code(&came_back),
            client,
            id,
            resource: resource.to_owned(),
            token_endpoint: endpoint("token_endpoint"),
            session: String::new(),
        };
        let (status, tokens) = guest.redeem().await;
        assert_eq!(status, 200, "{tokens}");
        guest.session = tokens["access_token"]
            .as_str()
            .expect("a session")
            .to_owned();
        assert!(
            !guest.session.starts_with("ey"),
            "Entra's token left the gateway"
        );
        guest
    }

    /// Redeems the code, even if it was redeemed before.
    async fn redeem(&self) -> (u16, Value) {
        let more = [("resource", self.resource.as_str())];
        self.client
            .redeem(&self.token_endpoint, &self.id, &self.code, &more)
            .await
    }

    fn bearer(&self) -> HeaderMap {
        let value = format!("Bearer {}", self.session)
            .parse()
            .expect("a header");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }
}
