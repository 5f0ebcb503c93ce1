//! Planned and emergency key rollover as a client sees it.

use emulator::{Command, State, demo};
use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::{Harness, http};

/// Returns the ids of the published keys.
async fn published(harness: &Harness) -> Vec<String> {
    let keys = http().get(harness.url("/discovery/v2.0/keys"));
    let keys: Value = keys.send().await.unwrap().json().await.unwrap();
    let keys = keys["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

fn signing(state: &State) -> &str {
    &state.keys.iter().find(|key| key.signs).unwrap().kid
}

#[tokio::test]
async fn planned_rollover_keeps_tokens_valid() {
    let harness = Harness::start_in(None).await;
    let old = signing(&harness.admin.state()).to_owned();
    let before = harness.tokens().await;
    let state = harness.apply(Command::AddKey).await;
    assert_eq!(signing(&state), old, "the new key does not sign yet");
    let new = state.keys.last().unwrap().kid.clone();
    assert!(published(&harness).await.contains(&new));

    harness.apply(Command::UseKey { kid: new.clone() }).await;
    let after = harness.tokens().await;
    let header = |tokens: &Value| {
        let token = tokens["access_token"].as_str().unwrap();
        jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
    };
    assert_eq!((header(&before), header(&after)), (old.clone(), new));
    for tokens in [&before, &after] {
        assert_eq!(harness.echo(tokens).await.status(), StatusCode::OK);
    }

    harness.apply(Command::DropKey { kid: old.clone() }).await;
    assert!(!published(&harness).await.contains(&old));
    assert_eq!(
        harness.echo(&before).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(harness.echo(&after).await.status(), StatusCode::OK);
    let kid = signing(&harness.admin.state()).to_owned();
    let last = harness.admin.apply(Command::DropKey { kid }).await;
    assert!(last.unwrap_err().to_string().contains("hint: add one"));
}

#[tokio::test]
async fn emergency_rollover_replaces_all_keys() {
    let harness = Harness::start_in(None).await;
    let tokens = harness.tokens().await;
    let old = published(&harness).await;
    harness.apply(Command::ReplaceKeys).await;
    let new = published(&harness).await;
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|kid| !old.contains(kid)), "{old:?} {new:?}");
    let token = tokens["access_token"].as_str().unwrap();
    let audience = demo::GATEWAY_CLIENT_ID;
    assert!(harness.verify(token, audience).await.is_none());
    let refused = harness.echo(&tokens).await;
    let header = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(header.contains("invalid_token"), "{header}");

    let tokens = harness.refreshed(&tokens).await;
    let token = tokens["access_token"].as_str().unwrap();
    assert!(harness.verify(token, audience).await.is_some());
}
