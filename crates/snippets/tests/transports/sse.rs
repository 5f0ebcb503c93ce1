//! `/sse` and `/message`, as a host of 2024-11-05 uses them.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Harness, http_client, initialize, outcome, request, soon};

/// An open session: the event stream and the POST endpoint.
struct Session {
    client: reqwest::Client,
    events: Events,
    endpoint: String,
}

impl Session {
    async fn open(harness: &Harness, user: Option<&str>) -> Self {
        let client = http_client(user);
        let response = client.get(harness.at("/sse")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = Events {
            response,
            read: String::new(),
        };
        let (kind, path) = events.next().await.unwrap();
        assert_eq!(kind, "endpoint");
        assert!(path.starts_with("/message?sessionId="), "{path}");
        Self {
            client,
            events,
            endpoint: harness.at(&path),
        }
    }

    async fn post(&self, message: &Value) -> StatusCode {
        self.client
            .post(&self.endpoint)
            .json(message)
            .send()
            .await
            .unwrap()
            .status()
    }

    /// Posts a request and waits for the event with the response.
    async fn ask(&mut self, message: &Value) -> Value {
        assert_eq!(self.post(message).await, StatusCode::ACCEPTED);
        let (kind, data) = self.events.next().await.unwrap();
        assert_eq!(kind, "message");
        let response: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(response["id"], message["id"]);
        response
    }

    async fn handshake(&mut self) {
        let response = self.ask(&initialize(0, "2024-11-05")).await;
        assert_eq!(response["result"]["protocolVersion"], "2024-11-05");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.post(&initialized).await, StatusCode::ACCEPTED);
    }

    async fn call(&mut self, id: u64, tool: &str, arguments: Value) -> (String, bool) {
        let params = json!({ "name": tool, "arguments": arguments });
        let response = self.ask(&request(id, "tools/call", params)).await;
        let (text, is_error) = outcome(&response["result"]);
        (text.to_owned(), is_error)
    }
}

/// Reads events from a response and skips the comments between them.
struct Events {
    response: Response,
    read: String,
}

impl Events {
    /// Returns the name and data of the next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (parse(event), rest.to_owned());
                self.read = rest;
                if event.is_some() {
                    return event;
                }
            }
            let chunk = soon(self.response.chunk()).await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn parse(event: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        event
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
    };
    Some((field("event: ")?, field("data: ")?))
}

#[tokio::test]
async fn all_three_tools_work() {
    let harness = Harness::start().await;
    let mut session = Session::open(&harness, Some("ada")).await;
    session.handshake().await;

    let list = session.ask(&request(1, "tools/list", json!({}))).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 3);
    let hello = session.call(2, "hello_mcp", json!({})).await;
    assert_eq!(hello, ("Hello I am MCPTool!".to_owned(), false));
    let save = json!({ "snippetname": "n", "snippet": "over sse" });
    assert!(!session.call(3, "save_snippet", save).await.1);
    let got = session
        .call(4, "get_snippet", json!({ "snippetname": "n" }))
        .await;
    assert_eq!(got, ("over sse".to_owned(), false));
    let unknown = session
        .call(5, "get_snippet", json!({ "snippetname": "m" }))
        .await;
    assert!(
        unknown.1 && unknown.0.contains("no snippet named"),
        "{}",
        unknown.0
    );
}

#[tokio::test]
async fn users_cannot_read_each_others_snippets() {
    let harness = Harness::start().await;
    let mut ada = Session::open(&harness, Some("ada")).await;
    let mut bob = Session::open(&harness, Some("bob")).await;
    ada.handshake().await;
    bob.handshake().await;
    ada.call(
        1,
        "save_snippet",
        json!({ "snippetname": "n", "snippet": "of ada" }),
    )
    .await;
    assert!(
        bob.call(1, "get_snippet", json!({ "snippetname": "n" }))
            .await
            .1
    );
    assert_eq!(
        ada.call(2, "get_snippet", json!({ "snippetname": "n" }))
            .await
            .0,
        "of ada"
    );
}

#[tokio::test]
async fn session_rejects_other_users() {
    let harness = Harness::start().await;
    let ada = Session::open(&harness, Some("ada")).await;
    let ping = request(1, "ping", json!({}));
    for other in [Some("bob"), None] {
        let response = http_client(other)
            .post(&ada.endpoint)
            .json(&ping)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn invalid_message_is_rejected() {
    let harness = Harness::start().await;
    let session = Session::open(&harness, None).await;
    let post = |body: String| session.client.post(&session.endpoint).body(body).send();
    let garbage = post("half a mess".to_owned()).await.unwrap();
    assert_eq!(garbage.status(), StatusCode::BAD_REQUEST);
    assert!(garbage.text().await.unwrap().contains("hint: "));
    let huge = post(" ".repeat(1024 * 1024 + 1)).await.unwrap();
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        session.post(&initialize(1, "2024-11-05")).await,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn unknown_session_returns_404() {
    let harness = Harness::start().await;
    let never = "/message?sessionId=4be96cd3-4a3d-4b4e-9c69-6b2ff5a3b1d5";
    for path in [
        "/message",
        "/message?sessionId=",
        "/message?sessionId=../x",
        never,
    ] {
        let response = http_client(None)
            .post(harness.at(path))
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn closed_stream_ends_session() {
    let harness = Harness::start().await;
    let Session {
        client,
        events,
        endpoint,
    } = Session::open(&harness, None).await;
    drop(events);
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    soon(async {
        while client
            .post(&endpoint)
            .json(&note)
            .send()
            .await
            .unwrap()
            .status()
            != StatusCode::NOT_FOUND
        {}
    })
    .await;
}

#[tokio::test]
async fn shutdown_ends_open_streams() {
    let harness = Harness::start().await;
    let mut idle = Session::open(&harness, None).await;
    let mut busy = Session::open(&harness, Some("ada")).await;
    busy.handshake().await;
    harness.stop().await;
    assert_eq!(idle.events.next().await, None);
    assert_eq!(busy.events.next().await, None);
}
