mod subscriptions;
mod url_elicitation;

use crate::Message;
use crate::error::UpstreamError;

use super::super::tests::{error, id, notification, request, result, shown, text, to_server};
use super::{Action, ModernHost, input};

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{}},"serverInfo":{"name":"s","x":1.0},"instructions":"do \u0061s you like"}"#;
const SIGNATURE: &str = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","x":1.0}}"#;
const ALL: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;
const FORM: &str = r#"{"message":"name?","requestedSchema":{"x":1.0}}"#;

/// The `_meta` of a host with these capabilities, and more members.
fn meta(capabilities: &str, more: &str) -> String {
    format!(
        r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"h","version":"2"}},"io.modelcontextprotocol/clientCapabilities":{capabilities}{more}}}"#
    )
}

fn call(id: &str, capabilities: &str, more: &str) -> Message {
    let meta = meta(capabilities, more);
    let params = format!(r#"{{"name":"t","arguments":{{"x":1.0}},{meta}}}"#);
    request(id, "tools/call", &params)
}

/// A host with these capabilities after the handshake and a call with the id 1, which is
/// `postern:2` at the server.
fn called(capabilities: &str) -> ModernHost {
    let mut host = ModernHost::new("n".into(), false);
    host.on_host(call("1", capabilities, ""));
    open(&mut host);
    host
}

fn open(host: &mut ModernHost) -> Vec<String> {
    let first = r#""postern:1""#;
    shown(&host.on_server(result(first, INITIALIZED), Some(id(first))))
}

fn at(number: u32) -> String {
    format!(r#""postern:{number}""#)
}

fn on(number: u32) -> Option<crate::RequestId> {
    Some(id(&at(number)))
}

fn ask(host: &mut ModernHost, question: &str, method: &str, params: &str) -> Vec<String> {
    shown(&host.on_server(request(question, method, params), on(2)))
}

/// The host's retry with this state and these input responses.
fn round(id: &str, state: u32, given: &str) -> Message {
    let meta = meta(ALL, "");
    let params = format!(
        r#"{{"name":"t",{meta},"requestState":"postern:n:{state}","inputResponses":{given}}}"#
    );
    request(id, "tools/call", &params)
}

fn listen(id: &str, filter: &str) -> Message {
    let meta = meta("{}", "");
    request(
        id,
        "subscriptions/listen",
        &format!(r#"{{{meta},"notifications":{filter}}}"#),
    )
}

#[test]
fn first_request_opens_session_for_all() {
    let mut host = ModernHost::new("n".into(), false);
    let first = shown(&host.on_host(call("1", "{}", r#","a/b":1e2"#)));
    let initialize = r#"server: "id":"postern:1","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"2"}}}"#;
    assert_eq!(first, [initialize]);
    assert!(host.on_host(call("2", "{}", "")).is_empty());
    let again = shown(&host.on_host(call("2", "{}", "")));
    assert!(again[0].contains("use each id once"), "{again:?}");
    assert!(host.abandon(&id("2")).is_empty());
    let opened = open(&mut host);
    let sent = r#"server: "id":"postern:2","method":"tools/call","params":{"name":"t","arguments":{"x":1.0},"_meta":{"a/b":1e2}}}"#;
    assert_eq!(
        opened,
        [
            "right era",
            r#"server: "method":"notifications/initialized"}"#,
            sent
        ]
    );
    let answered = shown(&host.on_server(result(&at(2), r#"{"y":1.0}"#), on(2)));
    let expected =
        format!(r#"host on 1: "id":1,"result":{{"y":1.0,"resultType":"complete",{SIGNATURE}}}}}"#);
    assert_eq!(answered, [expected]);
}

#[test]
fn server_discover_is_answered_from_handshake() {
    let mut host = called("{}");
    let discover = request("5", "server/discover", &format!("{{{}}}", meta("{}", "")));
    let expected = format!(
        r#"host on 5: "id":5,"result":{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{"listChanged":true}},"resources":{{"subscribe":true}},"logging":{{}}}},"instructions":"do \u0061s you like","ttlMs":0,"cacheScope":"private",{SIGNATURE}}}}}"#
    );
    assert_eq!(shown(&host.on_host(discover)), [expected]);
}

#[test]
fn results_get_modern_members_and_keep_all_others() {
    let mut host = called("{}");
    let list = request("5", "tools/list", &format!("{{{}}}", meta("{}", "")));
    let sent = shown(&host.on_host(list));
    assert_eq!(
        sent,
        [r#"server: "id":"postern:3","method":"tools/list","params":{}}"#]
    );
    let listed = r#"{"tools":[{"name":"t","x":1.0}],"_meta":{"a":1.0},"ttlMs":5}"#;
    let answered = shown(&host.on_server(result(&at(3), listed), on(3)));
    let expected = r#"host on 5: "id":5,"result":{"tools":[{"name":"t","x":1.0}],"ttlMs":5,"resultType":"complete","cacheScope":"private","_meta":{"a":1.0,"io.modelcontextprotocol/serverInfo":{"name":"s","x":1.0}}}}"#;
    assert_eq!(answered, [expected]);

    let read = format!(r#"{{"uri":"a",{}}}"#, meta("{}", ""));
    host.on_host(request("6", "resources/read", &read));
    let answered = shown(&host.on_server(error(&at(4), -32002), on(4)));
    assert_eq!(
        answered,
        [r#"host on 6: "id":6,"error":{"message":"no","code":-32602}}"#]
    );
    let answered = shown(&host.on_server(error(&at(2), -7), on(2)));
    assert_eq!(
        answered,
        [r#"host on 1: "id":1,"error":{"code":-7,"message":"no"}}"#]
    );
}

#[test]
fn incomplete_request_is_rejected_locally() {
    let mut host = called("{}");
    for (params, code) in [
        ("{}", "-32602"),
        (
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
            "-32602",
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2033-01-01"}}"#,
            r#"-32022,"data":{"requested":"2033-01-01","supported":["2026-07-28"]}"#,
        ),
        (
            &format!(
                "{{{}}}",
                meta("{}", r#","io.modelcontextprotocol/logLevel":"loud""#)
            ),
            "-32602",
        ),
    ] {
        let refused = shown(&host.on_host(request("5", "server/discover", params)));
        assert!(
            refused.len() == 1 && refused[0].contains(code),
            "{params}: {refused:?}"
        );
    }
    let params = format!("{{{}}}", meta("{}", ""));
    for method in [
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "initialize",
    ] {
        let refused = shown(&host.on_host(request("5", method, &params)));
        assert!(refused[0].contains("-32601"), "{method}: {refused:?}");
    }
}

#[test]
fn server_request_becomes_input_request_and_retry_answers() {
    let mut host = called(ALL);
    let asked = ask(&mut host, "7", "elicitation/create", FORM);
    let expected = format!(
        r#"host on 1: "id":1,"result":{{"resultType":"input_required","inputRequests":{{"input-3":{{"method":"elicitation/create","params":{FORM}}}}},"requestState":"postern:n:4",{SIGNATURE}}}}}"#
    );
    assert_eq!(asked, [expected, "hold 4".to_owned()]);
    let given = r#"{"action":"accept","content":{"n":"\u00e4"}}"#;
    let sent = shown(&host.on_host(round("2", 4, &format!(r#"{{"input-3":{given}}}"#))));
    assert_eq!(sent, [format!(r#"server: "id":7,"result":{given}}}"#)]);
    let answered = shown(&host.on_server(result(&at(2), "{}"), on(2)));
    assert!(
        answered[0].starts_with(r#"host on 2: "id":2,"result":{"#),
        "{answered:?}"
    );
    assert!(host.expired(4).is_empty(), "it was answered");
}

#[test]
fn unanswered_input_requests_make_another_round() {
    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    assert!(ask(&mut host, "8", "roots/list", "{}").is_empty());
    assert!(ask(&mut host, "9", "sampling/createMessage", "{}").is_empty());
    let cancellations = notification("notifications/cancelled", r#"{"requestId":9}"#);
    assert!(host.on_server(cancellations, on(2)).is_empty());
    let sent = shown(&host.on_host(round("2", 4, r#"{"input-3":{"action":"decline"}}"#)));
    assert_eq!(sent[0], r#"server: "id":7,"result":{"action":"decline"}}"#);
    assert!(sent[1].contains(r#""inputRequests":{"input-5":{"method":"roots/list","params":{}}}"#));
    assert_eq!(sent[2], "hold 7");
    let again = shown(&host.on_host(round("3", 7, "{}")));
    assert!(
        again[0].starts_with("host on 3: ") && again[0].contains("input-5"),
        "{again:?}"
    );
    let done = shown(&host.on_host(round("4", 8, r#"{"input-5":{"roots":[]}}"#)));
    assert_eq!(done, [r#"server: "id":8,"result":{"roots":[]}}"#]);
}

#[test]
fn early_outcome_is_delivered_on_retry() {
    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    let progress = notification("notifications/progress", r#"{"progressToken":1}"#);
    assert!(
        host.on_server(progress, on(2)).is_empty(),
        "the host does not wait"
    );
    assert!(
        host.on_server(result(&at(2), r#"{"y":1}"#), on(2))
            .is_empty()
    );
    let told = shown(&host.on_host(round("2", 4, "{}")));
    assert!(
        told[0].starts_with(r#"host on 2: "id":2,"result":{"y":1,"#),
        "{told:?}"
    );

    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    assert!(host.failed(on(2), UpstreamError::StreamEnded).is_empty());
    let told = shown(&host.on_host(round("2", 4, "{}")));
    assert_eq!(
        told,
        ["fail 2: the server ended the stream before the answer"]
    );
}

#[test]
fn state_is_single_use_and_bound_to_its_request() {
    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    let other = format!(
        r#"{{"name":"other",{},"requestState":"postern:n:4"}}"#,
        meta(ALL, "")
    );
    for (refused, why) in [
        (request("2", "tools/call", &other), "another request"),
        (round("2", 5, "{}"), "no longer waits"),
        (
            request("2", "tools/call", &other.replace(":n:", ":m:")),
            "no longer waits",
        ),
    ] {
        let told = shown(&host.on_host(refused));
        assert!(
            told[0].contains("-32602") && told[0].contains(why),
            "{told:?}"
        );
    }
    host.on_host(round("2", 4, r#"{"input-3":{}}"#));
    let told = shown(&host.on_host(round("3", 4, r#"{"input-3":{}}"#)));
    assert!(told[0].contains("no longer waits"), "{told:?}");
}

#[test]
fn missing_retry_cancels_request() {
    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    let refusal = r#"server: "id":7,"error":{"code":-32603,"message":"the client no longer waits for this"}}"#;
    let cancelled =
        r#"server: "method":"notifications/cancelled","params":{"requestId":"postern:2"}}"#;
    let given_up = [refusal, cancelled, r#"abandon "postern:2""#];
    assert_eq!(shown(&host.expired(4)), given_up);
    assert!(host.expired(4).is_empty());

    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    let mut actions = Vec::new();
    for number in 0..input::MAX_SUSPENDED {
        let sent = to_server(&host.on_host(call("1", ALL, "")));
        let question = request(&format!("{}", 100 + number), "roots/list", "{}");
        actions = shown(&host.on_server(question, sent.id().cloned()));
    }
    assert_eq!(actions[2..], given_up, "the oldest makes room");
    assert_eq!(host.closing_messages().len(), input::MAX_SUSPENDED);
}

#[test]
fn unsupported_or_unrelated_server_request_is_rejected() {
    let mut host = called(r#"{"elicitation":{}}"#);
    let pong = ask(&mut host, "7", "ping", "{}");
    assert_eq!(pong, [r#"server: "id":7,"result":{}}"#]);
    for (method, params) in [
        ("roots/list", "{}"),
        ("elicitation/create", r#"{"mode":"url"}"#),
        ("tasks/list", "{}"),
    ] {
        let refused = ask(&mut host, "7", method, params);
        assert!(
            refused.len() == 1 && refused[0].contains("-32601"),
            "{refused:?}"
        );
    }
    host.on_server(result(&at(2), "{}"), on(2));
    let refused = shown(&host.on_server(request("8", "elicitation/create", FORM), None));
    assert!(refused[0].contains("-32603"), "{refused:?}");
}

#[test]
fn server_request_without_stream_goes_to_newest_call() {
    let mut host = called(ALL);
    host.on_host(call("2", ALL, ""));
    host.on_host(request(
        "3",
        "tools/list",
        &format!("{{{}}}", meta(ALL, "")),
    ));
    let url = r#"{"mode":"url","elicitationId":"e","url":"https://x"}"#;
    let elicit = |id: &str| request(id, "elicitation/create", FORM);
    assert!(shown(&host.on_server(elicit("7"), None))[0].starts_with("host on 2: "));
    assert!(shown(&host.on_server(elicit("8"), None))[0].starts_with("host on 1: "));
    let can = r#"{"elicitation":{"url":{}}}"#;
    host.on_host(call("4", can, ""));
    let asked = shown(&host.on_server(request("9", "elicitation/create", url), None));
    assert!(
        asked[0].contains(r#""params":{"mode":"url","url":"https://x"}"#),
        "{asked:?}"
    );
}

#[test]
fn call_can_be_cancelled_at_each_stage() {
    let mut host = ModernHost::new("n".into(), false);
    host.on_host(call("1", "{}", ""));
    assert!(host.abandon(&id("1")).is_empty());
    assert_eq!(open(&mut host).len(), 2, "nothing is sent");

    let mut host = called("{}");
    let cancelled = notification("notifications/cancelled", r#"{"requestId":1}"#);
    assert_eq!(
        shown(&host.on_host(cancelled)),
        [
            r#"server: "method":"notifications/cancelled","params":{"requestId":"postern:2"}}"#,
            r#"abandon "postern:2""#,
        ]
    );
    assert!(host.on_server(result(&at(2), "{}"), on(2)).is_empty());
}

#[test]
fn progress_uses_token_of_latest_retry() {
    let mut host = ModernHost::new("n".into(), false);
    host.on_host(call("1", ALL, r#","progressToken":"a""#));
    open(&mut host);
    let progress = || {
        notification(
            "notifications/progress",
            r#"{"progressToken":"a","progress":1.0}"#,
        )
    };
    for on in [on(2), None] {
        let told = shown(&host.on_server(progress(), on));
        let expected = r#"host on 1: "method":"notifications/progress","params":{"progressToken":"a","progress":1.0}}"#;
        assert_eq!(told, [expected]);
    }
    ask(&mut host, "7", "roots/list", "{}");
    let again = format!(
        r#"{{"name":"t",{},"requestState":"postern:n:4","inputResponses":{{"input-3":{{}}}}}}"#,
        meta(ALL, r#","progressToken":5"#)
    );
    host.on_host(request("2", "tools/call", &again));
    let told = shown(&host.on_server(progress(), on(2)));
    let expected = r#"host on 2: "method":"notifications/progress","params":{"progress":1.0,"progressToken":5}}"#;
    assert_eq!(told, [expected]);
}

#[test]
fn log_level_is_set_first_and_filters_messages() {
    let mut host = called("{}");
    let level = |level: &str| format!(r#","io.modelcontextprotocol/logLevel":"{level}""#);
    let set = shown(&host.on_host(call("2", "{}", &level("warning"))));
    assert_eq!(
        set,
        [r#"server: "id":"postern:3","method":"logging/setLevel","params":{"level":"warning"}}"#]
    );
    let sent = shown(&host.on_server(result(&at(3), "{}"), on(3)));
    assert!(
        sent[0].contains(r#""postern:4","method":"tools/call""#),
        "{sent:?}"
    );
    assert!(!sent[0].contains("logLevel"), "{sent:?}");
    let log = |level: &str| {
        notification(
            "notifications/message",
            &format!(r#"{{"level":"{level}"}}"#),
        )
    };
    for (level, on, told) in [
        ("info", on(4), 0),
        ("error", on(4), 1),
        ("error", None, 1),
        ("error", on(2), 0),
    ] {
        let actions = shown(&host.on_server(log(level), on.clone()));
        assert_eq!(actions.len(), told, "{level} {on:?}");
        assert!(actions.iter().all(|line| line.starts_with("host on 2: ")));
    }
    let quieter = shown(&host.on_host(call("3", "{}", &level("error"))));
    assert!(quieter[0].contains("tools/call"), "{quieter:?}");
    let louder = shown(&host.on_host(call("4", "{}", &level("debug"))));
    assert!(louder[0].contains("setLevel"), "{louder:?}");
    let refused = shown(&host.on_server(error(&at(6), -32601), on(6)));
    assert!(refused[0].contains("tools/call"), "{refused:?}");
}

#[test]
fn lost_session_is_reopened() {
    let mut host = called("{}");
    host.on_host(listen("9", "{}"));
    let gone = UpstreamError::SessionGone {
        generation: crate::error::Generation::default(),
    };
    assert_eq!(
        shown(&host.lose_session(&gone)),
        ["fail 9: the server has forgotten the session"]
    );
    assert!(host.failed(None, gone.clone()).is_empty());
    let failed = shown(&host.failed(on(2), gone.clone()));
    assert_eq!(failed, ["fail 1: the server has forgotten the session"]);
    let again = to_server(&host.on_host(call("1", "{}", "")));
    assert_eq!(again.method(), Some("initialize"));
    let forgotten = shown(&host.reset(&gone));
    assert_eq!(forgotten, ["fail 1: the server has forgotten the session"]);
}

#[test]
fn failed_handshake_fails_all_waiting_requests() {
    let mut host = ModernHost::new("n".into(), false);
    host.on_host(call("1", "{}", ""));
    host.on_host(call("2", "{}", ""));
    let failed = shown(&host.failed(
        on(1),
        UpstreamError::Unauthorized {
            challenge: None,
            words: None,
        },
    ));
    let why = "the server wants a sign-in (HTTP 401)";
    assert_eq!(failed, [format!("fail 1: {why}"), format!("fail 2: {why}")]);
    host.on_host(call("1", "{}", ""));
    let refused = shown(&host.on_server(error(&at(2), -7), on(2)));
    assert_eq!(
        refused,
        [r#"host on 1: "id":1,"error":{"code":-7,"message":"no"}}"#]
    );
}

#[test]
fn refused_handshake_sends_request_untranslated() {
    let refusal = text(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"first"}}"#);
    for failure in [
        Err(UpstreamError::Rejected {
            status: 404,
            body: None,
        }),
        Err(UpstreamError::Rejected {
            status: 400,
            body: Some(text(
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"x"}}"#,
            )),
        }),
        Ok(error(&at(1), -32601)),
    ] {
        let mut host = ModernHost::new("n".into(), false);
        host.on_host(call("1", "{}", ""));
        host.refused(call("2", "{}", ""), Ok(refusal.clone()));
        let actions = match failure {
            Ok(answer) => host.on_server(answer, on(1)),
            Err(failure) => host.failed(on(1), failure),
        };
        assert_eq!(to_server(&actions).bytes(), call("1", "{}", "").bytes());
        let lines = shown(&actions);
        assert_eq!(lines[0], "wrong era");
        assert_eq!(
            lines[2],
            r#"host on 2: "id":2,"error":{"code":-32000,"message":"first"}}"#
        );
    }
    let mut host = ModernHost::new("n".into(), false);
    let discover = request("1", "server/discover", &format!("{{{}}}", meta("{}", "")));
    host.refused(discover, Ok(result("1", r#"{"x":1.0}"#)));
    let lines = shown(&host.on_server(error(&at(1), -32601), on(1)));
    let stands = r#"host on 1: "id":1,"result":{"x":1.0}}"#;
    assert_eq!(lines, ["wrong era", stands], "its answer, odd as it is");
    let mut host = ModernHost::new("n".into(), true);
    host.on_host(call("1", "{}", ""));
    let failed = shown(&host.failed(
        on(1),
        UpstreamError::Rejected {
            status: 404,
            body: None,
        },
    ));
    assert_eq!(
        failed,
        ["fail 1: the server has nothing at this path (HTTP 404)"]
    );
}

#[test]
fn end_of_translation_ends_all_calls() {
    let mut host = called(ALL);
    ask(&mut host, "7", "elicitation/create", FORM);
    host.on_host(call("2", ALL, ""));
    let ended = host.end();
    let failed = |action: &&Action| matches!(action, Action::Fail { .. });
    let closed = |action: &&Action| matches!(action, Action::Abandon(_));
    assert_eq!(ended.iter().filter(failed).count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(closed).count(), 2, "{ended:?}");
}
