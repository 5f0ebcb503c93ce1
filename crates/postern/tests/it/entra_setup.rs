//! App registrations: as steps, as JSON, and in a fake Microsoft Graph.

use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use emulator::{Emulator, Options, Tenant, Transport};
use model::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::graph::{API, Graph, MCP_READ};
use crate::installation::{Ended, Installation};

const BRIDGE: [&str; 6] = [
    "entra-setup",
    "bridge",
    "--api",
    "api://files",
    "--scope",
    "mcp.read",
];
const GATEWAY: [&str; 8] = [
    "entra-setup",
    "gateway",
    "--public-url",
    "https://gateway.example.com/",
    "--federated-issuer",
    "https://oidc.example.com",
    "--federated-subject",
    "system:serviceaccount:mcp:gateway",
];

/// Returns a token with these scopes.
fn token(scopes: &str) -> String {
    let claims = json!({ "aud": "https://graph.microsoft.com", "scp": scopes });
    format!(
        "e30.{}.c2ln",
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

fn permitted_token() -> String {
    token("User.Read Application.ReadWrite.All")
}

/// Runs the command with `--apply` and the token on stdin.
async fn apply(graph: &Graph, arguments: &[&str], token: &str) -> Ended {
    apply_with(&Installation::new(), &graph.url, arguments, token).await
}

async fn apply_with(
    installation: &Installation,
    graph: &str,
    arguments: &[&str],
    token: &str,
) -> Ended {
    let all = [arguments, &["--apply", "--graph", graph]].concat();
    let mut child = installation
        .command(&all)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{token}\n").as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let ended = Ended::from(child.wait_with_output().await.unwrap());
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!shown.contains(token), "the token is shown: {shown}");
    ended
}

fn graph_scopes() -> Value {
    let scope = |id: &str| json!({ "id": id, "type": "Scope" });
    json!({
        "resourceAppId": "00000003-0000-0000-c000-000000000000",
        "resourceAccess": [
            scope("37f7f235-527c-4136-accd-4a02d197296e"),
            scope("14dad69e-099b-42c9-810b-d002981feec1"),
            scope("7427e0e9-2fba-42fe-b0c0-848c9e6a8182"),
        ],
    })
}

#[tokio::test]
async fn registration_is_printed_as_steps_and_as_json() {
    let installation = Installation::new();
    let steps = installation.run(&BRIDGE).await;
    assert_eq!(steps.code, Some(0), "{steps:?}");
    for step in [
        "Authentication > Add a platform > Mobile and desktop applications > http://localhost",
        "Allow public client flows > Yes",
        "APIs my organization uses > api://files > Delegated permissions: mcp.read",
        "\"isFallbackPublicClient\": true",
        "config.toml",
    ] {
        assert!(steps.stdout.contains(step), "{step}: {}", steps.stdout);
    }
    let gateway = installation
        .run(&[&GATEWAY[..], &["--json"]].concat())
        .await;
    let documents: Value = serde_json::from_str(&gateway.stdout).unwrap();
    assert_eq!(
        documents["application"],
        json!({
            "displayName": "Postern gateway",
            "signInAudience": "AzureADMyOrg",
            "web": { "redirectUris": ["https://gateway.example.com/oauth-callback"] },
            "api": { "requestedAccessTokenVersion": 2 },
            "requiredResourceAccess": [graph_scopes()],
        })
    );
    assert_eq!(
        documents["federatedIdentityCredential"],
        json!({
            "name": "postern-gateway",
            "issuer": "https://oidc.example.com",
            "subject": "system:serviceaccount:mcp:gateway",
            "audiences": ["api://AzureADTokenExchange"],
        })
    );
}

#[tokio::test]
async fn second_apply_changes_nothing() {
    let graph = Graph::start().await;
    graph.directory().lag = 1;
    let first = apply(&graph, &BRIDGE, &permitted_token()).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.stdout.contains("Client id: client-1"), "{first:?}");
    {
        let directory = graph.directory();
        assert_eq!(directory.token, format!("Bearer {}", permitted_token()));
        let expected = json!({
            "id": "object-1",
            "appId": "client-1",
            "displayName": "Postern",
            "signInAudience": "AzureADMyOrg",
            "isFallbackPublicClient": true,
            "publicClient": { "redirectUris": ["http://localhost"] },
            "requiredResourceAccess": [graph_scopes(), {
                "resourceAppId": API,
                "resourceAccess": [{ "id": MCP_READ, "type": "Scope" }],
            }],
        });
        assert_eq!(directory.applications, [expected]);
        assert_eq!(directory.principals[0]["appId"], "client-1");
    }
    graph.directory().written.clear();
    let second = apply(&graph, &BRIDGE, &permitted_token()).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.stdout.starts_with("Nothing to change"), "{second:?}");
    assert_eq!(graph.directory().written, [""; 0]);
}

#[tokio::test]
async fn apply_keeps_existing_settings() {
    let graph = Graph::start().await;
    let other = json!({ "resourceAppId": "other", "resourceAccess": [] });
    graph.directory().applications.push(json!({
        "id": "object-9", "appId": "client-9", "displayName": "Postern gateway",
        "web": { "redirectUris": ["https://old.example.com/oauth-callback"] },
        "spa": { "redirectUris": ["https://gateway.example.com/oauth-callback"] },
        "requiredResourceAccess": [other],
    }));
    let applied = apply(&graph, &GATEWAY, &permitted_token()).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(
        applied.stderr.contains("registered under `spa` too"),
        "{applied:?}"
    );
    {
        let directory = graph.directory();
        let application = &directory.applications[0];
        assert_eq!(
            application["web"]["redirectUris"],
            json!([
                "https://old.example.com/oauth-callback",
                "https://gateway.example.com/oauth-callback",
            ])
        );
        assert_eq!(
            application["requiredResourceAccess"],
            json!([other, graph_scopes()])
        );
        assert_eq!(application["api"]["requestedAccessTokenVersion"], 2);
        assert_eq!(
            directory.federated[0]["subject"],
            "system:serviceaccount:mcp:gateway"
        );
    }
    graph.directory().federated[0]["subject"] = json!("another");
    graph.directory().written.clear();
    let mended = apply(&graph, &GATEWAY, &permitted_token()).await;
    assert!(
        mended.stdout.contains("Changed its federated credential"),
        "{mended:?}"
    );
    assert_eq!(
        graph.directory().written,
        ["PATCH /applications/object-9/federatedIdentityCredentials/id-1"]
    );
}

#[tokio::test]
async fn certificate_is_added_once() {
    let graph = Graph::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, pem).unwrap();
    let arguments = [&GATEWAY[..4], &["--certificate", file.to_str().unwrap()]].concat();
    graph.directory().applications.push(json!({
        "id": "object-9", "appId": "client-9", "displayName": "Postern gateway",
        "keyCredentials": [{ "key": "b2xk", "keyId": "old" }],
    }));
    for _ in 0..2 {
        let applied = apply(&graph, &arguments, &permitted_token()).await;
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }
    let directory = graph.directory();
    let keys = directory.applications[0]["keyCredentials"]
        .as_array()
        .unwrap();
    let keys: Vec<_> = keys
        .iter()
        .map(|key| key["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["b2xk", "MAA="]);
}

#[tokio::test]
async fn apply_without_permission_changes_nothing() {
    let graph = Graph::start().await;
    let unable = apply(&graph, &BRIDGE, &token("User.Read Application.Read.All")).await;
    assert_eq!(unable.code, Some(1), "{unable:?}");
    assert!(
        unable
            .stderr
            .contains("it grants User.Read, Application.Read.All; nothing was changed"),
        "{unable:?}"
    );
    assert_eq!(graph.directory().token, "", "no request was sent");

    graph.directory().is_read_only = true;
    for token in [permitted_token(), "opaque".to_owned()] {
        let refused = apply(&graph, &BRIDGE, &token).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("Insufficient privileges"),
            "{refused:?}"
        );
        assert!(
            refused.stderr.contains("Application Administrator"),
            "{refused:?}"
        );
    }
    graph.directory().is_read_only = false;
    let mut unknown = BRIDGE;
    unknown[5] = "mcp.everything";
    let unknown = apply(&graph, &unknown, &permitted_token()).await;
    assert!(unknown.stderr.contains("it has mcp.read"), "{unknown:?}");
    let directory = graph.directory();
    assert!(directory.applications.is_empty() && directory.written.is_empty());
}

#[tokio::test]
async fn ambiguous_name_requires_client_id() {
    let graph = Graph::start().await;
    for number in [1, 2] {
        graph.directory().applications.push(json!({
            "id": format!("object-{number}"), "appId": format!("client-{number}"),
            "displayName": "Postern",
        }));
    }
    let both = apply(&graph, &BRIDGE, &permitted_token()).await;
    assert_eq!(both.code, Some(1), "{both:?}");
    assert!(both.stderr.contains("client-1, client-2"), "{both:?}");
    assert!(graph.directory().written.is_empty());
    let one = [&BRIDGE[..], &["--client-id", "client-2"]].concat();
    let one = apply(&graph, &one, &permitted_token()).await;
    assert_eq!(one.code, Some(0), "{one:?}");
    assert!(
        graph
            .directory()
            .written
            .contains(&"PATCH /applications/object-2".to_owned())
    );
}

/// Writes the bridge's configuration.
fn configure(installation: &Installation, bridge: &str) {
    std::fs::write(
        installation.home().config_file(),
        format!("[bridge]\n{bridge}\n"),
    )
    .unwrap();
}

#[tokio::test]
async fn graph_is_trusted_by_ca_files_of_bridge() {
    let installation = Installation::new();
    let transport = Transport::Https {
        folder: installation.folder().to_owned(),
    };
    let options = Options {
        transport: transport.clone(),
        ..Options::new(Tenant::demo("http://localhost/cb"), Clock::system())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Emulator::open(options, listener).await.unwrap();
    let graph = server.base_url().to_owned();
    tokio::spawn(server.serve(CancellationToken::new()));
    let apply = async || apply_with(&installation, &graph, &BRIDGE, &permitted_token()).await;

    let untrusted = apply().await;
    assert_eq!(untrusted.code, Some(4), "{untrusted:?}");
    for words in ["does not trust the certificate authority", "extra_ca_files"] {
        assert!(untrusted.stderr.contains(words), "{untrusted:?}");
    }
    let authority = transport.authority_file().unwrap();
    let authority = authority.display();
    configure(
        &installation,
        &format!("extra_ca_files = [\"{authority}.old\"]"),
    );
    let misled = apply().await;
    for words in ["entra-ca.pem.old: No such file", "extra_ca_files"] {
        assert!(misled.stderr.contains(words), "{misled:?}");
    }
    configure(
        &installation,
        &format!("extra_ca_files = [\"{authority}\"]"),
    );
    let trusted = apply().await;
    assert!(trusted.stderr.contains("in this tenant"), "{trusted:?}");
}

#[tokio::test]
async fn graph_is_reached_through_proxy_of_bridge() {
    let installation = Installation::new();
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    configure(&installation, &format!("proxy = \"http://{address}\""));
    let graph = "https://graph.example";
    let asked = async {
        let (stream, _) = proxy.accept().await.unwrap();
        BufReader::new(stream).lines().next_line().await.unwrap()
    };
    let token = permitted_token();
    let applied = apply_with(&installation, graph, &BRIDGE, &token);
    let (refused, asked) = tokio::join!(applied, asked);
    assert_eq!(asked.unwrap(), "CONNECT graph.example:443 HTTP/1.1");
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("`proxy`"), "{refused:?}");
}
