//! Sign-in by URL elicitation: the host shows the page, and the bridge opens no browser.
//!
//! Owns: hosts with URL mode, of both eras and over every transport.
//! Does not own: the transports (`matrix`), or what else opens a browser (`sign_ins`).

use std::{process::Output, time::Duration};

use control::api::{Request, SignInWay};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, bridge::Bridge, until, within},
    matrix::wire::{Incoming, Wire},
};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A host. It opens no page by itself.
struct Host {
    wire: Wire,
    is_modern: bool,
    capabilities: Value,
    last_id: u64,
    received: Vec<Value>,
}

/// A URL elicitation.
struct UrlElicitation {
    page: String,
    /// The bridge's request, or the result with the input request.
    message: Value,
}

impl Host {
    /// Creates a legacy host with URL mode.
    async fn legacy(wire: Wire) -> Self {
        Self::initialize(wire, json!({ "elicitation": { "url": {} } })).await
    }

    /// Creates a legacy host without URL mode.
    async fn without_url_mode(wire: Wire) -> Self {
        Self::initialize(wire, json!({ "elicitation": {} })).await
    }

    async fn initialize(wire: Wire, capabilities: Value) -> Self {
        let mut host = Self::modern(wire);
        host.is_modern = false;
        host.capabilities = capabilities.clone();
        let params = json!({
            "protocolVersion": LEGACY,
            "capabilities": capabilities,
            "clientInfo": { "name": "a host with pages", "version": "1" },
        });
        let id = host.send_request("initialize", params).await;
        host.response(id).await;
        host.wire.agreed(LEGACY);
        host.send(json!({ "method": "notifications/initialized" }))
            .await;
        host
    }

    /// Creates a modern host.
    fn modern(wire: Wire) -> Self {
        Self {
            wire,
            is_modern: true,
            capabilities: json!({ "elicitation": { "form": {}, "url": {} } }),
            last_id: 0,
            received: Vec::new(),
        }
    }

    /// Calls the server's tool and returns the id of the request.
    async fn call(&mut self) -> u64 {
        self.call_with(json!({})).await
    }

    async fn call_with(&mut self, more: Value) -> u64 {
        let mut params = json!({ "name": "hello_mcp", "arguments": {} });
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        self.send_request("tools/call", params).await
    }

    async fn send_request(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        if self.is_modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        let id = self.last_id;
        self.send(json!({ "id": id, "method": method, "params": params }))
            .await;
        id
    }

    async fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        self.wire.send(message).await;
    }

    /// Waits for the elicitation. A modern host gets it in the response to `id`.
    async fn elicitation(&mut self, id: u64) -> UrlElicitation {
        let message = match self.is_modern {
            true => self.response(id).await,
            false => {
                let asks = |message: &Value| message["method"] == "elicitation/create";
                self.receive(asks).await
            }
        };
        let params = match self.is_modern {
            true => {
                assert_eq!(message["result"]["resultType"], "input_required");
                let asked = &message["result"]["inputRequests"]["page"];
                assert_eq!(asked["method"], "elicitation/create", "{message}");
                &asked["params"]
            }
            false => {
                let id = &message["params"]["elicitationId"];
                assert_eq!(*id, message["id"], "{message}");
                &message["params"]
            }
        };
        assert_eq!(params["mode"], "url", "{message}");
        let text = params["message"].as_str().expect("a text");
        assert!(text.starts_with("snippets needs you to sign in"), "{text}");
        UrlElicitation {
            page: params["url"].as_str().expect("a page").to_owned(),
            message,
        }
    }

    /// Sends the user's action. Returns the id of the request that gets the response then.
    async fn respond(&mut self, elicitation: &UrlElicitation, call: u64, action: &str) -> u64 {
        let response = json!({ "action": action });
        if self.is_modern {
            let state = &elicitation.message["result"]["requestState"];
            let given = json!({ "inputResponses": { "page": response }, "requestState": state });
            return self.call_with(given).await;
        }
        self.send(json!({ "id": elicitation.message["id"], "result": response }))
            .await;
        call
    }

    /// The same after the minimum time of a user.
    async fn respond_as_user(
        &mut self,
        elicitation: &UrlElicitation,
        call: u64,
        action: &str,
    ) -> u64 {
        // An answer within a second counts as the host's own.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.respond(elicitation, call, action).await
    }

    async fn response(&mut self, id: u64) -> Value {
        self.receive(|message| message.get("method").is_none() && message["id"] == id)
            .await
    }

    async fn expect_hello(&mut self, id: u64) {
        let answer = self.response(id).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        assert!(text.is_some_and(|text| text.contains("Hello")), "{answer}");
    }

    /// Returns the error code of a response.
    async fn error_code(&mut self, id: u64) -> i64 {
        let answer = self.response(id).await;
        let code = answer["error"]["code"].as_i64();
        code.unwrap_or_else(|| panic!("no error: {answer}"))
    }

    async fn notification(&mut self, method: &str) -> Value {
        self.receive(|message| message["method"] == method).await
    }

    /// Returns the next matching message and keeps all others.
    async fn receive(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.received.iter().position(&is_it) {
            return self.received.remove(at);
        }
        loop {
            match within("a message", self.wire.next()).await {
                Incoming::Message { message, .. } if is_it(&message) => return message,
                Incoming::Message { message, .. } => self.received.push(message),
                Incoming::Ended(_) => {}
            }
        }
    }

    /// Checks that no received message is an elicitation.
    fn assert_not_elicited(&self) {
        for message in &self.received {
            let asks = message["method"] == "elicitation/create"
                || message["result"]["resultType"] == "input_required";
            assert!(!asks, "{message}");
        }
    }
}

/// Starts a bridge with the gateway's server, in a folder of its own.
async fn bridge(harness: &Harness, name: &str, wait_seconds: u64) -> Bridge {
    let config = format!(
        "[bridge]\nport = 0\nsign_in_wait_seconds = {wait_seconds}\n[servers.snippets]\nurl = \"{}/snippets/mcp\"\n",
        harness.servers.gateway_url()
    );
    let bridge = Bridge::configured(&harness.folder().join(name), &config);
    bridge.start().await;
    bridge
}

fn stdio(bridge: &Bridge) -> Wire {
    Wire::stdio(bridge, "snippets")
}

async fn endpoint(bridge: &Bridge) -> String {
    let state = bridge.state().await;
    state.servers[0].endpoint.clone().expect("an endpoint")
}

fn server() -> String {
    "snippets".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_url_mode_sign_in_without_bridge_browser() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "every", 50).await;
    let url = endpoint(&bridge).await;
    // The first host gets the elicitation at once, because no account ever signed in. The others
    // get it when they call.
    let mut hosts = Vec::new();
    for wire in [stdio(&bridge), Wire::streamable(url.clone())] {
        hosts.push(Host::legacy(wire).await);
    }
    hosts.extend([stdio(&bridge), Wire::stateless(url)].map(Host::modern));
    for mut host in hosts {
        let call = host.call().await;
        let elicitation = host.elicitation(call).await;
        assert!(elicitation.page.starts_with(&harness.servers.gateway_url()));
        assert!(elicitation.page.contains("code_challenge="));
        let call = host.respond(&elicitation, call, "accept").await;
        harness.sign_in_at(&elicitation.page).await;
        if !host.is_modern {
            let done = host
                .notification("notifications/elicitation/complete")
                .await;
            let id = &elicitation.message["id"];
            assert_eq!(done["params"]["elicitationId"], *id, "{done}");
        }
        host.expect_hello(call).await;
        bridge.sign_out().await;
        host.assert_not_elicited();
    }
    assert_eq!(bridge.browser.page_count(), 0);
    let said = harness.servers.gateway_proxy.requests().join("\n");
    assert!(said.contains("hello_mcp"), "the calls were recorded");
    for ours in ["postern-page", "inputResponses", "requestState"] {
        assert!(!said.contains(ours), "the server received {ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_elicitation_is_not_repeated_until_user_signs_in() {
    let harness = Harness::start().await;
    for (name, action) in [("legacy", "decline"), ("modern", "cancel")] {
        let bridge = bridge(&harness, name, 5).await;
        let mut host = match name {
            "modern" => Host::modern(Wire::stateless(endpoint(&bridge).await)),
            _ => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        let elicitation = host.elicitation(call).await;
        let call = host.respond_as_user(&elicitation, call, action).await;
        assert_eq!(
            host.error_code(call).await,
            1008,
            "the sign-in was cancelled"
        );
        let call = host.call().await;
        assert_eq!(host.error_code(call).await, 1001, "a sign-in is needed");
        host.assert_not_elicited();
        assert_eq!(bridge.browser.page_count(), 0);
        assert_eq!(bridge.state().await.sign_ins, []);

        let (mut client, server) = (bridge.connect().await, server());
        let way = SignInWay::Local;
        let request = Request::SignIn { server, way };
        let (_, page) = tokio::join!(client.call(&request), async {
            let page = bridge.browser.page(0).await;
            let server = self::server();
            bridge.request(Request::CancelSignIn { server }).await;
            page
        });
        assert_ne!(page, elicitation.page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_sign_in_cancels_elicitation() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "cancelled", 5).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let elicitation = host.elicitation(call).await;
    let cancel = Request::CancelSignIn { server: server() };
    bridge.request(cancel).await;
    let withdrawn = host.notification("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], elicitation.message["id"]);
    assert_eq!(host.error_code(call).await, 1008);

    // A late response is ignored.
    host.respond(&elicitation, call, "accept").await;
    let call = host.call().await;
    assert_eq!(host.error_code(call).await, 1001);
    let mut modern = Host::modern(stdio(&bridge));
    let late = json!({
        "inputResponses": { "page": { "action": "accept" } },
        "requestState": elicitation.message["id"],
    });
    let call = modern.call_with(late).await;
    assert_eq!(modern.error_code(call).await, 1001);
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn elicitation_moves_to_next_host_on_disconnect() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "several", 50).await;
    let mut first = Host::legacy(stdio(&bridge)).await;
    let call = first.call().await;
    let gone = first.elicitation(call).await;
    let mut second = Host::legacy(stdio(&bridge)).await;
    let second_call = second.call().await;
    let mut without_url_mode = Host::without_url_mode(stdio(&bridge)).await;
    let unable_call = without_url_mode.call().await;
    let mut alone = Host::modern(Wire::stateless(endpoint(&bridge).await));
    let alone_call = alone.call().await;

    drop(first);
    let elicitation = second.elicitation(second_call).await;
    assert_eq!(elicitation.page, gone.page, "one page for all");
    assert_ne!(elicitation.message["id"], gone.message["id"]);
    let second_call = second.respond(&elicitation, second_call, "accept").await;
    harness.sign_in_at(&elicitation.page).await;
    second.expect_hello(second_call).await;
    without_url_mode.expect_hello(unable_call).await;
    alone.expect_hello(alone_call).await;
    for host in [second, without_url_mode, alone] {
        host.assert_not_elicited();
    }
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_sign_in_replaces_elicitation_and_answers_host() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "meanwhile", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let elicitation = host.elicitation(call).await;
    let (mut client, server) = (bridge.connect().await, server());
    let way = SignInWay::Local;
    let request = Request::SignIn { server, way };
    let signing_in = async {
        let page = bridge.browser.page(0).await;
        let withdrawn = host.notification("notifications/cancelled").await;
        assert_eq!(withdrawn["params"]["requestId"], elicitation.message["id"]);
        harness.sign_in_at(&page).await;
    };
    let (ended, ()) = tokio::join!(client.call(&request), signing_in);
    ended.expect("a sign-in");
    host.expect_hello(call).await;
    host.assert_not_elicited();
}

/// Returns the URLs that a command printed.
fn printed_urls(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = stderr.lines().filter(|line| line.starts_with("  http"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_command_reuses_page_of_elicitation() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "one-address", 50).await;
    let url = endpoint(&bridge).await;
    let cases = [
        ("legacy", "accept"),
        ("legacy", "decline"),
        ("modern", "accept"),
        ("modern", "decline"),
    ];
    for (tab, (era, action)) in cases.into_iter().enumerate() {
        let mut host = match era {
            "modern" => Host::modern(Wire::stateless(url.clone())),
            _ => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        let elicitation = host.elicitation(call).await;
        let signing_in = async {
            let page = bridge.browser.page(tab).await;
            assert_eq!(
                page, elicitation.page,
                "the page that the host was asked to show"
            );
            if !host.is_modern {
                let withdrawn = host.notification("notifications/cancelled").await;
                assert_eq!(withdrawn["params"]["requestId"], elicitation.message["id"]);
            }
            // This response is too late to affect the sign-in of another client.
            let call = host.respond_as_user(&elicitation, call, action).await;
            if host.is_modern && action == "decline" {
                assert_eq!(host.error_code(call).await, 1008);
            }
            harness.sign_in_at(&page).await;
            if !host.is_modern || action == "accept" {
                host.expect_hello(call).await;
            }
        };
        let commands = async {
            let command = ["sign-in", "snippets"];
            tokio::join!(bridge.output(&command, ""), bridge.output(&command, ""))
        };
        let (ended, ()) = tokio::join!(commands, signing_in);
        for output in [ended.0, ended.1] {
            assert!(output.status.success(), "{output:?}");
            assert_eq!(
                printed_urls(&output),
                [elicitation.page.as_str()],
                "{era} {action}"
            );
        }
        assert_eq!(bridge.browser.page_count(), tab + 1);
        host.assert_not_elicited();
        bridge.sign_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_command_with_paste_prints_only_new_page() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "another-way", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let elicitation = host.elicitation(call).await;
    let signing_in = async {
        let page = until("the page to paste from", async || {
            let views = bridge.state().await.sign_ins;
            let view = views.into_iter().find(|view| view.takes_address);
            view.map(|view| view.url)
        });
        let page = page.await;
        host.notification("notifications/cancelled").await;
        harness.sign_in_at(&page).await;
        page
    };
    let command = ["sign-in", "snippets", "--paste"];
    let (output, page) = tokio::join!(bridge.output(&command, ""), signing_in);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(page, elicitation.page);
    assert_eq!(printed_urls(&output), [page]);
    host.expect_hello(call).await;
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn elicitation_declined_at_once_opens_browser() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "headless", 50).await;
    let url = endpoint(&bridge).await;
    let wires = [
        (false, stdio(&bridge), "decline"),
        (false, Wire::streamable(url.clone()), "decline"),
        (true, stdio(&bridge), "decline"),
        (true, Wire::stateless(url), "cancel"),
    ];
    for (tab, (is_modern, wire, action)) in wires.into_iter().enumerate() {
        let mut host = match is_modern {
            true => Host::modern(wire),
            false => Host::legacy(wire).await,
        };
        let call = host.call().await;
        let elicitation = host.elicitation(call).await;
        let call = host.respond(&elicitation, call, action).await;
        let page = bridge.browser.page(tab).await;
        assert_eq!(page, elicitation.page, "the page goes on");
        harness.sign_in_at(&page).await;
        host.expect_hello(call).await;
        host.assert_not_elicited();
        bridge.sign_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_declines_of_many_hosts_open_one_tab() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "storm", 2).await;
    let mut first = Host::legacy(stdio(&bridge)).await;
    let call = first.call().await;
    let elicitation = first.elicitation(call).await;
    first.respond(&elicitation, call, "decline").await;
    bridge.browser.page(0).await;
    assert_eq!(first.error_code(call).await, 1001);
    for is_modern in [true, false, true] {
        let mut host = match is_modern {
            true => Host::modern(stdio(&bridge)),
            false => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        // The page is pending, and no host gets another elicitation.
        assert_eq!(host.error_code(call).await, 1001);
        host.assert_not_elicited();
    }
    let server = server();
    bridge.request(Request::CancelSignIn { server }).await;
    let call = first.call().await;
    assert_eq!(first.error_code(call).await, 1001);
    first.assert_not_elicited();
    assert_eq!(bridge.browser.page_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_elicitation_opens_browser() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "no-url-mode", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let elicitation = host.elicitation(call).await;
    let error = json!({ "code": -32602, "message": "this mode is unknown" });
    host.send(json!({ "id": elicitation.message["id"], "error": error }))
        .await;
    let page = bridge.browser.page(0).await;
    harness.sign_in_at(&page).await;
    host.expect_hello(call).await;
    host.assert_not_elicited();
}

#[tokio::test(flavor = "multi_thread")]
async fn host_without_stream_gets_elicitation_with_next_request() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "streamless", 1).await;
    let mut host = Host::legacy(Wire::streamable(endpoint(&bridge).await)).await;
    // No tool was called yet, so this is the only reason for an elicitation.
    until("the page", async || {
        let state = bridge.state().await;
        (!state.sign_ins.is_empty()).then_some(())
    })
    .await;
    let list = host.send_request("tools/list", json!({})).await;
    let elicitation = host.elicitation(list).await;
    host.response(list).await;
    host.respond_as_user(&elicitation, list, "decline").await;
    until("its end", async || {
        let state = bridge.state().await;
        state.sign_ins.is_empty().then_some(())
    })
    .await;
    assert_eq!(bridge.browser.page_count(), 0);
}
