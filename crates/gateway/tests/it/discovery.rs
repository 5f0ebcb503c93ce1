//! Metadata, and whether it is true.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::World;

const AS: &str = "/.well-known/oauth-authorization-server";
const PR: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn d15_t44_every_advertised_endpoint_exists() {
    let world = World::start().await;
    let (status, metadata) = world.get_json(AS).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(metadata["issuer"], world.origin);
    for (name, value) in metadata.as_object().unwrap() {
        let Some(url) = value.as_str().filter(|_| name.ends_with("_endpoint")) else {
            continue;
        };
        assert!(url.starts_with(&world.origin), "{name}");
        let mut exists = false;
        for method in [Method::GET, Method::POST] {
            let status = world
                .http
                .request(method, url)
                .send()
                .await
                .unwrap()
                .status();
            assert_ne!(status, StatusCode::NOT_FOUND, "{name}");
            exists |= status != StatusCode::METHOD_NOT_ALLOWED;
        }
        assert!(exists, "{name}");
    }
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        json!(["S256"])
    );
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["none"])
    );
    assert_eq!(
        metadata["authorization_response_iss_parameter_supported"],
        true
    );
    assert_eq!(
        metadata["consents_endpoint"],
        world.url("/account/consents")
    );
}

#[tokio::test]
async fn t46_t87_resource_metadata_has_exact_url() {
    let world =
        World::start_with(|text| text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n").await;
    for path in [
        "",
        "/",
        "/mcp",
        "/mcp/sse",
        "/snippets/mcp",
        "/snippets/sse",
        "/other/mcp",
    ] {
        let (status, metadata) = world.get_json(&format!("{PR}{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(metadata["resource"], world.url(path), "{path}");
        assert_eq!(metadata["authorization_servers"], json!([world.origin]));
        assert_eq!(metadata["scopes_supported"], json!(["mcp"]));
    }
    for path in [
        "/other/sse",
        "/nobody/mcp",
        "/snippets",
        "/snippets/mcp/",
        "/Snippets/mcp",
        "/snippets/mcp/x",
        "/other%2fmcp",
    ] {
        assert_eq!(
            world.get_json(&format!("{PR}{path}")).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn root_without_root_server_serves_only_single_server() {
    let only = World::start_with(|text| text.replace("root_server = \"snippets\"", "")).await;
    assert_eq!(only.get_json(PR).await.1["resource"], only.origin);
    assert_eq!(
        only.get_json(&format!("{PR}/mcp")).await.0,
        StatusCode::NOT_FOUND
    );
    let two = |text: String| {
        text.replace("root_server = \"snippets\"", "") + "\n[servers.b]\nurl = \"{backend}/mcp\"\n"
    };
    let two = World::start_with(two).await;
    assert_eq!(two.get_json(PR).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn d16_preflight_allows_method_of_each_endpoint() {
    let world = World::start().await;
    for (path, method) in [
        (AS, "GET"),
        (PR, "GET"),
        ("/register", "POST"),
        ("/token", "POST"),
        ("/revoke", "POST"),
        ("/userinfo", "GET"),
        ("/account/consents", "GET"),
        ("/account/consents/1", "DELETE"),
    ] {
        let request = world
            .http
            .request(Method::OPTIONS, world.url(path))
            .header("origin", "https://app.example");
        let response = request
            .header("access-control-request-method", method)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("access-control-allow-origin"), "*", "{path}");
        assert!(
            header("access-control-allow-methods").contains(method),
            "{path}"
        );
        assert!(header("access-control-allow-headers").contains("Authorization"));
    }
    let answer = world.http.post(world.url("/token")).send().await.unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "*",
        "errors too"
    );
}

#[tokio::test]
async fn t56_only_public_paths_answer_without_token() {
    let world = World::start().await;
    let guarded = [
        "/mcp",
        "/mcp/sse",
        "/snippets/mcp",
        "/snippets/sse",
        "/userinfo",
        "/account/consents",
        "/account/consents/1",
        "/mcp/message",
        "/snippets/message",
    ];
    for path in guarded {
        for method in [
            Method::GET,
            Method::POST,
            Method::DELETE,
            Method::HEAD,
            Method::PUT,
            Method::PATCH,
        ] {
            let request = world.http.request(method.clone(), world.url(path));
            let status = request
                .header("x-http-method-override", "GET")
                .send()
                .await
                .unwrap()
                .status();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::METHOD_NOT_ALLOWED];
            assert!(refused.contains(&status), "{method} {path}: {status}");
        }
    }
    for path in [
        "/",
        "/snippets",
        "/snippets/",
        "/snippets/mcp/",
        "/snippets//mcp",
        "//snippets/mcp",
        "/mcp/",
        "/SNIPPETS/mcp",
        "/snippets%2fmcp",
        "/snippets/mcp%2f",
        "/%73nippets/mcp",
        "/snippets/Mcp",
        "/x/mcp",
        "/mcp/mcp",
        "/snippets/.well-known/oauth-authorization-server",
        "/admin",
        "/metrics",
        "/account",
        "/session-keys",
        "/gateway.sqlite",
    ] {
        let status = world
            .http
            .get(world.url(path))
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(world.backend.seen().is_empty());
}

#[tokio::test]
async fn d13_t83_malformed_input_returns_client_error() {
    let world = World::start().await;
    let paths = [
        "/authorize",
        "/consent",
        "/oauth-callback",
        "/token",
        "/revoke",
        "/register",
        "/userinfo",
        "/mcp",
        "/mcp/message",
        "/mcp/sse",
        "/account/consents",
    ];
    let long = "a=".to_owned() + &"x".repeat(8000);
    let queries = [
        "",
        "=",
        "&&&",
        "%",
        "%zz=%",
        "a=%ff",
        "code=x&state=y",
        "client_id=%00",
        "request=x",
        "state[]=1&state[]=2",
        &long,
    ];
    let bodies: [&[u8]; 6] = [
        b"",
        b"=",
        b"grant_type=authorization_code&code=%",
        b"{}",
        b"\xff\xfe\x00",
        b"grant_type=x&grant_type=y",
    ];
    for path in paths {
        for query in queries {
            for (number, body) in bodies.iter().enumerate() {
                let kind = [
                    "application/x-www-form-urlencoded",
                    "application/json",
                    "text/plain",
                ][number % 3];
                let url = world.url(&format!("{path}?{query}"));
                let request = if number == 0 {
                    world.http.get(url)
                } else {
                    world
                        .http
                        .post(url)
                        .header("content-type", kind)
                        .body(body.to_vec())
                };
                let request = request.header(
                    "authorization",
                    [
                        "Bearer",
                        "Bearer ",
                        "Basic eA==",
                        "Bearer v1.a.b.c",
                        "\u{e4}",
                        "Bearer =",
                    ][number],
                );
                let request = request
                    .header("cookie", "postern-browser=x; =; ;;")
                    .header("origin", "null");
                let status = request.send().await.unwrap().status();
                assert!(
                    status.is_client_error(),
                    "{path}?{query} {number}: {status}"
                );
            }
        }
    }
    let (_, value) = world.post_form("/token", &[("grant_type", "x")]).await;
    assert_ne!(value, Value::Null);
}

#[tokio::test]
async fn unknown_server_error_names_gateway() {
    let world = World::start().await;
    let named = format!("no such server at this gateway ({})", world.origin);
    for path in [
        "/nobody/mcp",
        "/nobody/sse",
        "/nobody/message",
        "/nobody",
        "/snippets",
        "/",
    ] {
        for method in [Method::GET, Method::POST] {
            let request = world.http.request(method.clone(), world.url(path));
            let response = request.send().await.unwrap();
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                continue;
            }
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
            assert!(!response.headers().contains_key("www-authenticate"));
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"]["message"], named, "{method} {path}");
            let hint = body["error"]["data"]["hint"].as_str().unwrap();
            assert!(hint.ends_with("/mcp"), "{hint}");
        }
    }
    for path in ["/nobody/mcp", "/nobody"] {
        let (status, _) = world.get_json(&format!("{PR}{path}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}
