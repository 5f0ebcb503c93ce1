//! Servers that refuse the tokens of sign-ins, while the browser completes each sign-in at once.

use control::api::{Request, SignInWay};
use serde_json::{Value, json};

use crate::bridge::{Bridge, Browser, Host};
use crate::server::{Refused, Server};

/// A wrong audience, with the server's explanation.
const AUDIENCE: &[(u16, &str)] = &[(
    401,
    r#"Bearer error="invalid_token", error_description="The audience is invalid""#,
)];

/// A claims challenge of Entra that no token satisfies.
const CLAIMS: &[(u16, &str)] = &[(
    401,
    r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19""#,
)];

/// Requires one more scope each time.
const SCOPES: &[(u16, &str)] = &[(
    403,
    r#"Bearer error="insufficient_scope", scope="more.{n}""#,
)];

/// The same, and accepts no token in between.
const BOTH: &[(u16, &str)] = &[AUDIENCE[0], SCOPES[0]];

/// Names no scope.
const NAMELESS: &[(u16, &str)] = &[(
    403,
    r#"Bearer error="insufficient_scope", error_description="try {n}""#,
)];

/// The era of a host, and whether it shows pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Legacy,
    LegacyShowing,
    Modern,
    ModernShowing,
}

const KINDS: [Kind; 4] = [
    Kind::Legacy,
    Kind::LegacyShowing,
    Kind::Modern,
    Kind::ModernShowing,
];

impl Kind {
    fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::LegacyShowing)
    }

    fn capabilities(self) -> Value {
        match self {
            Self::Legacy | Self::Modern => json!({}),
            Self::LegacyShowing | Self::ModernShowing => json!({ "elicitation": { "url": {} } }),
        }
    }
}

/// A host that shows each page that it is asked to show.
struct Caller {
    kind: Kind,
    host: Host,
    next: i64,
}

impl Caller {
    async fn connect(bridge: &Bridge, kind: Kind) -> Self {
        let mut host = bridge.host("one").await;
        if kind.is_legacy() {
            let params = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": kind.capabilities(),
                "clientInfo": { "name": "test", "version": "1" },
            });
            host.request(0, "initialize", params).await;
            host.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
                .await;
        }
        let next = 1;
        Self { kind, host, next }
    }

    async fn request(&mut self, method: &str) -> Value {
        let mut more = json!({});
        loop {
            let answer = self.request_once(method, more).await;
            let Some(state) = answer["result"]["requestState"].as_str() else {
                return answer;
            };
            let given = json!({ "page": { "action": "accept" } });
            more = json!({ "requestState": state, "inputResponses": given });
        }
    }

    async fn request_once(&mut self, method: &str, mut params: Value) -> Value {
        if !self.kind.is_legacy() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": self.kind.capabilities(),
            });
        }
        let id = self.next;
        self.next += 1;
        let asked = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.host.send(&asked.to_string()).await;
        loop {
            let message = self.host.value().await;
            if message["method"] == "elicitation/create" {
                let shown = json!({ "action": "accept" });
                let shown = json!({ "jsonrpc": "2.0", "id": message["id"], "result": shown });
                self.host.send(&shown.to_string()).await;
            } else if message.get("method").is_none() && message["id"] == id {
                return message;
            }
        }
    }

    async fn call(&mut self) -> Value {
        self.request("tools/call").await
    }
}

fn sign_in() -> Request {
    Request::SignIn {
        server: "one".to_owned(),
        way: SignInWay::Local,
    }
}

/// A server, and a bridge whose user has signed in to it on the first page.
async fn signed_in() -> (Server, Bridge, Browser) {
    let server = Server::start().await;
    server.record.want_sign_in();
    server.record.person("ann");
    server.record.renew_late();
    server.record.release();
    let bridge = Bridge::start(&server.url()).await;
    let browser = bridge.follow().await;
    bridge.call(sign_in()).await.unwrap();
    (server, bridge, browser)
}

/// Returns the number of pages and of token requests that one call caused, and its response.
async fn cost(server: &Server, browser: &Browser, caller: &mut Caller) -> (usize, u32, Value) {
    let before = (browser.count(), server.record.token_requests());
    let answer = caller.call().await;
    let tokens = server.record.token_requests() - before.1;
    (browser.count() - before.0, tokens, answer)
}

/// Text of the error that says why no sign-in helps.
fn assert_explained(answer: &Value) {
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("one refuses the token"), "{answer}");
    let words = "invalid_token (The audience is invalid)";
    assert!(message.contains(words), "{answer}");
    let hint = answer["error"]["data"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("audience") && hint.contains("scopes"),
        "{answer}"
    );
    assert!(hint.contains("postern sign-in one"), "{answer}");
}

#[tokio::test]
async fn server_refusing_every_token_opens_one_page() {
    for kind in KINDS {
        let (server, bridge, browser) = signed_in().await;
        let mut caller = Caller::connect(&bridge, kind).await;
        assert!(caller.request("tools/list").await["result"].is_object());
        server.record.refuse(Refused::Everything, AUDIENCE);
        // The token may be rejected twice before a sign-in is considered. Then a call opens a page.
        let mut pages = 0;
        let mut answers = Vec::new();
        for _ in 0..3 {
            let (opened, tokens, answer) = cost(&server, &browser, &mut caller).await;
            assert!(opened <= 1 && tokens <= 4, "{kind:?}");
            pages += opened;
            answers.push(answer);
        }
        assert_eq!(pages, 1, "{kind:?}");
        assert_explained(&answers[2]);

        // Another session or call opens none.
        for other in KINDS {
            let mut caller = Caller::connect(&bridge, other).await;
            let (pages, _, answer) = cost(&server, &browser, &mut caller).await;
            assert_eq!(pages, 0, "{kind:?} {other:?}");
            assert_explained(&answer);
        }
        let state = bridge.state().await;
        let problem = state.servers[0].sign_in_problem.as_ref().unwrap();
        assert!(problem.message.contains("The audience is invalid"));

        // The user can ask for a page. After that a call opens none.
        let before = browser.count();
        bridge.call(sign_in()).await.unwrap();
        assert_eq!(browser.count(), before + 1);
        let (pages, _, answer) = cost(&server, &browser, &mut caller).await;
        assert_eq!(pages, 0, "{kind:?}");
        assert_explained(&answer);

        // A change at the server takes effect without another page.
        server.record.refuse_nothing();
        bridge.call(sign_in()).await.unwrap();
        assert!(caller.call().await["result"].is_object());
    }
}

#[tokio::test]
async fn first_connection_to_refusing_server_opens_one_page() {
    for kind in KINDS {
        let server = Server::start().await;
        server.record.want_sign_in();
        server.record.person("ann");
        server.record.refuse(Refused::Everything, AUDIENCE);
        let bridge = Bridge::start(&server.url()).await;
        let browser = bridge.follow().await;
        let mut caller = Caller::connect(&bridge, kind).await;
        caller.call().await;
        let second = caller.call().await;
        assert_eq!(browser.count(), 1, "{kind:?}");
        assert_explained(&second);
    }
}

#[tokio::test]
async fn server_refusing_only_calls_opens_one_page() {
    for kind in KINDS {
        let (server, bridge, browser) = signed_in().await;
        let mut caller = Caller::connect(&bridge, kind).await;
        server.record.refuse(Refused::Calls, AUDIENCE);
        let mut pages = 0;
        for _ in 0..4 {
            let (opened, tokens, answer) = cost(&server, &browser, &mut caller).await;
            assert!(opened <= 1 && tokens <= 4, "{kind:?}");
            assert_eq!(answer["error"]["code"], 1001, "{answer}");
            pages += opened;
            assert!(caller.request("tools/list").await["result"].is_object());
        }
        assert!(pages <= 1, "{kind:?}: {pages}");
        // Once a call is accepted again, the next refusal may open a page.
        server.record.refuse_nothing();
        bridge.call(sign_in()).await.unwrap();
        assert!(caller.call().await["result"].is_object());
    }
}

#[tokio::test]
async fn endless_claims_challenges_open_one_page() {
    for kind in KINDS {
        for what in [Refused::Everything, Refused::Calls] {
            let (server, bridge, browser) = signed_in().await;
            let mut caller = Caller::connect(&bridge, kind).await;
            server.record.refuse(what, CLAIMS);
            let mut pages = 0;
            for _ in 0..4 {
                let (opened, tokens, _) = cost(&server, &browser, &mut caller).await;
                assert!(opened <= 1 && tokens <= 4, "{kind:?} {what:?}");
                pages += opened;
            }
            assert!(pages <= 1, "{kind:?} {what:?}: {pages}");
        }
    }
}

#[tokio::test]
async fn endless_scope_challenges_open_few_pages() {
    for kind in KINDS {
        let (server, bridge, browser) = signed_in().await;
        let mut caller = Caller::connect(&bridge, kind).await;
        server.record.refuse(Refused::Calls, SCOPES);
        let before = browser.count();
        for _ in 0..6 {
            let (opened, tokens, _) = cost(&server, &browser, &mut caller).await;
            assert!(opened <= 1 && tokens <= 2, "{kind:?}");
        }
        assert!(browser.count() - before <= 3, "{kind:?}");
    }
}

#[tokio::test]
async fn scope_challenge_without_scope_opens_no_page() {
    for kind in [Kind::Legacy, Kind::Modern] {
        let (server, bridge, browser) = signed_in().await;
        let mut caller = Caller::connect(&bridge, kind).await;
        server.record.refuse(Refused::Calls, NAMELESS);
        let (opened, _, answer) = cost(&server, &browser, &mut caller).await;
        assert_eq!(opened, 0, "{kind:?}");
        assert_eq!(answer["error"]["code"], 1011, "{answer}");
    }
}

#[tokio::test]
async fn alternating_refusals_open_at_most_two_pages() {
    for kind in KINDS {
        for what in [Refused::Everything, Refused::Calls] {
            let (server, bridge, browser) = signed_in().await;
            let mut caller = Caller::connect(&bridge, kind).await;
            server.record.refuse(what, BOTH);
            let before = browser.count();
            for _ in 0..4 {
                let (opened, tokens, _) = cost(&server, &browser, &mut caller).await;
                assert!(opened <= 2 && tokens <= 5, "{kind:?} {what:?}");
            }
            let pages = browser.count() - before;
            assert!(pages <= 5, "{kind:?} {what:?}: {pages}");
        }
    }
}

#[tokio::test]
async fn refused_tokens_of_http_hosts_open_one_page() {
    let (server, bridge, browser) = signed_in().await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let client = auth::http::client([], &model::config::Proxy::None).unwrap();
    server.record.refuse(Refused::Everything, AUDIENCE);
    let before = browser.count();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut last = Value::Null;
    for id in 1..=4 {
        let params = json!({ "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let asked = client
            .post(&url)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call");
        let answer = asked.json(&call).send().await.unwrap();
        last = answer.json().await.unwrap();
    }
    assert_eq!(browser.count() - before, 1);
    assert_explained(&last);
}
