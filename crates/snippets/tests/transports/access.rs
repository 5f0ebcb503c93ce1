//! The access check.

use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, KEY, bare_client, http_client, initialize};

#[tokio::test]
async fn all_transports_require_functions_key() {
    let harness = Harness::start().await;
    for (key, error) in [
        (None, "functions_key_missing"),
        (Some(""), "functions_key_wrong"),
        (Some("a functions key for test"), "functions_key_wrong"),
        (Some("another key"), "functions_key_wrong"),
    ] {
        for path in ["/mcp", "/sse", "/message", "/nowhere"] {
            let mut post = bare_client().post(harness.at(path)).json(&json!({}));
            if let Some(key) = key {
                post = post.header("x-functions-key", key);
            }
            let response = post.send().await.unwrap();
            assert_eq!(
                response.status(),
                StatusCode::UNAUTHORIZED,
                "{path} {key:?}"
            );
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"], error, "{path} {key:?}");
            assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
        }
    }
}

#[tokio::test]
async fn health_check_needs_no_key() {
    let harness = Harness::start().await;
    let response = bare_client()
        .get(harness.at("/healthz"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn ambiguous_user_is_rejected() {
    let harness = Harness::start().await;
    let post = || {
        bare_client()
            .post(harness.at("/mcp"))
            .header("x-functions-key", KEY)
            .json(&initialize(1, "2025-11-25"))
    };
    for ask in [
        post()
            .header("x-postern-user", "ada")
            .header("x-postern-user", "bob"),
        post().header("x-postern-user", ""),
    ] {
        let response = ask.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            response.json::<Value>().await.unwrap()["error"],
            "user_unclear"
        );
    }
}

#[tokio::test]
async fn unknown_path_returns_404_with_hint() {
    let harness = Harness::start().await;
    let response = http_client(None)
        .get(harness.at("/nowhere"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(response.text().await.unwrap().contains("/mcp"));
}

#[tokio::test]
async fn empty_functions_key_prevents_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = snippets::Options {
        functions_key: SecretString::from(""),
        data_dir: folder.path().to_owned(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = snippets::serve(options, listener, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("hint: "), "{error}");
}

#[tokio::test]
async fn unusable_data_folder_error_names_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let options = snippets::Options {
        functions_key: SecretString::from(KEY),
        data_dir: file.join("data"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = snippets::serve(options, listener, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("a-file"), "{error}");
}
