//! Forwarding to the backends and back.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use super::browser::Browser;
use super::client::Client;
use super::world::{FUNCTIONS_KEY, MESSAGE, World};

#[tokio::test]
async fn d10_d11_t61_backend_gets_configured_credential_only() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let request = world.mcp("/mcp?x=1", &tokens.access);
    let request = request
        .header("x-functions-key", "callers")
        .header("x-postern-user", "evil");
    let request = request
        .header("x-forwarded-for", "1.2.3.4")
        .header("cookie", "a=b")
        .header("mcp-method", "tools/call");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    for name in ["set-cookie", "x-functions-key"] {
        assert!(answer.headers().get(name).is_none(), "{name}");
    }
    assert_eq!(answer.text().await.unwrap(), MESSAGE);
    let seen = world.backend.last();
    assert_eq!(seen.uri, "/mcp?x=1");
    assert_eq!(seen.body, MESSAGE);
    assert_eq!(seen.headers["x-functions-key"], FUNCTIONS_KEY);
    assert_eq!(
        seen.headers["x-postern-user"],
        format!("{}.oid-ada", super::identity_provider::TENANT)
    );
    assert_eq!(seen.headers["mcp-method"], "tools/call");
    assert_eq!(
        seen.headers["host"],
        world.backend.origin.trim_start_matches("http://")
    );
    for name in ["authorization", "cookie", "x-forwarded-for"] {
        assert!(seen.headers.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn g11_t50_challenge_contains_metadata_url() {
    let world = World::start().await;
    for (path, resource) in [
        ("/mcp", "/mcp"),
        ("/snippets/mcp", "/snippets/mcp"),
        ("/snippets/sse", "/snippets/sse"),
        ("/mcp/sse", "/mcp/sse"),
    ] {
        let answer = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        let metadata = world.url(&format!("/.well-known/oauth-protected-resource{resource}"));
        assert_eq!(
            challenge,
            format!("Bearer resource_metadata=\"{metadata}\", scope=\"mcp\"")
        );
        assert_eq!(
            world.http.get(metadata).send().await.unwrap().status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn d9_d13_t50_t51_invalid_access_token_always_gets_same_401() {
    let world = World::start().await;
    let (client, tokens) = world.session().await;
    let mut bad = vec![
        String::new(),
        "x".to_owned(),
        "v1.a.b.c".to_owned(),
        tokens.refresh.clone(),
        client.id.clone(),
    ];
    let length = tokens.access.len();
    for position in (0..length).step_by(7).chain([length - 1]) {
        let mut altered = tokens.access.clone().into_bytes();
        altered[position] = if altered[position] == b'A' {
            b'B'
        } else {
            b'A'
        };
        bad.push(String::from_utf8(altered).unwrap());
    }
    let mut answers = std::collections::BTreeSet::new();
    for token in &bad {
        let answer = world.mcp("/mcp", token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{token}");
        let challenge = answer.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", resource_metadata="));
        answers.insert((challenge, answer.text().await.unwrap()));
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    world.advance(3600);
    assert_eq!(
        world.mcp_status(&tokens.access).await,
        StatusCode::UNAUTHORIZED,
        "expired"
    );
    assert_eq!(world.backend.seen().len(), 1);
}

#[tokio::test]
async fn d28_t53_session_is_rejected_at_other_server() {
    let world =
        World::start_with(|text| text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n").await;
    let client = world.client().await;
    let browser = Browser::new();
    let other = Client {
        resource: Some(world.url("/other/mcp")),
        ..client.clone()
    };
    let (to_snippets, to_other) = (
        client.sign_in(&browser).await,
        other.sign_in(&browser).await,
    );
    let status = async |path, token: &str| world.mcp(path, token).send().await.unwrap().status();
    assert_eq!(status("/mcp", &to_snippets.access).await, StatusCode::OK);
    assert_eq!(
        status("/snippets/mcp", &to_snippets.access).await,
        StatusCode::OK
    );
    assert_eq!(
        status("/other/mcp", &to_snippets.access).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(status("/other/mcp", &to_other.access).await, StatusCode::OK);
    assert_eq!(
        status("/mcp", &to_other.access).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("/snippets/mcp", &to_other.access).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("/nobody/mcp", &to_other.access).await,
        StatusCode::NOT_FOUND,
        "T58"
    );
    assert!(
        world
            .backend
            .last()
            .headers
            .get("x-functions-key")
            .is_none(),
        "keys are per server"
    );
}

#[tokio::test]
async fn t85_missing_scopes_are_named() {
    let world = World::start_with(|text| {
        text.replace("title = \"Snippets\"", "scopes = [\"read\", \"write\"]")
    })
    .await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser
        .open(&client.authorize_url(&[("scope", "read")]))
        .await;
    let back = browser.press(&page, "allow").await;
    let (_, answer) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
    let answer = world
        .mcp("/mcp", answer["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"")
            && challenge.ends_with("scope=\"read write\""),
        "who asks for just that has to get in: {challenge}"
    );
    let body: Value = answer.json().await.unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("permissions: write"), "{message}");
}

#[tokio::test]
async fn t55_token_in_query_is_rejected() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    for path in ["/mcp", "/userinfo"] {
        let url = world.url_with(path, &[("access_token", &tokens.access)]);
        let plain = world.http.get(&url).send().await.unwrap();
        assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
        let both = world
            .http
            .get(&url)
            .bearer_auth(&tokens.access)
            .send()
            .await
            .unwrap();
        assert_eq!(both.status(), StatusCode::BAD_REQUEST);
    }
    assert!(world.backend.seen().is_empty());
}

#[tokio::test]
async fn t65_mcp_session_is_bound_to_user_and_client() {
    let world = World::start().await;
    let (client, tokens) = world.session().await;
    let answer = world.mcp("/mcp", &tokens.access).send().await.unwrap();
    let id = answer.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(!id.contains("backend-session"));
    let with = |token: &str, id: &str| world.mcp("/mcp", token).header("mcp-session-id", id).send();
    assert_eq!(
        with(&tokens.access, &id).await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        world.backend.last().headers["mcp-session-id"],
        "backend-session-1"
    );
    let again = client.sign_in(&Browser::new()).await;
    assert_eq!(
        with(&again.access, &id).await.unwrap().status(),
        StatusCode::OK,
        "a new sign-in"
    );
    let (_, adas_other_client) = world.session().await;
    world.provider.sign_in_as("bob");
    let bob = client.sign_in(&Browser::new()).await;
    let seen = world.backend.seen().len();
    for (token, id) in [
        (&bob.access, &*id),
        (&adas_other_client.access, &id),
        (&tokens.access, "backend-session-1"),
        (&tokens.access, ""),
    ] {
        assert_eq!(
            with(token, id).await.unwrap().status(),
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(world.backend.seen().len(), seen);
}

#[tokio::test]
async fn t42_t70_long_request_is_rejected_and_response_streamed() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let most = vec![b'x'; 16 << 20];
    let answer = world
        .mcp("/mcp", &tokens.access)
        .body(most.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.bytes().await.unwrap().len(), most.len());
    let mut more = most;
    more.push(b'x');
    let answer = world
        .mcp("/mcp", &tokens.access)
        .body(more.clone())
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let pieces: Vec<_> = more
        .chunks(1 << 20)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect();
    let body = reqwest::Body::wrap_stream(tokio_stream::iter(pieces));
    let answer = world
        .mcp("/mcp", &tokens.access)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::PAYLOAD_TOO_LARGE,
        "without a length too"
    );
}

#[tokio::test]
async fn t71_backend_failure_is_reported_without_its_content() {
    let world = World::start_with(|text| {
        text + "\n[servers.lost]\nurl = \"{backend}/redirect\"\n[servers.locked]\nurl = \"{backend}/locked\"\n\
                [servers.down]\nurl = \"http://127.0.0.1:1/mcp\"\ntitle = \"The one that is down\"\n"
    })
    .await;
    let client = world.client().await;
    for (name, code, kind) in [
        ("lost", 1110, "server-misconfigured"),
        ("locked", 1110, "server-misconfigured"),
        ("down", 1109, "server-down"),
    ] {
        let path = format!("/{name}/mcp");
        let client = Client {
            resource: Some(world.url(&path)),
            ..client.clone()
        };
        let tokens = client.sign_in(&Browser::new()).await;
        let answer = world.mcp(&path, &tokens.access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{name}");
        for header in ["location", "www-authenticate"] {
            assert!(answer.headers().get(header).is_none(), "{name}");
        }
        let text = answer.text().await.unwrap();
        assert!(!text.contains("127.0.0.1"), "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["jsonrpc"], "2.0");
        assert_eq!(body["error"]["code"], code);
        assert_eq!(body["error"]["data"]["kind"], kind);
        assert_eq!(body["error"]["data"]["server"], name);
    }
}

#[tokio::test]
async fn silent_backend_times_out() {
    let world = World::start_with(|text| {
        text.replace("url = \"{backend}/mcp\"", "url = \"{backend}/silent\"")
    })
    .await;
    let (_, tokens) = world.session().await;
    let answer = tokio::spawn(world.mcp("/mcp", &tokens.access).send());
    world.backend.ignored().await;
    world.pass(Duration::from_secs(10 * 60 + 1)).await;
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], 1111);
    assert_eq!(body["error"]["data"]["kind"], "server-slow");
}

#[tokio::test]
async fn t69_connection_without_request_is_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start().await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = "\0\0\0\x04\0\0\0\0\0";
    for begin in [
        "",
        "PRI * HT",
        "POST /mcp HTTP/1.1\r\nHost:",
        &format!("{preface}{settings}"),
    ] {
        let host = world.origin.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        // Connections are accepted in order: this one was accepted when the next one gets a response.
        world.get_json("/healthz").await;
        world.pass(Duration::from_secs(16)).await;
        let closed = stream.read_to_end(&mut Vec::new()).await;
        assert!(closed.is_ok(), "{begin:?}");
    }
}

#[tokio::test]
async fn t54_requests_fail_while_store_fails() {
    let mut world = World::start().await;
    let (_, tokens) = {
        let (client, tokens) = world.session().await;
        (client.id.clone(), tokens)
    };
    world.restart().await;
    let database = rusqlite::Connection::open(world.data_dir().join("gateway.sqlite")).unwrap();
    database
        .execute_batch("ALTER TABLE sessions RENAME TO lost; ALTER TABLE clients RENAME TO gone;")
        .unwrap();
    let seen = world.backend.seen().len();
    let answer = world.mcp("/mcp", &tokens.access).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(world.get_json("/healthz").await.0, StatusCode::OK);
    for path in ["/userinfo", "/account/consents", "/readyz"] {
        assert_eq!(
            world.get_as(path, &tokens.access).await.0,
            StatusCode::SERVICE_UNAVAILABLE,
            "{path}"
        );
    }
    assert_eq!(
        world.get_json("/authorize?client_id=x").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*tokens.refresh),
        ("client_id", "x"),
    ];
    assert_eq!(
        world.post_form("/token", &form).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(world.backend.seen().len(), seen);
}

#[tokio::test]
async fn t67_web_page_needs_allowed_origin() {
    let world = World::start_with(|text| {
        text.replace(
            "root_server",
            "allowed_origins = [\"https://app.example\"]\nroot_server",
        )
    })
    .await;
    let (_, tokens) = world.session().await;
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
        "http://app.example",
    ] {
        let answer = world
            .mcp("/mcp", &tokens.access)
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
        assert!(
            answer
                .headers()
                .get("access-control-allow-origin")
                .is_none()
        );
    }
    let twice = world
        .mcp("/mcp", &tokens.access)
        .header("origin", "https://app.example");
    let twice = twice
        .header("origin", "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(twice.status(), StatusCode::FORBIDDEN);
    let answer = world
        .mcp("/mcp", &tokens.access)
        .header("origin", "https://app.example")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(
        answer.headers()["access-control-expose-headers"],
        "Mcp-Session-Id, WWW-Authenticate"
    );
    let preflight = world
        .http
        .request(Method::OPTIONS, world.url("/mcp"))
        .header("origin", "https://app.example");
    assert_eq!(
        preflight.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
}

/// Sends bytes unchanged. Returns the first line of the response.
async fn raw(world: &World, request: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = world.origin.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = request.replace("{host}", host);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn t68_ambiguous_framing_smuggles_no_request() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let smuggled = "POST /snippets/mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
        tokens.access
    );
    let chunked = format!("5\r\nhello\r\n0\r\n\r\n{smuggled}");
    for (framing, body) in [
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            &*chunked,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            &chunked,
        ),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        ("Content-Length: 5, 6\r\n", "hello!"),
        ("Content-Length: +5\r\n", "hello"),
        ("Transfer-Encoding: chunked, identity\r\n", &chunked),
        (
            "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
            "hello",
        ),
        ("Content-Length : 5\r\n", "hello"),
        ("Content-Length: 5\r\nX: a\r\n b\r\n", "hello"),
        ("Content-Length: 5\r\nHost: evil.example\r\n", "hello"),
        ("Content-Length: 5\r\nX: a\0b\r\n", "hello"),
    ] {
        let before = world.backend.seen().len();
        let answer = raw(&world, format!("{head}{framing}\r\n{body}")).await;
        let seen = world.backend.seen().split_off(before);
        let told: Vec<_> = seen.iter().map(|seen| seen.body.clone()).collect();
        let whole = answer.contains(" 200 ") && told == ["hello"];
        let refused = answer.contains(" 4") && told.is_empty();
        assert!(whole || refused, "{framing:?}: {answer} {told:?}");
    }
}
