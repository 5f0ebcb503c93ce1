//! Findings about a client ID metadata document, at Entra and elsewhere.

use model::Clock;
use model::config::ServerAuth;
use serde_json::{Value, json};

use crate::http::tests::{Net, OUTSIDE, Site};
use crate::identity::{Identity, IdentityOptions};
use crate::target::{ClientMetadata, Target};
use crate::vault::Vault;
use crate::{CheckKind, Finding, Verdict};

const ENTRA: &str = "login.microsoftonline.com";
const OTHER: &str = "as.example";
const TENANT: &str = "7d3a2a45-9f0e-4b53-8f4e-0e3b5f3d2a11";

/// A server whose authorization server on this host supports metadata documents, and the site of
/// the document.
struct Place {
    net: Net,
    site: Site,
    target: Target,
    /// The URL of the document.
    url: String,
}

impl Place {
    fn at(host: &str) -> Self {
        let names = ["mcp.example", "postern.example", ENTRA, OTHER];
        let net = Net::of(&names.map(|name| (name, &[OUTSIDE][..])));
        let site = net.serve(OUTSIDE);
        let port = site.port;
        let path = if host == ENTRA {
            format!("/{TENANT}/v2.0")
        } else {
            String::new()
        };
        let issuer = format!("https://{host}:{port}{path}");
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("https://{host}:{port}/authorize"),
            "token_endpoint": format!("https://{host}:{port}/token"),
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": true,
        });
        site.put(
            &format!("{path}/.well-known/openid-configuration"),
            &metadata,
        );
        site.put("/.well-known/oauth-authorization-server", &metadata);
        let server = format!("https://mcp.example:{port}/mcp");
        let resource = json!({ "resource": server, "authorization_servers": [issuer] });
        site.put("/.well-known/oauth-protected-resource/mcp", &resource);
        Self {
            target: Target::new(server.parse().unwrap(), ServerAuth::Discover),
            url: format!("https://postern.example:{port}/client.json"),
            net,
            site,
        }
    }

    /// Returns a valid document.
    fn document(&self, redirect_uris: &[&str]) -> Value {
        json!({
            "client_id": self.url, "client_name": "Postern", "redirect_uris": redirect_uris,
            "token_endpoint_auth_method": "none",
        })
    }

    /// Diagnoses with this document.
    async fn with(&self, document: &Value) -> [Finding; 2] {
        self.site.put("/client.json", document);
        self.findings().await
    }

    /// Returns the findings about the registration and the redirect URI.
    async fn findings(&self) -> [Finding; 2] {
        let identity = Identity::new(IdentityOptions {
            http: self.net.clients(),
            vault: Vault::memory(),
            clock: Clock::fixed(std::time::SystemTime::UNIX_EPOCH),
            client: ClientMetadata {
                name: "Postern".to_owned(),
                document_url: Some(self.url.parse().unwrap()),
            },
            is_other_user: |_, _| false,
        });
        let findings = identity.diagnose(&self.target, None).await;
        [CheckKind::Registration, CheckKind::Redirect].map(|kind| {
            let found = findings.iter().find(|finding| finding.kind == kind);
            found.unwrap_or_else(|| panic!("{findings:?}")).clone()
        })
    }
}

#[tokio::test]
async fn document_without_redirect_uri_fails() {
    for (host, needed) in [
        (ENTRA, "http://localhost"),
        (OTHER, "http://127.0.0.1/callback"),
    ] {
        let place = Place::at(host);
        for uris in [
            &["http://localhost", "http://127.0.0.1/callback"][..],
            &["http://localhost:1234/", "http://127.0.0.1:8080/callback"],
        ] {
            let [registration, redirect] = place.with(&place.document(uris)).await;
            assert_eq!(registration.verdict, Verdict::Ok, "{registration:?}");
            assert_eq!(redirect.verdict, Verdict::Ok, "{redirect:?}");
            let expected = format!("`{needed}` is among the `redirect_uris` of {}; ", place.url);
            assert!(redirect.what.starts_with(&expected), "{redirect:?}");
        }
        let others = ["http://localhost", "http://127.0.0.1/callback"].map(|uri| {
            if uri == needed {
                "https://localhost/callback"
            } else {
                uri
            }
        });
        for uris in [
            &others[..],
            &[],
            &["http://localhost/other", "http://127.0.0.1/Callback"],
            &["no address", "http://localhost.example"],
        ] {
            let [registration, redirect] = place.with(&place.document(uris)).await;
            assert_eq!(registration.verdict, Verdict::Ok, "{registration:?}");
            assert_eq!(redirect.verdict, Verdict::Failed, "{uris:?} {redirect:?}");
            let todo = redirect.todo.unwrap();
            let expected = format!("add `{needed}` to `redirect_uris` in {}", place.url);
            assert!(todo.starts_with(&expected), "{todo}");
        }
    }
}

#[tokio::test]
async fn document_with_wrong_member_fails() {
    let place = Place::at(ENTRA);
    let url = &place.url;
    for (member, value, what) in [
        (
            "client_id",
            json!("https://evil.example/client.json"),
            "names `https://evil.example/client.json` as its `client_id`",
        ),
        ("client_id", Value::Null, "has no `client_id`"),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            "names `client_secret_basic` as its `token_endpoint_auth_method`",
        ),
        (
            "token_endpoint_auth_method",
            Value::Null,
            "has no `token_endpoint_auth_method`",
        ),
    ] {
        let mut document = place.document(&["http://localhost"]);
        document[member] = value;
        let [registration, redirect] = place.with(&document).await;
        assert_eq!(registration.verdict, Verdict::Failed, "{what}");
        let expected = format!("the client ID metadata document {url} {what}");
        assert_eq!(registration.what, expected);
        let todo = registration.todo.unwrap();
        assert!(
            todo.starts_with(&format!("write `\"{member}\": \"")),
            "{todo}"
        );
        assert_eq!(redirect.verdict, Verdict::Ok, "{redirect:?}");
    }
}

#[tokio::test]
async fn unreadable_document_is_reported_with_url() {
    let place = Place::at(OTHER);
    let [absent, _] = place.findings().await;
    let [strange, _] = place.with(&json!(["\u{1b}[2J"])).await;
    let [wrong, _] = place
        .with(&json!({ "redirect_uris": "http://localhost" }))
        .await;
    for (finding, expected) in [
        (absent, "404"),
        (strange, "is no client"),
        (wrong, "is no client"),
    ] {
        assert_eq!(finding.verdict, Verdict::Failed, "{finding:?}");
        assert!(finding.what.contains(&place.url), "{finding:?}");
        assert!(finding.what.contains(expected), "{finding:?}");
        assert!(!finding.what.contains('\u{1b}'), "{finding:?}");
        assert!(finding.todo.is_some(), "{finding:?}");
    }
    let away = Place {
        url: "https://nowhere.example/client.json".to_owned(),
        ..Place::at(OTHER)
    };
    let [finding, redirect] = away.findings().await;
    assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
    assert!(finding.what.contains(&away.url), "{finding:?}");
    assert!(redirect.what.contains("has to be among"), "{redirect:?}");
}
