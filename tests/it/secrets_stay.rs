//! After the main job was done, nothing that opens a door lies anywhere in the clear.

use control::api::Request;
use serde_json::json;

use crate::world::{
    World, program,
    secrets::{Secrets, Started},
    servers::FUNCTIONS_KEY,
    shim::Shim,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_code_or_verifier_is_written_logged_or_passed_as_an_argument() {
    let world = World::start().await;
    let started = Started::under(world.folder());
    let bridge = world.bridge();
    let config = bridge.root().join("config/config.toml");
    let mut text = std::fs::read_to_string(&config).expect("a configuration");
    text.push_str("headers = { X-Desk-Key = { keychain = \"desk\" } }\n");
    std::fs::write(&config, text).expect("a configuration");
    bridge.start().await;
    let key: String = ["desk-key", "that-nobody", "may-read"].join("-");
    bridge
        .run_with(&["secrets", "set", "desk"], &format!("{key}\n"))
        .await;
    for shown in [&["secrets", "list"][..], &["status"], &["doctor"]] {
        let shown = bridge.run(shown).await;
        assert!(!shown.contains(&key), "{shown}");
    }
    let mut shim = Shim::connect(&bridge, "snippets").await;
    let waiting = shim
        .ask(
            "tools/call",
            json!({ "name": "hello_mcp", "arguments": {} }),
        )
        .await;
    world.sign_in_at(&bridge.tabs.page(0).await).await;
    shim.answer(waiting).await;
    shim.call("hello_mcp", json!({})).await.unwrap();

    // One that crashes says nothing either, and the next one renews.
    let process = bridge.process().await;
    program::abort(process);
    until("its end", async || program::is_gone(process).then_some(())).await;
    shim.call("hello_mcp", json!({})).await.unwrap();

    let seen = || {
        let mut secrets = Secrets::seen(&world.servers);
        secrets.add("client secret", emulator::demo::GATEWAY_SECRET);
        secrets.add("backend key", FUNCTIONS_KEY);
        secrets
    };
    let secrets = seen();
    for (kind, at_least) in [
        ("session key", 1),
        ("stored secret", 1),
        // Entra's for the gateway, and the gateway's for the bridge.
        ("authorization code", 2),
        ("PKCE verifier", 1),
        ("refresh token", 1),
        // The bridge's for the gateway, and the gateway's for Entra.
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
        secrets.search(world.folder(), &started),
        Vec::<String>::new()
    );
    // What opens the browser is too short-lived to be seen, and is given this.
    let page = bridge.tabs.page(0).await;
    assert_eq!(secrets.search_argument(&page), Vec::<String>::new());
    for argument in ["connect", "bridge"] {
        assert!(started.has(argument), "nobody saw `{argument}` start");
    }
    assert!(bridge.log().contains("DEBUG"), "the log tells all it can");

    // Nor does a sign-out leave any behind.
    bridge
        .ask(Request::SignOut {
            account: None,
            everywhere: false,
        })
        .await;
    let secrets = seen();
    assert!(secrets.count("revoked token") >= 1);
    assert_eq!(
        secrets.search(world.folder(), &started),
        Vec::<String>::new()
    );

    let backend = world.servers.back.said().join("\n").to_ascii_lowercase();
    assert!(backend.contains(&format!("x-functions-key: {FUNCTIONS_KEY}")));
    assert!(!backend.contains("authorization:"), "{backend}");
}
