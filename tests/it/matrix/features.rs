//! The checks of each cell and their expected results.

use serde_json::{Value, json};

use super::{
    Cell, Server,
    host::{Notification, Outcome, Revision},
};

/// All features, in the order of checks and rows.
pub(super) const FEATURES: [Feature; 14] = [
    Feature::Tools,
    Feature::Resources,
    Feature::Prompts,
    Feature::Completion,
    Feature::Progress,
    Feature::Cancellation,
    Feature::Logging,
    Feature::Elicitation,
    Feature::UrlElicitation,
    Feature::Sampling,
    Feature::Roots,
    Feature::Subscriptions,
    Feature::ListChanged,
    Feature::Ping,
];

#[derive(Clone, Copy, Debug)]
pub(super) enum Feature {
    Tools,
    Resources,
    Prompts,
    Completion,
    Progress,
    Cancellation,
    Logging,
    Elicitation,
    /// URL mode elicitation.
    UrlElicitation,
    Sampling,
    Roots,
    Subscriptions,
    ListChanged,
    Ping,
}

/// The verdict on a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Works,
    /// As far as the specification allows.
    Within(Reason),
    /// Not part of the specification for this pair.
    Impossible(Reason),
}

/// The reason of a limitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NoElicitation,
    NoUrlMode,
    NoPing,
    LateLog,
}

impl Feature {
    /// Returns the title of the row.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Tools => "tools: list, call, a failure, an argument that is also a header",
            Self::Resources => "resources: list, templates, read, a missing one",
            Self::Prompts => "prompts: list, get",
            Self::Completion => "completion",
            Self::Progress => "progress",
            Self::Cancellation => "cancellation, forwarded to the server",
            Self::Logging => "logging, from the host's level",
            Self::Elicitation => "form mode elicitation: once, twice in a call, for a prompt",
            Self::UrlElicitation => "URL mode elicitation",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
            Self::Subscriptions => "subscriptions: an updated resource",
            Self::ListChanged => "changed lists of tools and prompts",
            Self::Ping => "ping",
        }
    }
}

impl Reason {
    /// Returns the name of the footnote.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoElicitation => "no-elicitation",
            Self::NoUrlMode => "no-url",
            Self::NoPing => "no-ping",
            Self::LateLog => "late-log",
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoElicitation => {
                "Elicitation was added in 2025-06-18. A host of 2024-11-05 cannot declare it, and a \
                 server must not send it to a host that has not declared it. The call fails and \
                 names the missing capability."
            }
            Self::NoUrlMode => {
                "URL mode elicitation was added in 2025-11-25. The call fails and names the missing \
                 capability."
            }
            Self::NoPing => {
                "2026-07-28 has no `ping`. A host that sends it gets `-32601`, as from any server of \
                 that revision."
            }
            Self::LateLog => {
                "2026-07-28 has log messages only within a call that requests them. Messages that \
                 such a server logs outside of calls, or that arrive on another stream after the \
                 call's response, reach no host of that revision."
            }
        }
    }
}

impl Cell {
    /// Checks a feature. Fails on notifications that do not belong to it.
    pub(super) async fn check(&mut self, feature: Feature) -> Verdict {
        let verdict = match feature {
            Feature::Tools => self.tools().await,
            Feature::Resources => self.resources().await,
            Feature::Prompts => self.prompts().await,
            Feature::Completion => self.completion().await,
            Feature::Progress => self.progress().await,
            Feature::Cancellation => self.cancellation().await,
            Feature::Logging => self.logging().await,
            Feature::Elicitation => self.elicitation().await,
            Feature::UrlElicitation => self.url_elicitation().await,
            Feature::Sampling => self.sampling().await,
            Feature::Roots => self.roots().await,
            Feature::Subscriptions => self.subscriptions().await,
            Feature::ListChanged => self.list_changed().await,
            Feature::Ping => self.ping().await,
        };
        let unexpected_notifications = self.host.unexpected_notifications();
        assert!(
            unexpected_notifications.is_empty(),
            "unexpected {unexpected_notifications:?}"
        );
        verdict
    }

    fn is_modern_host(&self) -> bool {
        self.host.revision == Revision::Modern
    }

    async fn tools(&mut self) -> Verdict {
        let host = &mut self.host;
        let list = host.result("tools/list", json!({})).await;
        let schema = &named(&list["tools"], "json_schema_2020_12_tool")["inputSchema"];
        assert_eq!(schema["$defs"]["address"]["$anchor"], "addressDef");
        assert!(named(&list["tools"], "test_simple_text")["description"].is_string());
        let text = host.call("test_simple_text", json!({})).await;
        assert_eq!(text, "This is a simple text response for testing.");
        let arguments = json!({ "region": "north", "rows": 3 });
        let text = host.call("test_x_mcp_header", arguments).await;
        assert_eq!(text, r#"The arguments were {"region":"north","rows":3}"#);
        let params = json!({ "name": "test_error_handling", "arguments": {} });
        let failed = host.result("tools/call", params).await;
        assert_eq!(failed["isError"], true, "{failed}");
        let words = "This tool intentionally returns an error for testing";
        assert_eq!(failed["content"][0]["text"], words);
        let params = json!({ "name": "no_such_tool", "arguments": {} });
        assert_eq!(host.error("tools/call", params).await["code"], -32602);
        Verdict::Works
    }

    async fn resources(&mut self) -> Verdict {
        let is_modern = self.is_modern_host();
        let host = &mut self.host;
        let list = host.result("resources/list", json!({})).await;
        assert_eq!(list["resources"].as_array().map(Vec::len), Some(3));
        assert_eq!(list["resources"][1]["mimeType"], "image/png");
        let list = host.result("resources/templates/list", json!({})).await;
        let template = &list["resourceTemplates"][0]["uriTemplate"];
        assert_eq!(*template, "test://template/{id}/data");
        let at = |uri: &str| json!({ "uri": uri });
        let text = host
            .result("resources/read", at("test://static-text"))
            .await;
        let words = "This is the content of the static text resource.";
        assert_eq!(text["contents"][0]["text"], words);
        let image = host.result("resources/read", at("test://static-binary"));
        let blob = image.await["contents"][0]["blob"].take();
        assert!(blob.as_str().is_some_and(|blob| blob.starts_with("iVBOR")));
        let data = host.result("resources/read", at("test://template/7/data"));
        let data = data.await["contents"][0]["text"].take();
        let words = data.as_str().expect("a text");
        assert!(words.contains("Data for ID: 7"), "{words}");
        let missing = host.error("resources/read", at("test://nothing")).await;
        let code = if is_modern { -32602 } else { -32002 };
        assert_eq!(missing["code"], code, "{missing}");
        Verdict::Works
    }

    async fn prompts(&mut self) -> Verdict {
        let host = &mut self.host;
        let list = host.result("prompts/list", json!({})).await;
        let prompt = named(&list["prompts"], "test_prompt_with_arguments");
        assert_eq!(prompt["arguments"][1]["name"], "arg2");
        let arguments = json!({ "arg1": "a", "arg2": "ü" });
        let params = json!({ "name": "test_prompt_with_arguments", "arguments": arguments });
        let prompt = host.result("prompts/get", params).await;
        let words = "Prompt with arguments: arg1='a', arg2='ü'";
        assert_eq!(prompt["messages"][0]["content"]["text"], words);
        Verdict::Works
    }

    async fn completion(&mut self) -> Verdict {
        let of = json!({ "type": "ref/prompt", "name": "test_prompt_with_arguments" });
        let argument = json!({ "name": "arg1", "value": "park" });
        let params = json!({ "ref": of, "argument": argument });
        let result = self.host.result("completion/complete", params).await;
        assert_eq!(result["completion"]["values"], json!(["park"]), "{result}");
        Verdict::Works
    }

    async fn progress(&mut self) -> Verdict {
        for token in [json!("a"), json!(7)] {
            let params = json!({
                "name": "test_tool_with_progress",
                "arguments": {},
                "_meta": { "progressToken": token },
            });
            let mut outcome = self.host.perform("tools/call", params).await;
            assert_eq!(outcome.text(), "It is all done.");
            let told = self.host.told("notifications/progress", 3).await;
            for (told, progress) in told.iter().zip([0.0, 50.0, 100.0]) {
                let params = &told.message["params"];
                assert_eq!(params["progressToken"], token, "{params}");
                let said = ["progress", "total"].map(|name| params[name].as_f64());
                assert_eq!(said, [Some(progress), Some(100.0)], "{params}");
                assert!(self.host.is_stream_of(outcome.id, told.on), "{told:?}");
            }
        }
        Verdict::Works
    }

    async fn cancellation(&mut self) -> Verdict {
        let name = json!({ "name": "one" });
        let params = json!({
            "name": "test_wait",
            "arguments": name,
            "_meta": { "progressToken": "begun" },
        });
        let waiting = self.host.send_request("tools/call", params).await;
        let begun = self.host.told("notifications/progress", 1).await;
        assert_eq!(begun[0].message["params"]["progressToken"], "begun");
        self.host.cancel(waiting).await;
        let seen = self.host.call("test_see_cancelled", name).await;
        assert_eq!(seen, "It was cancelled.");
        Verdict::Works
    }

    async fn logging(&mut self) -> Verdict {
        for (level, lines) in [("error", 0), ("info", 3)] {
            let outcome = self.logged(level).await;
            assert!(outcome.asked.is_empty());
            let told = self.host.told("notifications/message", lines).await;
            for (told, words) in told.iter().zip([
                "Tool execution started",
                "Tool processing data",
                "Tool execution completed",
            ]) {
                let params = &told.message["params"];
                assert_eq!(params["level"], "info", "{params}");
                assert_eq!(params["data"], words, "{params}");
                let is_free = !self.is_modern_host();
                let is_its = self.host.is_stream_of(outcome.id, told.on);
                assert!(is_free || is_its, "{told:?}");
            }
        }
        if self.is_modern_host() {
            // The level applied to one request only.
            self.host.call("test_tool_with_logging", json!({})).await;
        }
        match (self.host.revision, self.server) {
            (Revision::Modern, Server::Sse | Server::Legacy) => Verdict::Within(Reason::LateLog),
            (Revision::Modern | Revision::Legacy | Revision::Oldest, _) => Verdict::Works,
        }
    }

    /// Calls a tool that logs, with this minimum level.
    async fn logged(&mut self, level: &str) -> Outcome {
        let mut params = json!({ "name": "test_tool_with_logging", "arguments": {} });
        if self.is_modern_host() {
            params["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        } else {
            let set = json!({ "level": level });
            self.host.result("logging/setLevel", set).await;
        }
        let mut outcome = self.host.perform("tools/call", params).await;
        assert_eq!(outcome.text(), "It was logged three times.");
        outcome
    }

    async fn elicitation(&mut self) -> Verdict {
        let tool = "test_input_required_result_elicitation";
        if self.host.revision == Revision::Oldest {
            let outcome = self.host.perform_call(tool, json!({})).await;
            self.assert_capability_missing(&outcome, &json!({ "elicitation": {} }));
            return Verdict::Impossible(Reason::NoElicitation);
        }
        let mut outcome = self.host.perform_call(tool, json!({})).await;
        assert_eq!(outcome.text(), "Hello, Ada!");
        let params = &outcome.asked[0]["params"];
        assert_eq!(params["message"], "What is your name?");
        let fields = &params["requestedSchema"]["properties"];
        assert_eq!(*fields, json!({ "name": { "type": "string" } }));

        let tool = "test_input_required_result_multi_round";
        let mut outcome = self.host.perform_call(tool, json!({})).await;
        assert_eq!(outcome.text(), "Ada likes teal.");
        assert_eq!(outcome.methods(), ["elicitation/create"; 2]);

        let tool = "test_input_required_result_multiple_inputs";
        let mut outcome = self.host.perform_call(tool, json!({})).await;
        let words = r#"Paris Ada: [{"name":"work","uri":"file:///work"}]"#;
        assert_eq!(outcome.text(), words);
        let all = ["elicitation/create", "roots/list", "sampling/createMessage"];
        assert_eq!(outcome.methods(), all);

        let params = json!({ "name": "test_input_required_result_prompt" });
        let mut outcome = self.host.perform("prompts/get", params).await;
        let words = "The context is tests.";
        let prompt = outcome.take_result();
        assert_eq!(prompt["messages"][0]["content"]["text"], words);
        Verdict::Works
    }

    async fn url_elicitation(&mut self) -> Verdict {
        let (tool, arguments) = ("test_url_elicitation", json!({ "name": "page" }));
        let mut outcome = self.host.perform_call(tool, arguments.clone()).await;
        match (self.host.revision, self.server) {
            (Revision::Oldest, _) => {
                self.assert_url_mode_missing(&outcome);
                return Verdict::Impossible(Reason::NoUrlMode);
            }
            (Revision::Legacy, Server::Sse | Server::Legacy) => {
                let error = &outcome.answer["error"];
                assert_eq!(error["code"], -32042, "{error}");
                let elicitation = &error["data"]["elicitations"][0];
                assert_eq!(elicitation["elicitationId"], "page");
                self.host.visit(&elicitation["url"]).await;
                outcome = self.host.perform_call(tool, arguments).await;
            }
            (Revision::Legacy, Server::Modern) | (Revision::Modern, _) => {
                assert_eq!(outcome.methods(), ["elicitation/create"]);
                let params = &outcome.asked[0]["params"];
                assert_eq!(params["message"], "Please have a look");
            }
        }
        assert_eq!(outcome.text(), "page was visited.");
        Verdict::Works
    }

    async fn sampling(&mut self) -> Verdict {
        let tool = "test_input_required_result_sampling";
        let mut outcome = self.host.perform_call(tool, json!({})).await;
        assert_eq!(outcome.text(), "Paris");
        assert_eq!(outcome.methods(), ["sampling/createMessage"]);
        let params = &outcome.asked[0]["params"];
        assert_eq!(params["maxTokens"], 100, "{params}");
        let words = "What is the capital of France?";
        assert_eq!(params["messages"][0]["content"]["text"], words);
        Verdict::Works
    }

    async fn roots(&mut self) -> Verdict {
        let tool = "test_input_required_result_list_roots";
        let mut outcome = self.host.perform_call(tool, json!({})).await;
        let words = r#"The roots are [{"name":"work","uri":"file:///work"}]"#;
        assert_eq!(outcome.text(), words);
        assert_eq!(outcome.methods(), ["roots/list"]);
        Verdict::Works
    }

    async fn subscriptions(&mut self) -> Verdict {
        let method = "notifications/resources/updated";
        let uri = |name: &str| format!("test://template/{name}/data");
        let listening = self.subscribe(&json!([uri("a"), uri("b")])).await;
        self.update(&uri("a")).await;
        let told = self.host.told(method, 1).await;
        self.assert_on_subscription(&told[0], listening);
        assert_eq!(told[0].message["params"]["uri"], uri("a"));
        match listening {
            Some(listening) => self.host.cancel(listening).await,
            None => {
                let params = json!({ "uri": uri("a") });
                self.host.result("resources/unsubscribe", params).await;
            }
        }
        // An update of the other resource follows. It would arrive after an unwanted one.
        let again = match listening {
            Some(_) => self.subscribe(&json!([uri("b")])).await,
            None => None,
        };
        self.update(&uri("a")).await;
        self.update(&uri("b")).await;
        let told = self.host.told(method, 1).await;
        self.assert_on_subscription(&told[0], again);
        assert_eq!(told[0].message["params"]["uri"], uri("b"));
        if let Some(again) = again {
            self.host.cancel(again).await;
        }
        Verdict::Works
    }

    /// Subscribes to resources. Returns the id of the request if it is a subscription stream.
    async fn subscribe(&mut self, uris: &Value) -> Option<u64> {
        if self.is_modern_host() {
            return Some(self.listen(json!({ "resourceSubscriptions": uris })).await);
        }
        for uri in uris.as_array().into_iter().flatten() {
            let params = json!({ "uri": uri });
            self.host.result("resources/subscribe", params).await;
        }
        None
    }

    async fn list_changed(&mut self) -> Verdict {
        let listening = match self.is_modern_host() {
            true => {
                let kinds = json!({ "toolsListChanged": true, "promptsListChanged": true });
                Some(self.listen(kinds).await)
            }
            false => None,
        };
        for (tool, method) in [
            (
                "test_trigger_tool_change",
                "notifications/tools/list_changed",
            ),
            (
                "test_trigger_prompt_change",
                "notifications/prompts/list_changed",
            ),
        ] {
            self.host.call(tool, json!({})).await;
            let told = self.host.told(method, 1).await;
            self.assert_on_subscription(&told[0], listening);
        }
        if let Some(listening) = listening {
            self.host.cancel(listening).await;
        }
        Verdict::Works
    }

    /// Opens a subscription stream and checks that all of it is granted.
    async fn listen(&mut self, wanted: Value) -> u64 {
        let params = json!({ "notifications": wanted });
        let listening = self.host.send_request("subscriptions/listen", params).await;
        let method = "notifications/subscriptions/acknowledged";
        let told = self.host.told(method, 1).await;
        self.assert_on_subscription(&told[0], Some(listening));
        assert_eq!(
            sorted(&told[0].message["params"]["notifications"]),
            sorted(&wanted)
        );
        listening
    }

    async fn update(&mut self, uri: &str) {
        let arguments = json!({ "uri": uri });
        self.host
            .call("test_trigger_resource_update", arguments)
            .await;
    }

    /// Checks that a notification names its subscription, if there is one.
    fn assert_on_subscription(&self, told: &Notification, listening: Option<u64>) {
        let meta = &told.message["params"]["_meta"];
        let named = &meta["io.modelcontextprotocol/subscriptionId"];
        assert_eq!(*named, json!(listening), "{told:?}");
        if let Some(listening) = listening {
            assert!(self.host.is_stream_of(listening, told.on), "{told:?}");
        }
    }

    async fn ping(&mut self) -> Verdict {
        if self.is_modern_host() {
            let error = self.host.error("ping", json!({})).await;
            assert_eq!(error["code"], -32601, "{error}");
            return Verdict::Impossible(Reason::NoPing);
        }
        let pong = self.host.result("ping", json!({})).await;
        assert_eq!(pong, json!({}));
        Verdict::Works
    }

    /// Checks that the call failed because the host lacks a capability, and that the host got no
    /// request.
    fn assert_capability_missing(&self, outcome: &Outcome, needed: &Value) {
        let error = &outcome.answer["error"];
        assert!(outcome.asked.is_empty(), "{:?}", outcome.asked);
        match self.server {
            Server::Modern => {
                assert_eq!(error["code"], -32021, "{error}");
                assert_eq!(error["data"]["requiredCapabilities"], *needed);
            }
            // Legacy servers choose their own message.
            Server::Sse | Server::Legacy => {
                assert_eq!(error["message"], "the client cannot be asked");
            }
        }
    }

    fn assert_url_mode_missing(&self, outcome: &Outcome) {
        self.assert_capability_missing(outcome, &json!({ "elicitation": { "url": {} } }));
    }
}

/// Returns a filter with sorted resources.
fn sorted(filter: &Value) -> Value {
    let mut filter = filter.clone();
    if let Some(Value::Array(uris)) = filter.get_mut("resourceSubscriptions") {
        uris.sort_by_key(Value::to_string);
    }
    filter
}

/// Returns the element of a list with this name.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list
        .as_array()
        .and_then(|list| list.iter().find(|one| one["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}
