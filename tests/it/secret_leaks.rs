//! No secret is stored or logged in the clear after sign-ins and calls.

use std::{fs, path::Path, process::Stdio};

use emulator::{Certificate, FederatedCredential, Tenant, demo};
use model::Clock;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    task::JoinSet,
};

use crate::harness::{
    Harness,
    bridge::Bridge,
    browser::Browser,
    entra::ClientCertificate,
    fixture::Fixture,
    program,
    recording_proxy::RecordingProxy,
    secrets::{Secrets, StartedProcesses},
    servers::FUNCTIONS_KEY,
    shim::{self, Shim},
    sign_in_pages, until, wire, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_stores_logs_and_passes_no_secret() {
    let harness = Harness::start().await;
    let started = StartedProcesses::watch(harness.folder());
    let bridge = harness.bridge();
    let config = bridge.root().join("config/config.toml");
    let mut text = std::fs::read_to_string(&config).expect("a configuration");
    text.push_str("headers = { X-Desk-Key = { secret = \"desk\" } }\n");
    std::fs::write(&config, text).expect("a configuration");
    bridge.start().await;
    let key: String = ["desk-key", "never-to-be", "printed"].join("-");
    bridge
        .run_with(&["secrets", "set", "desk"], &format!("{key}\n"))
        .await;
    for shown in [&["secrets", "list"][..], &["status"], &["doctor"]] {
        let shown = bridge.run(shown).await;
        assert!(!shown.contains(&key), "{shown}");
    }
    let mut shim = Shim::connect(&bridge, "snippets").await;
    let waiting = shim
        .send_request(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    harness.sign_in_at(&bridge.browser.page(0).await).await;
    shim.response(waiting).await;
    shim.call("hello_mcp", json!({})).await.unwrap();

    // A crash writes no secrets either, and the next bridge refreshes the token.
    let process = bridge.process().await;
    program::abort(process);
    until("its end", async || program::is_gone(process).then_some(())).await;
    shim.call("hello_mcp", json!({})).await.unwrap();

    let seen = || {
        let mut secrets = Secrets::from_gateway(&harness.servers);
        secrets.add("client secret", emulator::demo::GATEWAY_SECRET);
        secrets.add("backend key", FUNCTIONS_KEY);
        secrets
    };
    let secrets = seen();
    for (kind, at_least) in [
        ("access token", 1),
        ("stored secret", 1),
        // Entra's for the gateway, and the gateway's for the bridge.
        ("authorization code", 2),
        ("PKCE verifier", 1),
        ("refresh token", 1),
        // The bridge's at the gateway, and the gateway's at Entra.
        ("state", 2),
        ("nonce", 1),
        ("client secret", 1),
    ] {
        assert!(
            secrets.count(kind) >= at_least,
            "{kind}: {}",
            secrets.count(kind)
        );
    }
    assert_eq!(
        secrets.search(harness.folder(), &started),
        Vec::<String>::new()
    );
    // The program that opens the browser is too short-lived to be observed. This is its argument.
    let page = bridge.browser.page(0).await;
    assert_eq!(secrets.search_argument(&page), Vec::<String>::new());
    for argument in ["connect", "bridge"] {
        assert!(started.has(argument), "`{argument}` was not observed");
    }
    assert!(
        bridge.log().contains("DEBUG"),
        "the log is at its most verbose"
    );

    // A sign-out leaves none behind either.
    bridge.sign_out().await;
    let secrets = seen();
    assert!(secrets.count("revoked token") >= 1);
    assert_eq!(
        secrets.search(harness.folder(), &started),
        Vec::<String>::new()
    );

    let backend = harness
        .servers
        .backend_proxy
        .requests()
        .join("\n")
        .to_ascii_lowercase();
    assert!(backend.contains(&format!("x-functions-key: {FUNCTIONS_KEY}")));
    assert!(!backend.contains("authorization:"), "{backend}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_device_codes_are_not_leaked() {
    let folder = tempfile::Builder::new()
        .prefix("postern-it-")
        .tempdir()
        .expect("a temporary folder");
    let folder = folder.path();
    let started = StartedProcesses::watch(folder);
    let certificate = ClientCertificate::new();
    fs::write(folder.join("program.pem"), &certificate.pem).expect("a certificate");
    fs::write(folder.join("program-key.pem"), &certificate.key).expect("a key");
    let (entra, server) = (RecordingProxy::open().await, RecordingProxy::open().await);
    let _behind = start_entra(&entra, &certificate).await;
    let fixture = Fixture::start().await;
    server.forward_to(Some(fixture.address()));
    fs::write(
        folder.join("federated-token"),
        federated_token(&entra).await,
    )
    .expect("a token");

    let bridge = Bridge::configured(folder, &configuration(folder, &entra, &server));
    bridge.start().await;
    for name in ["certified", "federated"] {
        let mut shim = Shim::connect(&bridge, name).await;
        shim.call("test_simple_text", json!({}))
            .await
            .expect("a text");
    }
    sign_in_elsewhere(&bridge).await;
    let mut shim = Shim::connect(&bridge, "person").await;
    shim.call("test_simple_text", json!({}))
        .await
        .expect("a text");
    for shown in [&["status"][..], &["doctor"]] {
        bridge.try_run(shown).await;
    }

    let mut secrets = Secrets::from_proxies(&[&entra, &server]);
    for line in certificate.key.lines().filter(|line| line.len() == 64) {
        secrets.add("private key", line);
    }
    for (kind, at_least) in [
        // One signed by the bridge, and one federated token.
        ("client assertion", 2),
        ("device code", 1),
        ("refresh token", 1),
        // Two applications and a user.
        ("access token", 3),
        ("private key", 20),
    ] {
        let count = secrets.count(kind);
        assert!(count >= at_least, "{kind}: {count}");
    }
    assert_eq!(secrets.search(folder, &started), Vec::<String>::new());
    assert!(started.has("--device"), "the sign-in was not observed");
    assert!(
        bridge.log().contains("DEBUG"),
        "the log is at its most verbose"
    );
    assert_eq!(bridge.browser.page_count(), 0, "no page was opened here");
}

/// Starts the emulator behind a proxy. It stops when the result is dropped.
async fn start_entra(proxy: &RecordingProxy, certificate: &ClientCertificate) -> Serving {
    let mut tenant = Tenant::demo("http://localhost:4180/oauth-callback");
    let known = Certificate::from_pem(certificate.pem.as_bytes());
    demo::trust_certificate(&mut tenant, &known.expect("a certificate"));
    let options = emulator::Options {
        base_url: Some(format!("http://{}", proxy.address())),
        ..emulator::Options::new(tenant, Clock::system())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    proxy.forward_to(listener.local_addr().ok());
    let serving = emulator::serve(options, listener, Default::default());
    let mut all = JoinSet::new();
    all.spawn(serving);
    all
}

type Serving = JoinSet<anyhow::Result<()>>;

/// Returns a configuration with two applications and a user, for servers that accept any token.
fn configuration(folder: &Path, entra: &RecordingProxy, server: &RecordingProxy) -> String {
    let authority = format!("http://{}/{}/v2.0", entra.address(), demo::TENANT_ID);
    let url = format!("http://{}/mcp", server.address());
    let file = |name: &str| folder.join(name).display().to_string();
    let program = |name: &str, proof: &str| {
        format!(
            "[servers.{name}]\nurl = \"{url}\"\nauth = {{ kind = \"client-credentials\", client_id = \"{}\", authority = \"{authority}\", resource = \"api://{}\", {proof} }}\n",
            demo::GATEWAY_CLIENT_ID,
            demo::REPORTS_CLIENT_ID,
        )
    };
    let certificate = format!(
        "certificate = {{ cert = \"{}\", key = \"{}\" }}",
        file("program.pem"),
        file("program-key.pem")
    );
    let token = format!("federated_token_file = \"{}\"", file("federated-token"));
    let person = format!(
        "[servers.person]\nurl = \"{url}\"\nauth = {{ kind = \"entra\", authority = \"{authority}\", client_id = \"{}\", resource = \"{}\", scopes = [\"{}\"] }}\n",
        demo::BRIDGE_CLIENT_ID,
        demo::gateway_app_id_uri(),
        demo::GATEWAY_SCOPE,
    );
    let programs = [
        program("certified", &certificate),
        program("federated", &token),
    ];
    ["[bridge]\nport = 0\n".to_owned(), programs.concat(), person].concat()
}

/// Returns a token of the machine's managed identity, for use as a federated credential.
async fn federated_token(entra: &RecordingProxy) -> String {
    let asked = wire::client()
        .get(format!(
            "http://{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}&client_id={}",
            entra.address(),
            FederatedCredential::AUDIENCE,
            demo::HOST_CLIENT_ID,
        ))
        .header("metadata", "true")
        .send();
    let answer = within("a token", asked).await.expect("an answer");
    let answer: Value = within("a token", answer.json()).await.expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// Signs in with a device code in another browser.
async fn sign_in_elsewhere(bridge: &Bridge) {
    let root = bridge.root().display().to_string();
    let mut process = Command::new(program::postern())
        .args(["sign-in", "person", "--device", "--home", &root])
        .env_clear()
        .envs(shim::environment(bridge))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("postern starts");
    let mut told = BufReader::new(process.stderr.take().expect("its output")).lines();
    let mut shown = Vec::new();
    while shown.len() < 2 {
        let line = within("the page and the code", told.next_line()).await;
        let line = line.expect("its output").expect("it goes on");
        shown.extend(line.strip_prefix("  ").map(str::to_owned));
    }
    let browser = Browser::open().await;
    browser.go_to(&shown[0]).await;
    sign_in_pages::enter_device_code(&browser, &shown[1], demo::ADELE).await;
    let ended = within("its end", process.wait()).await;
    assert!(ended.expect("its end").success());
}
