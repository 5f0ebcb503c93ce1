use crate::error::UpstreamError;

use super::super::tests::{error, id, notification, request, result, shown, text, to_server};
use super::LegacyHost;

const NO_META: &str = r#"{"name":"t","arguments":{"x":1.0}}"#;
const ALL: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"instructions":"do \u0061s you like","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1","x":1.0}},"ttlMs":0,"cacheScope":"private"}"#;

/// The `_meta` of a host with these capabilities.
fn meta(capabilities: &str) -> String {
    format!(
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"h","version":"2"}},"io.modelcontextprotocol/clientCapabilities":{capabilities}"#
    )
}

fn initialize(capabilities: &str) -> crate::Message {
    let params = format!(
        r#"{{"protocolVersion":"2025-06-18","capabilities":{capabilities},"clientInfo":{{"name":"h","version":"2"}}}}"#
    );
    request("0", "initialize", &params)
}

/// A host with these capabilities after the handshake.
fn ready(capabilities: &str) -> LegacyHost {
    let mut host = LegacyHost::default();
    host.on_host(initialize(capabilities));
    host.on_server(result("0", DISCOVERED), Some(id("0")));
    host
}

/// A host with these capabilities after the handshake and a call with the id 1.
fn called(capabilities: &str) -> LegacyHost {
    let mut host = ready(capabilities);
    host.on_host(request("1", "tools/call", NO_META));
    host
}

fn ask(host: &mut LegacyHost, on: &str, wanted: &str) -> Vec<String> {
    let needs = format!(r#"{{"resultType":"input_required",{wanted}}}"#);
    shown(&host.on_server(result(on, &needs), Some(id(on))))
}

const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object","x":1.0}}}"#;
const FORM_LINE: &str = r#"host on 1: "id":"postern:input:1","method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object","x":1.0}}}"#;

#[test]
fn initialize_becomes_server_discover() {
    let mut host = LegacyHost::default();
    let asked = shown(&host.on_host(initialize(ALL)));
    let discover = format!(
        r#"server: "id":0,"method":"server/discover","params":{{"_meta":{{{}}}}}}}"#,
        meta(ALL)
    );
    assert_eq!(asked, [discover]);
    let answered = shown(&host.on_server(result("0", DISCOVERED), Some(id("0"))));
    let expected = r#"host on 0: "id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1","x":1.0},"instructions":"do \u0061s you like"}}"#;
    assert_eq!(answered, [expected]);
    let initialized = notification("notifications/initialized", "{}");
    assert!(host.on_host(initialized).is_empty());
}

#[test]
fn unknown_version_is_answered_with_latest_legacy() {
    let mut host = LegacyHost::default();
    host.on_host(request(
        "0",
        "initialize",
        r#"{"protocolVersion":"2033-01-01"}"#,
    ));
    let nameless = r#"{"resultType":"complete","supportedVersions":[]}"#;
    let answered = shown(&host.on_server(result("0", nameless), Some(id("0"))));
    let expected = r#"host on 0: "id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"unnamed","version":""}}}"#;
    assert_eq!(answered, [expected]);
}

#[test]
fn unsupported_version_error_reaches_host() {
    let mut host = LegacyHost::default();
    host.on_host(initialize("{}"));
    let answered = shown(&host.on_server(error("0", -32022), Some(id("0"))));
    let expected = r#"host on 0: "id":0,"error":{"code":-32022,"message":"no"}}"#;
    assert_eq!(answered, [expected]);
}

#[test]
fn refused_discovery_refutes_era() {
    let refusal = text(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"first"}}"#);
    let rejected = |status| UpstreamError::Rejected { status, body: None };
    let told = [
        "wrong era",
        r#"host on 0: "id":0,"error":{"code":-32601,"message":"first"}}"#,
    ];

    let mut host = LegacyHost::default();
    host.begin(initialize("{}"), Some(refusal.clone()));
    let actions = host.on_server(error("0", -32601), Some(id("0")));
    assert_eq!(shown(&actions), told, "what it said first stands");

    host.begin(initialize("{}"), Some(refusal.clone()));
    let actions = host.on_server(result("0", "{}"), Some(id("0")));
    assert_eq!(shown(&actions), told, "no discovery names no version");

    host.begin(initialize("{}"), Some(refusal));
    assert_eq!(shown(&host.failed(Some(id("0")), rejected(400))), told);

    host.on_host(initialize("{}"));
    let actions = host.failed(Some(id("0")), rejected(404));
    assert_eq!(shown(&actions[..1]), ["wrong era"]);
    assert_eq!(to_server(&actions).bytes(), initialize("{}").bytes());

    host.on_host(initialize("{}"));
    let actions = host.failed(Some(id("0")), rejected(503));
    assert_eq!(
        shown(&actions),
        ["fail 0: the server refused the message (HTTP 503)"]
    );
}

#[test]
fn removed_methods_are_answered_locally() {
    let mut host = ready("{}");
    let pong = shown(&host.on_host(request("1", "ping", "{}")));
    assert_eq!(pong, [r#"host on 1: "id":1,"result":{}}"#]);
    let set = shown(&host.on_host(request("2", "logging/setLevel", r#"{"level":"notice"}"#)));
    assert_eq!(set, [r#"host on 2: "id":2,"result":{}}"#]);
    let odd = shown(&host.on_host(request("3", "logging/setLevel", r#"{"level":"loud"}"#)));
    assert!(odd[0].contains("-32602"), "{odd:?}");
    let sent = shown(&host.on_host(request("4", "tools/list", "{}")));
    let expected = format!(
        r#"server: "id":4,"method":"tools/list","params":{{"_meta":{{{},"io.modelcontextprotocol/logLevel":"notice"}}}}}}"#,
        meta("{}")
    );
    assert_eq!(sent, [expected]);
    let changed = notification("notifications/roots/list_changed", "{}");
    assert!(host.on_host(changed).is_empty());
}

#[test]
fn call_gets_meta_and_keeps_its_bytes() {
    let mut host = ready("{}");
    let params = r#"{"name":"t","arguments":{"x":1.0},"_meta":{"progressToken":7,"a/b":1e2}}"#;
    let sent = shown(&host.on_host(request("1", "tools/call", params)));
    let expected = format!(
        r#"server: "id":1,"method":"tools/call","params":{{"name":"t","arguments":{{"x":1.0}},"_meta":{{"progressToken":7,"a/b":1e2,{}}}}}}}"#,
        meta("{}")
    );
    assert_eq!(sent, [expected]);
    let progress = notification(
        "notifications/progress",
        r#"{"progressToken":7,"progress":1}"#,
    );
    let told = shown(&host.on_server(progress, Some(id("1"))));
    let expected = r#"host on 1: "method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
    assert_eq!(told, [expected]);
    let again = shown(&host.on_host(request("1", "tools/call", NO_META)));
    assert!(again[0].contains("use each id once"), "{again:?}");
    let answer = result("1", r#"{"resultType":"complete","content":[]}"#);
    let told = host.on_server(answer.clone(), Some(id("1")));
    let super::Action::ToHost { message, .. } = &told[0] else {
        panic!("{told:?}");
    };
    assert_eq!(message.bytes(), answer.bytes());
}

#[test]
fn input_request_becomes_request_to_host() {
    let mut host = called(ALL);
    let asked = ask(
        &mut host,
        "1",
        &format!(r#""inputRequests":{{"n\u0061me":{FORM}}},"requestState":"a\u002fb""#),
    );
    assert_eq!(asked, [FORM_LINE]);
    let given = r#"{"action":"accept","content":{"name":"\u00e4"}}"#;
    let sent = shown(&host.on_host(result(r#""postern:input:1""#, given)));
    let expected = format!(
        r#"server: "id":"postern:round:2","method":"tools/call","params":{{"name":"t","arguments":{{"x":1.0}},"_meta":{{{}}},"inputResponses":{{"name":{given}}},"requestState":"a\u002fb"}}}}"#,
        meta(ALL)
    );
    assert_eq!(sent, [expected]);
    let round = r#""postern:round:2""#;
    let progress = notification("notifications/progress", "{}");
    let told = shown(&host.on_server(progress, Some(id(round))));
    assert_eq!(
        told,
        [r#"host on 1: "method":"notifications/progress","params":{}}"#]
    );
    let answer = shown(&host.on_server(result(round, r#"{"x":1.0}"#), Some(id(round))));
    assert_eq!(answer, [r#"host on 1: "id":1,"result":{"x":1.0}}"#]);
}

#[test]
fn input_requests_are_sent_and_answered_together() {
    let mut host = called(ALL);
    let requests = format!(
        r#""inputRequests":{{"a":{FORM},"b":{{"method":"roots/list"}},"c":{{"method":"sampling/createMessage","params":{{"maxTokens":1}}}}}}"#
    );
    let asked = ask(&mut host, "1", &requests);
    assert_eq!(
        asked,
        [
            FORM_LINE,
            r#"host on 1: "id":"postern:input:2","method":"roots/list"}"#,
            r#"host on 1: "id":"postern:input:3","method":"sampling/createMessage","params":{"maxTokens":1}}"#,
        ]
    );
    let mut give = |number: u32, given: &str| {
        shown(&host.on_host(result(&format!(r#""postern:input:{number}""#), given)))
    };
    assert!(give(3, r#"{"role":"assistant"}"#).is_empty());
    assert!(give(1, r#"{"action":"decline"}"#).is_empty());
    assert!(
        give(1, r#"{"action":"accept"}"#).is_empty(),
        "it is answered"
    );
    let sent = give(2, r#"{"roots":[]}"#);
    let given = r#""inputResponses":{"c":{"role":"assistant"},"a":{"action":"decline"},"b":{"roots":[]}}}}"#;
    assert!(
        sent[0].ends_with(given) && !sent[0].contains("requestState"),
        "{sent:?}"
    );
}

#[test]
fn state_without_input_requests_is_retried_up_to_limit() {
    let mut host = called("{}");
    let sent = ask(&mut host, "1", r#""requestState":"later""#);
    assert!(sent[0].ends_with(r#""requestState":"later"}}"#), "{sent:?}");
    for round in 1..super::input::MAX_ROUNDS {
        let on = format!(r#""postern:round:{round}""#);
        assert!(ask(&mut host, &on, r#""requestState":"later""#)[0].starts_with("server: "));
    }
    let on = format!(r#""postern:round:{}""#, super::input::MAX_ROUNDS);
    let told = ask(&mut host, &on, r#""requestState":"later""#);
    assert!(
        told[0].starts_with("host on 1: ") && told[0].contains("-32603"),
        "{told:?}"
    );
}

#[test]
fn input_request_beyond_capabilities_is_rejected() {
    let sampling = r#"{"method":"sampling/createMessage","params":{"tools":[]}}"#;
    let url = r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://x"}}"#;
    for (capabilities, request, missing) in [
        ("{}", FORM, r#"{"elicitation":{}}"#),
        (
            r#"{"elicitation":{}}"#,
            url,
            r#"{"elicitation":{"url":{}}}"#,
        ),
        (
            r#"{"elicitation":{"url":{}}}"#,
            FORM,
            r#"{"elicitation":{"form":{}}}"#,
        ),
        (
            r#"{"sampling":{}}"#,
            sampling,
            r#"{"sampling":{"tools":{}}}"#,
        ),
        ("{}", r#"{"method":"roots/list"}"#, r#"{"roots":{}}"#),
        (ALL, r#"{"method":"x"}"#, "{}"),
    ] {
        let mut host = called(capabilities);
        let told = ask(
            &mut host,
            "1",
            &format!(r#""inputRequests":{{"a":{request}}}"#),
        );
        assert_eq!(told.len(), 1, "{told:?}");
        let data = format!(r#""data":{{"requiredCapabilities":{missing}}}"#);
        assert!(
            told[0].contains("-32021") && told[0].contains(&data),
            "{told:?}"
        );
    }
    let nameless = url.replace("}}", r#","elicitationId":""}}"#);
    for url in [url, &nameless] {
        let mut host = called(r#"{"elicitation":{"url":{}}}"#);
        let asked = ask(&mut host, "1", &format!(r#""inputRequests":{{"a":{url}}}"#));
        assert!(
            asked[0].ends_with(r#""elicitationId":"postern:input:1"}}"#),
            "{asked:?}"
        );
    }
}

#[test]
fn host_error_ends_call() {
    let mut host = called(ALL);
    let requests = format!(r#""inputRequests":{{"a":{FORM},"b":{{"method":"roots/list"}}}}"#);
    ask(&mut host, "1", &requests);
    let told = shown(&host.on_host(error(r#""postern:input:1""#, -1)));
    assert_eq!(
        told,
        [
            r#"host on 1: "id":1,"error":{"code":-1,"message":"no"}}"#,
            r#"host: "method":"notifications/cancelled","params":{"requestId":"postern:input:2"}}"#,
        ]
    );
    assert!(
        host.on_host(result(r#""postern:input:2""#, "{}"))
            .is_empty()
    );
}

#[test]
fn call_can_be_cancelled_at_each_stage() {
    let cancelled = || notification("notifications/cancelled", r#"{"requestId":1}"#);
    let mut host = called(ALL);
    assert_eq!(shown(&host.on_host(cancelled())), ["abandon 1"]);
    assert_eq!(
        shown(&host.on_host(request("1", "tools/list", "{}"))).len(),
        1
    );

    let mut host = called(ALL);
    ask(
        &mut host,
        "1",
        &format!(r#""inputRequests":{{"a":{FORM}}}"#),
    );
    let cancellations =
        r#"host: "method":"notifications/cancelled","params":{"requestId":"postern:input:1"}}"#;
    assert_eq!(shown(&host.on_host(cancelled())), [cancellations]);

    let mut host = called(ALL);
    ask(
        &mut host,
        "1",
        &format!(r#""inputRequests":{{"a":{FORM}}}"#),
    );
    host.on_host(result(r#""postern:input:1""#, "{}"));
    assert_eq!(
        shown(&host.abandon(&id("1"))),
        [r#"abandon "postern:round:2""#]
    );
    let late = result(r#""postern:round:2""#, "{}");
    assert!(
        host.on_server(late, Some(id(r#""postern:round:2""#)))
            .is_empty()
    );

    let mut host = LegacyHost::default();
    host.on_host(initialize("{}"));
    assert!(host.abandon(&id("0")).is_empty(), "a handshake goes on");
}

#[test]
fn failed_input_round_is_not_elicited_again() {
    let mut host = called(ALL);
    ask(
        &mut host,
        "1",
        &format!(r#""inputRequests":{{"a":{FORM}}}"#),
    );
    let round = to_server(&host.on_host(result(r#""postern:input:1""#, "{}")));
    let refused = UpstreamError::Unauthorized {
        challenge: None,
        words: None,
    };
    let told = shown(&host.failed(round.id().cloned(), refused));
    assert_eq!(told, ["fail 1: the server wants a sign-in (HTTP 401)"]);
    let again = to_server(&host.on_host(request("1", "tools/call", NO_META)));
    assert_eq!(again.bytes(), round.bytes());
    let told = shown(&host.failed(round.id().cloned(), UpstreamError::StreamEnded));
    assert_eq!(
        told,
        ["fail 1: the server ended the stream before the answer"]
    );
    let anew = to_server(&host.on_host(request("1", "tools/call", NO_META)));
    assert_eq!(anew.id(), Some(&id("1")), "it may have been carried out");
}

fn listen_line(number: u32, filter: &str) -> String {
    format!(
        r#"server: "id":"postern:listen:{number}","method":"subscriptions/listen","params":{{"_meta":{{{}}},"notifications":{filter}}}}}"#,
        meta("{}")
    )
}

fn acknowledge(host: &mut LegacyHost, number: u32, granted: &str) -> Vec<String> {
    let on = format!(r#""postern:listen:{number}""#);
    let params = format!(
        r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{on}}},"notifications":{granted}}}"#
    );
    let acknowledged = notification("notifications/subscriptions/acknowledged", &params);
    shown(&host.on_server(acknowledged, Some(id(&on))))
}

#[test]
fn listening_stream_becomes_subscription() {
    let mut host = ready("{}");
    let filter = r#"{"toolsListChanged":true}"#;
    assert_eq!(shown(&host.listen()), [listen_line(1, filter)]);
    assert!(host.listen().is_empty(), "there is one");
    assert!(acknowledge(&mut host, 1, filter).is_empty());
    let on = Some(id(r#""postern:listen:1""#));
    let tag = r#""io.modelcontextprotocol/subscriptionId":"postern:listen:1""#;
    for (params, told) in [
        (format!(r#"{{"_meta":{{{tag}}}}}"#), "{}"),
        (
            format!(r#"{{"_meta":{{{tag},"a":1.0}},"b":2.0}}"#),
            r#"{"b":2.0,"_meta":{"a":1.0}}"#,
        ),
    ] {
        let changed = notification("notifications/tools/list_changed", &params);
        let shown = shown(&host.on_server(changed, on.clone()));
        let expected =
            format!(r#"host: "method":"notifications/tools/list_changed","params":{told}}}"#);
        assert_eq!(shown, [expected]);
    }
}

#[test]
fn early_listen_opens_subscription_after_handshake() {
    let mut host = LegacyHost::default();
    host.on_host(initialize("{}"));
    assert!(host.listen().is_empty());
    let actions = shown(&host.on_server(result("0", DISCOVERED), Some(id("0"))));
    assert_eq!(
        actions[1..],
        [listen_line(1, r#"{"toolsListChanged":true}"#)]
    );
}

#[test]
fn subscribe_is_answered_after_acknowledgement() {
    let mut host = ready("{}");
    host.listen();
    acknowledge(&mut host, 1, r#"{"toolsListChanged":true}"#);
    let subscribe =
        |id: &str, uri: &str| request(id, "resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#));
    let both = r#"{"toolsListChanged":true,"resourceSubscriptions":["a:\"1","a:2"]}"#;
    let sent = shown(&host.on_host(subscribe("1", r#"a:\"1"#)));
    assert!(sent[0].contains(r#"["a:\"1"]"#), "{sent:?}");
    let sent = shown(&host.on_host(subscribe("2", "a:2")));
    assert_eq!(
        sent,
        [
            r#"abandon "postern:listen:2""#.to_owned(),
            listen_line(3, both)
        ]
    );
    let told = acknowledge(&mut host, 3, r#"{"resourceSubscriptions":["a:\"1"]}"#);
    assert_eq!(
        told[..2],
        [
            r#"abandon "postern:listen:1""#,
            r#"host on 1: "id":1,"result":{}}"#
        ]
    );
    assert!(
        told[2].contains(r#""id":2,"error":{"code":-32602"#),
        "{told:?}"
    );
    let known = shown(&host.on_host(subscribe("3", r#"a:\"1"#)));
    assert_eq!(known, [r#"host on 3: "id":3,"result":{}}"#]);
    let unsubscribe = request("4", "resources/unsubscribe", r#"{"uri":"a:\"1"}"#);
    let sent = shown(&host.on_host(unsubscribe));
    assert_eq!(sent, [listen_line(4, r#"{"toolsListChanged":true}"#)]);
    let told = acknowledge(&mut host, 4, r#"{"toolsListChanged":true}"#);
    assert_eq!(
        told,
        [
            r#"abandon "postern:listen:3""#,
            r#"host on 4: "id":4,"result":{}}"#
        ]
    );
}

#[test]
fn last_unsubscribe_ends_subscription() {
    let mut host = LegacyHost::default();
    host.on_host(initialize("{}"));
    host.on_server(result("0", r#"{"capabilities":{}}"#), Some(id("0")));
    assert!(host.listen().is_empty(), "there is nothing to hear");
    host.on_host(request("1", "resources/subscribe", r#"{"uri":"a"}"#));
    let unsubscribe = request("2", "resources/unsubscribe", r#"{"uri":"a"}"#);
    assert_eq!(
        shown(&host.on_host(unsubscribe)),
        [
            r#"abandon "postern:listen:1""#,
            r#"host on 1: "id":1,"result":{}}"#,
            r#"host on 2: "id":2,"result":{}}"#,
        ]
    );
}

#[test]
fn lost_subscription_is_reopened_unless_refused() {
    let mut host = ready("{}");
    let on = || Some(id(r#""postern:listen:1""#));
    host.listen();
    acknowledge(&mut host, 1, "{}");
    let later = |failures| format!("listen later, failures: {failures}");
    assert_eq!(
        shown(&host.failed(on(), UpstreamError::StreamEnded)),
        [later(0)]
    );
    assert_eq!(host.listen().len(), 1);
    let second = || Some(id(r#""postern:listen:2""#));
    let done = result(r#""postern:listen:2""#, r#"{"resultType":"complete"}"#);
    assert_eq!(shown(&host.on_server(done, second())), [later(1)]);

    host.listen();
    let third = r#""postern:listen:3""#;
    assert!(
        host.on_server(error(third, -32601), Some(id(third)))
            .is_empty()
    );

    host.listen();
    let refused = UpstreamError::Unauthorized {
        challenge: None,
        words: None,
    };
    let told = shown(&host.failed(Some(id(r#""postern:listen:4""#)), refused));
    assert_eq!(told, ["fail: the server wants a sign-in (HTTP 401)"]);

    host.on_host(request("1", "resources/subscribe", r#"{"uri":"a"}"#));
    let fifth = r#""postern:listen:5""#;
    let told = shown(&host.on_server(error(fifth, -32601), Some(id(fifth))));
    assert_eq!(
        told,
        [r#"host on 1: "id":1,"error":{"code":-32601,"message":"no"}}"#]
    );
}

#[test]
fn reset_ends_handshake_and_subscription_but_no_call() {
    let mut host = LegacyHost::default();
    host.on_host(initialize("{}"));
    let gone = "the server ended the stream before the answer";
    let ended = ["abandon 0".to_owned(), format!("fail 0: {gone}")];
    assert_eq!(shown(&host.reset()), ended);

    let mut host = called("{}");
    host.listen();
    host.on_host(request("2", "resources/subscribe", r#"{"uri":"a"}"#));
    let ended = [
        r#"abandon "postern:listen:2""#.to_owned(),
        format!("fail 2: {gone}"),
    ];
    assert_eq!(shown(&host.reset()), ended);
    let answer = shown(&host.on_server(result("1", "{}"), Some(id("1"))));
    assert_eq!(answer, [r#"host on 1: "id":1,"result":{}}"#]);
}

#[test]
fn missing_resource_error_gets_legacy_code() {
    let told = |code: i64, data: &str| {
        let mut host = ready("{}");
        host.on_host(request("1", "resources/read", r#"{"uri":"a:\u0062"}"#));
        let error = format!(r#"{{"code":{code},"message":"no","data":{data}}}"#);
        let answer = crate::Message::raw_error(&id("1"), &error);
        let mut told = shown(&host.on_server(answer, Some(id("1"))));
        told.pop().unwrap()
    };
    let expected =
        r#"host on 1: "id":1,"error":{"message":"no","data":{"uri":"a:b","x":1.0},"code":-32002}}"#;
    assert_eq!(told(-32602, r#"{"uri":"a:b","x":1.0}"#), expected);
    for (code, data) in [
        (-32602, r#"{"uri":"a:c"}"#),
        (-32602, "1"),
        (-32603, r#"{"uri":"a:b"}"#),
    ] {
        assert!(told(code, data).contains(&code.to_string()), "{data}");
    }
}
