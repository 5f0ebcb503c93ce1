//! Signing in on a page that a host shows, in place of a browser that the bridge opens.
//!
//! Owns: hosts that can be asked to, of both eras and over every face. Does not own: how their
//! messages travel (`matrix`), or what else opens a browser (`sign_ins`).

use std::{process::Output, time::Duration};

use control::api::{Request, SignInWay};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, bridge::Bridge, until, within},
    matrix::wire::{Heard, Wire},
};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A host. It opens no page by itself.
struct Host {
    wire: Wire,
    is_modern: bool,
    capabilities: Value,
    last_id: u64,
    heard: Vec<Value>,
}

/// What a host was asked.
struct Question {
    page: String,
    /// The request of the bridge, or the result that asks.
    message: Value,
}

impl Host {
    /// One with a handshake, whose person can be shown pages.
    async fn legacy(wire: Wire) -> Self {
        Self::shaking_hands(wire, json!({ "elicitation": { "url": {} } })).await
    }

    /// One with a handshake that cannot be asked.
    async fn unable(wire: Wire) -> Self {
        Self::shaking_hands(wire, json!({ "elicitation": {} })).await
    }

    async fn shaking_hands(wire: Wire, capabilities: Value) -> Self {
        let mut host = Self::modern(wire);
        host.is_modern = false;
        host.capabilities = capabilities.clone();
        let params = json!({
            "protocolVersion": LEGACY,
            "capabilities": capabilities,
            "clientInfo": { "name": "a host with pages", "version": "1" },
        });
        let id = host.ask("initialize", params).await;
        host.answer(id).await;
        host.wire.agreed(LEGACY);
        host.say(json!({ "method": "notifications/initialized" }))
            .await;
        host
    }

    /// One without.
    fn modern(wire: Wire) -> Self {
        Self {
            wire,
            is_modern: true,
            capabilities: json!({ "elicitation": { "form": {}, "url": {} } }),
            last_id: 0,
            heard: Vec::new(),
        }
    }

    /// Calls the server's tool; the id of the request.
    async fn call(&mut self) -> u64 {
        self.call_with(json!({})).await
    }

    async fn call_with(&mut self, more: Value) -> u64 {
        let mut params = json!({ "name": "hello_mcp", "arguments": {} });
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        self.ask("tools/call", params).await
    }

    async fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        if self.is_modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        let id = self.last_id;
        self.say(json!({ "id": id, "method": method, "params": params }))
            .await;
        id
    }

    async fn say(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        self.wire.send(message).await;
    }

    /// Waits until it is asked: in the answer to the call `id`, if it has no handshake.
    async fn question(&mut self, id: u64) -> Question {
        let message = match self.is_modern {
            true => self.answer(id).await,
            false => {
                let asks = |message: &Value| message["method"] == "elicitation/create";
                self.hear(asks).await
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
        Question {
            page: params["url"].as_str().expect("a page").to_owned(),
            message,
        }
    }

    /// Says what the person has done; the id of the call that is to be answered then.
    async fn respond(&mut self, question: &Question, call: u64, action: &str) -> u64 {
        let response = json!({ "action": action });
        if self.is_modern {
            let state = &question.message["result"]["requestState"];
            let given = json!({ "inputResponses": { "page": response }, "requestState": state });
            return self.call_with(given).await;
        }
        self.say(json!({ "id": question.message["id"], "result": response }))
            .await;
        call
    }

    /// The same after the time that a person takes at least.
    async fn respond_as_person(&mut self, question: &Question, call: u64, action: &str) -> u64 {
        // What comes sooner than a second is taken for an answer of the host itself.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.respond(question, call, action).await
    }

    async fn answer(&mut self, id: u64) -> Value {
        self.hear(|message| message.get("method").is_none() && message["id"] == id)
            .await
    }

    async fn greeting(&mut self, id: u64) {
        let answer = self.answer(id).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        assert!(text.is_some_and(|text| text.contains("Hello")), "{answer}");
    }

    /// The code of the error that a call ends with.
    async fn refusal(&mut self, id: u64) -> i64 {
        let answer = self.answer(id).await;
        let code = answer["error"]["code"].as_i64();
        code.unwrap_or_else(|| panic!("no error: {answer}"))
    }

    async fn told(&mut self, method: &str) -> Value {
        self.hear(|message| message["method"] == method).await
    }

    /// The next message of that kind; others are kept.
    async fn hear(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.heard.iter().position(&is_it) {
            return self.heard.remove(at);
        }
        loop {
            match within("a message", self.wire.next()).await {
                Heard::Message { message, .. } if is_it(&message) => return message,
                Heard::Message { message, .. } => self.heard.push(message),
                Heard::Ended(_) => {}
            }
        }
    }

    /// Nothing of what came so far asked anything.
    fn was_not_asked(&self) {
        for message in &self.heard {
            let asks = message["method"] == "elicitation/create"
                || message["result"]["resultType"] == "input_required";
            assert!(!asks, "{message}");
        }
    }
}

/// A bridge in front of the gateway's server, in a folder of its own.
async fn bridge(harness: &Harness, name: &str, patience: u64) -> Bridge {
    let config = format!(
        "[bridge]\nport = 0\nsign_in_wait_seconds = {patience}\n[servers.snippets]\nurl = \"{}/snippets/mcp\"\n",
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
async fn every_host_that_can_show_pages_signs_in_without_a_browser_of_the_bridges() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "every", 50).await;
    let url = endpoint(&bridge).await;
    // The first is asked at once, because nobody ever signed in; the others when they call.
    let mut hosts = Vec::new();
    for wire in [stdio(&bridge), Wire::streamable(url.clone())] {
        hosts.push(Host::legacy(wire).await);
    }
    hosts.extend([stdio(&bridge), Wire::alone(url)].map(Host::modern));
    for mut host in hosts {
        let call = host.call().await;
        let question = host.question(call).await;
        assert!(question.page.starts_with(&harness.servers.gateway_url()));
        assert!(question.page.contains("code_challenge="));
        let call = host.respond(&question, call, "accept").await;
        harness.sign_in_at(&question.page).await;
        if !host.is_modern {
            let done = host.told("notifications/elicitation/complete").await;
            let id = &question.message["id"];
            assert_eq!(done["params"]["elicitationId"], *id, "{done}");
        }
        host.greeting(call).await;
        bridge.sign_out().await;
        host.was_not_asked();
    }
    assert_eq!(bridge.browser.page_count(), 0);
    let said = harness.servers.front.said().join("\n");
    assert!(
        said.contains("hello_mcp"),
        "the calls are among what was said"
    );
    for ours in ["postern-page", "inputResponses", "requestState"] {
        assert!(!said.contains(ours), "the server was told {ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_declines_is_not_asked_again_until_somebody_wishes_to_sign_in() {
    let harness = Harness::start().await;
    for (name, action) in [("legacy", "decline"), ("modern", "cancel")] {
        let bridge = bridge(&harness, name, 5).await;
        let mut host = match name {
            "modern" => Host::modern(Wire::alone(endpoint(&bridge).await)),
            _ => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        let question = host.question(call).await;
        let call = host.respond_as_person(&question, call, action).await;
        assert_eq!(host.refusal(call).await, 1008, "the sign-in was cancelled");
        let call = host.call().await;
        assert_eq!(host.refusal(call).await, 1001, "a sign-in is needed");
        host.was_not_asked();
        assert_eq!(bridge.browser.page_count(), 0);
        assert_eq!(bridge.state().await.sign_ins, []);

        let (mut client, server) = (bridge.connect().await, server());
        let way = SignInWay::Here;
        let wish = Request::SignIn { server, way };
        let (_, page) = tokio::join!(client.call(&wish), async {
            let page = bridge.browser.page(0).await;
            let server = self::server();
            bridge.ask(Request::CancelSignIn { server }).await;
            page
        });
        assert_ne!(page, question.page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_withdrawn_when_the_sign_in_is_cancelled_elsewhere() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "cancelled", 5).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let question = host.question(call).await;
    let cancel = Request::CancelSignIn { server: server() };
    bridge.ask(cancel).await;
    let withdrawn = host.told("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], question.message["id"]);
    assert_eq!(host.refusal(call).await, 1008);

    // An answer that comes too late is nobody's.
    host.respond(&question, call, "accept").await;
    let call = host.call().await;
    assert_eq!(host.refusal(call).await, 1001);
    let mut modern = Host::modern(stdio(&bridge));
    let late = json!({
        "inputResponses": { "page": { "action": "accept" } },
        "requestState": question.message["id"],
    });
    let call = modern.call_with(late).await;
    assert_eq!(modern.refusal(call).await, 1001);
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_one_is_asked_and_another_when_that_one_goes() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "several", 50).await;
    let mut first = Host::legacy(stdio(&bridge)).await;
    let call = first.call().await;
    let gone = first.question(call).await;
    let mut second = Host::legacy(stdio(&bridge)).await;
    let second_call = second.call().await;
    let mut unable = Host::unable(stdio(&bridge)).await;
    let unable_call = unable.call().await;
    let mut alone = Host::modern(Wire::alone(endpoint(&bridge).await));
    let alone_call = alone.call().await;

    drop(first);
    let question = second.question(second_call).await;
    assert_eq!(question.page, gone.page, "one page for all");
    assert_ne!(question.message["id"], gone.message["id"]);
    let second_call = second.respond(&question, second_call, "accept").await;
    harness.sign_in_at(&question.page).await;
    second.greeting(second_call).await;
    unable.greeting(unable_call).await;
    alone.greeting(alone_call).await;
    for host in [second, unable, alone] {
        host.was_not_asked();
    }
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_signs_in_meanwhile_has_a_browser_and_the_host_has_its_answer() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "meanwhile", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let question = host.question(call).await;
    let (mut client, server) = (bridge.connect().await, server());
    let way = SignInWay::Here;
    let wish = Request::SignIn { server, way };
    let signing_in = async {
        let page = bridge.browser.page(0).await;
        let withdrawn = host.told("notifications/cancelled").await;
        assert_eq!(withdrawn["params"]["requestId"], question.message["id"]);
        harness.sign_in_at(&page).await;
    };
    let (ended, ()) = tokio::join!(client.call(&wish), signing_in);
    ended.expect("a sign-in");
    host.greeting(call).await;
    host.was_not_asked();
}

/// The addresses that a command told a person.
fn addresses(output: &Output) -> Vec<String> {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = told.lines().filter(|line| line.starts_with("  http"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_by_command_keeps_page_that_host_was_asked_to_show() {
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
            "modern" => Host::modern(Wire::alone(url.clone())),
            _ => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        let question = host.question(call).await;
        let signing_in = async {
            let page = bridge.browser.page(tab).await;
            assert_eq!(
                page, question.page,
                "the page that the host was asked to show"
            );
            if !host.is_modern {
                let withdrawn = host.told("notifications/cancelled").await;
                assert_eq!(withdrawn["params"]["requestId"], question.message["id"]);
            }
            // Too late to be asked, and to end what another person began.
            let call = host.respond_as_person(&question, call, action).await;
            if host.is_modern && action == "decline" {
                assert_eq!(host.refusal(call).await, 1008);
            }
            harness.sign_in_at(&page).await;
            if !host.is_modern || action == "accept" {
                host.greeting(call).await;
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
                addresses(&output),
                [question.page.as_str()],
                "{era} {action}"
            );
        }
        assert_eq!(bridge.browser.page_count(), tab + 1);
        host.was_not_asked();
        bridge.sign_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_by_command_on_another_way_tells_no_dead_address() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "another-way", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let question = host.question(call).await;
    let signing_in = async {
        let page = until("the page to paste from", async || {
            let views = bridge.state().await.sign_ins;
            let view = views.into_iter().find(|view| view.takes_address);
            view.map(|view| view.url)
        });
        let page = page.await;
        host.told("notifications/cancelled").await;
        harness.sign_in_at(&page).await;
        page
    };
    let command = ["sign-in", "snippets", "--paste"];
    let (output, page) = tokio::join!(bridge.output(&command, ""), signing_in);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(page, question.page);
    assert_eq!(addresses(&output), [page]);
    host.greeting(call).await;
    assert_eq!(bridge.browser.page_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_declines_at_once_waits_for_browser_here() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "headless", 50).await;
    let url = endpoint(&bridge).await;
    let wires = [
        (false, stdio(&bridge), "decline"),
        (false, Wire::streamable(url.clone()), "decline"),
        (true, stdio(&bridge), "decline"),
        (true, Wire::alone(url), "cancel"),
    ];
    for (tab, (is_modern, wire, action)) in wires.into_iter().enumerate() {
        let mut host = match is_modern {
            true => Host::modern(wire),
            false => Host::legacy(wire).await,
        };
        let call = host.call().await;
        let question = host.question(call).await;
        let call = host.respond(&question, call, action).await;
        let page = bridge.browser.page(tab).await;
        assert_eq!(page, question.page, "the page goes on");
        harness.sign_in_at(&page).await;
        host.greeting(call).await;
        host.was_not_asked();
        bridge.sign_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_declines_of_many_hosts_open_one_tab() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "storm", 2).await;
    let mut first = Host::legacy(stdio(&bridge)).await;
    let call = first.call().await;
    let question = first.question(call).await;
    first.respond(&question, call, "decline").await;
    bridge.browser.page(0).await;
    assert_eq!(first.refusal(call).await, 1001);
    for is_modern in [true, false, true] {
        let mut host = match is_modern {
            true => Host::modern(stdio(&bridge)),
            false => Host::legacy(stdio(&bridge)).await,
        };
        let call = host.call().await;
        // The page waits, and no host is asked for another one.
        assert_eq!(host.refusal(call).await, 1001);
        host.was_not_asked();
    }
    let server = server();
    bridge.ask(Request::CancelSignIn { server }).await;
    let call = first.call().await;
    assert_eq!(first.refusal(call).await, 1001);
    first.was_not_asked();
    assert_eq!(bridge.browser.page_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_do_what_it_offers_has_a_browser_opened() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "unable", 50).await;
    let mut host = Host::legacy(stdio(&bridge)).await;
    let call = host.call().await;
    let question = host.question(call).await;
    let error = json!({ "code": -32602, "message": "this mode is unknown" });
    host.say(json!({ "id": question.message["id"], "error": error }))
        .await;
    let page = bridge.browser.page(0).await;
    harness.sign_in_at(&page).await;
    host.greeting(call).await;
    host.was_not_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_stream_is_asked_with_its_next_request() {
    let harness = Harness::start().await;
    let bridge = bridge(&harness, "streamless", 1).await;
    let mut host = Host::legacy(Wire::streamable(endpoint(&bridge).await)).await;
    // Nobody has called anything, so that is all it could be asked for.
    until("the page", async || {
        let state = bridge.state().await;
        (!state.sign_ins.is_empty()).then_some(())
    })
    .await;
    let list = host.ask("tools/list", json!({})).await;
    let question = host.question(list).await;
    host.answer(list).await;
    host.respond_as_person(&question, list, "decline").await;
    until("its end", async || {
        let state = bridge.state().await;
        state.sign_ins.is_empty().then_some(())
    })
    .await;
    assert_eq!(bridge.browser.page_count(), 0);
}
