//! Logs contain no secrets.

use std::io::Write;
use std::sync::{Arc, Mutex};

use emulator::demo;
use tracing::Level;

use crate::harness::{Browser, GATEWAY_CALLBACK, Harness, VERIFIER};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_contain_users_and_clients_but_no_secrets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber, a callsite that another test's thread hits first would be disabled
    // for all.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let harness = Harness::start().await;
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    let web = [
        ("client_id", gateway.as_str()),
        ("redirect_uri", GATEWAY_CALLBACK),
        ("scope", "openid offline_access User.Read"),
    ];
    let response = Browser::new()
        .sign_in(&harness.authorize(&web), demo::ADELE)
        .await;
    let code = response.parameter("code");
    let secret = [
        ("code", code.as_str()),
        ("client_secret", demo::GATEWAY_SECRET),
    ];
    let form = [&web[..2], &secret].concat();
    let tokens = harness.redeem(&form).await;
    harness
        .expect_error(harness.token(&form), 400, "invalid_grant", 54_005)
        .await;

    let text = log.text();
    assert!(
        text.contains("tokens issued") && text.contains("code=54005"),
        "{text}"
    );
    assert!(text.contains(&demo::ADELE_OBJECT_ID.to_string()));
    let issued = ["access_token", "refresh_token", "id_token"];
    let issued = issued.map(|name| tokens[name].as_str().unwrap());
    for secret in [code.as_str(), VERIFIER, demo::GATEWAY_SECRET]
        .into_iter()
        .chain(issued)
    {
        assert!(!text.contains(secret), "logged: {secret}");
    }
}
