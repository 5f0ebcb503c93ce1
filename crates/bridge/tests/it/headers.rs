//! Headers that the user configured for a server, with their secrets.

use control::api::{Reply, Request, SecretView, ServerState};
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::server::Server;

async fn bridge(server: &Server, auth: &str) -> Bridge {
    let bridge = Bridge::start(&server.url()).await;
    let mut text = std::fs::read_to_string(bridge.home.config_file()).unwrap();
    text.push_str(auth);
    text.push_str("[servers.one.headers]\nX-Team = 'blue'\nX-Api-Key = { secret = 'crm-key' }\n");
    std::fs::write(bridge.home.config_file(), text).unwrap();
    bridge
}

async fn store(bridge: &Bridge, value: &str) {
    let request = Request::SetSecret {
        name: "crm-key".to_owned(),
        value: value.into(),
    };
    assert_eq!(bridge.call(request).await.unwrap(), Reply::Done);
}

async fn listed(bridge: &Bridge) -> Vec<SecretView> {
    match bridge.call(Request::ListSecrets).await.unwrap() {
        Reply::Secrets(listed) => listed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn headers_are_sent_and_new_secret_applies_at_once() {
    let server = Server::start().await;
    let bridge = bridge(&server, "").await;
    store(&bridge, "s3cret-one").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/call", json!({ "name": "a" })).await;
    store(&bridge, "s3cret-two").await;
    host.request(2, "tools/call", json!({ "name": "b" })).await;
    assert!(host.end().await);
    bridge.until_state(|state| state.sessions.is_empty()).await;
    let mut bridge = bridge;
    bridge.restart().await;

    let seen = server.record.take_keys();
    assert!(seen.iter().all(|[_, _, team]| team == "blue"), "{seen:?}");
    let by = |method: &str| {
        let of_method = seen.iter().filter(|[by, _, _]| by == method);
        of_method.map(|[_, key, _]| key.clone()).collect::<Vec<_>>()
    };
    // initialize, initialized, and one call. Then the other call.
    let posts = by("POST");
    assert_eq!(posts.last().unwrap(), "s3cret-two");
    assert_eq!(posts.iter().filter(|key| *key == "s3cret-one").count(), 3);
    assert_eq!(by("GET"), ["s3cret-one"]);
    assert_eq!(by("DELETE"), ["s3cret-two"]);

    let state = bridge.state().await;
    assert_eq!(state.servers[0].headers, ["X-Api-Key", "X-Team"]);
    let shown = serde_json::to_string(&state).unwrap();
    assert!(
        !shown.contains("s3cret") && !shown.contains("blue"),
        "{shown}"
    );
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let seen = server.record.take_keys();
    assert_eq!(seen[0][1], "s3cret-two", "it is still stored: {seen:?}");
}

#[tokio::test]
async fn missing_secret_error_names_command() {
    let server = Server::start().await;
    let bridge = bridge(&server, "").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let refused = host.request(1, "tools/call", json!({ "x": 1 })).await;
    let error = &refused["error"];
    assert_eq!(error["data"]["kind"], "not-found", "{refused}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`crm-key`") && message.contains("X-Api-Key"),
        "{refused}"
    );
    let hint = error["data"]["hint"].as_str().unwrap();
    assert!(hint.contains("postern secrets set crm-key"), "{refused}");
    assert_eq!(
        server.record.take_keys(),
        Vec::<[String; 3]>::new(),
        "nothing is sent without"
    );
    let needed = SecretView {
        name: "crm-key".to_owned(),
        stored: false,
        servers: vec!["one".to_owned()],
    };
    assert_eq!(listed(&bridge).await, [needed]);

    store(&bridge, "s3cret").await;
    bridge.until(|state| *state == ServerState::Ready).await;
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");

    let name = "crm-key".to_owned();
    bridge.call(Request::RemoveSecret { name }).await.unwrap();
    let refused = host.request(3, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(refused["error"]["data"]["kind"], "not-found", "{refused}");
}

#[tokio::test]
async fn rejected_api_key_starts_no_sign_in() {
    let server = Server::start().await;
    server.record.want_key("right");
    let bridge = bridge(&server, "auth = { kind = 'none' }\n").await;
    store(&bridge, "wrong").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let refused: Value = host.request(1, "tools/call", json!({ "x": 1 })).await;
    let hint = refused["error"]["data"]["hint"].as_str().unwrap();
    assert!(hint.contains("postern secrets set crm-key"), "{refused}");
    assert!(bridge.state().await.sign_ins.is_empty());
    store(&bridge, "right").await;
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
}

#[tokio::test]
async fn invalid_secret_name_or_value_is_rejected() {
    let server = Server::start().await;
    let bridge = bridge(&server, "").await;
    for (name, value) in [
        ("No Name", "hush-value"),
        ("crm-key", "two\nhush-value"),
        ("crm-key", ""),
    ] {
        let request = Request::SetSecret {
            name: name.to_owned(),
            value: value.into(),
        };
        let problem = bridge.call(request).await.unwrap_err().to_string();
        assert!(
            problem.contains("hint:") && !problem.contains("hush"),
            "{problem}"
        );
    }
    let name = "other".to_owned();
    let problem = bridge
        .call(Request::RemoveSecret { name })
        .await
        .unwrap_err();
    assert!(problem.to_string().contains("secrets list"), "{problem}");
}
