use bytes::Bytes;
use mcp::Message;

use control::api::{Problem, ProblemKind};

use serde_json::value::RawValue;

use super::cached_result::MAX_CACHED;
use super::{CachedResult, Change, ServerCache, Unavailable};

/// What `cache` answers for the server `one` while no account is signed in to it.
fn answered(cache: &ServerCache, request: &Message) -> Option<Message> {
    let problem = Problem::new(ProblemKind::SignInNeeded, "the server needs a sign-in");
    let unavailable = Unavailable {
        server: &"one".parse().unwrap(),
        problem: &problem,
    };
    cache.answer(request, unavailable)
}

fn request(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

#[test]
fn empty_cache_answers_with_requested_version() {
    let cache = ServerCache::default();
    let ask = |version: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"initialize","params":{{"protocolVersion":"{version}"}}}}"#
        );
        let answer = answered(&cache, &request(&text)).unwrap();
        let result: serde_json::Value =
            serde_json::from_str(answer.result().unwrap().get()).unwrap();
        result["protocolVersion"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask("2025-03-26"), "2025-03-26");
    assert_eq!(ask("1999-01-01"), "2025-11-25");
    let call = request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    assert!(answered(&cache, &call).is_none());
}

#[test]
fn cached_list_is_returned_byte_for_byte() {
    let mut cache = ServerCache::default();
    let list = request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let page = request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#);
    assert!(ServerCache::is_cacheable(&list) && !ServerCache::is_cacheable(&page));
    let answer =
        request(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","x-odd":1.0}]}}"#);
    assert!(note(&mut cache, "tools/list", answer.result().unwrap()));
    assert!(!note(&mut cache, "tools/list", answer.result().unwrap()));
    let cached = answered(&cache, &list).unwrap();
    assert_eq!(
        cached.result().unwrap().get(),
        answer.result().unwrap().get()
    );
    assert_eq!(cache.tools().unwrap()[0].name, "t");
}

#[test]
fn only_unknown_tools_list_has_stand_in() {
    let unseen = ServerCache::default();
    let tools = response(&unseen, "tools/list", "{}");
    assert!(tools.starts_with(r#"{"tools":[{"#) && tools.contains(r#""name":"sign_in_one""#));
    assert_eq!(response(&unseen, "prompts/list", "{}"), r#"{"prompts":[]}"#);
    let page = response(&unseen, "tools/list", r#"{"cursor":"x"}"#);
    assert_eq!(page, r#"{"tools":[]}"#);
    let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
    let tools = response(&unseen, "tools/list", modern);
    for field in [r#""ttlMs":0"#, r#""cacheScope":"private""#, "sign_in_one"] {
        assert!(tools.contains(field), "{field} in {tools}");
    }
    let none = cache(&[("tools/list", r#"{"tools":[]}"#)]);
    assert_eq!(response(&none, "tools/list", "{}"), r#"{"tools":[]}"#);
    let discovered = response(&unseen, "server/discover", "{}");
    assert!(discovered.contains("postern sign-in one"), "{discovered}");
}

/// Notes a result; says whether it is news.
fn note(cache: &mut ServerCache, method: &str, result: &RawValue) -> bool {
    let before = cache.before(method);
    let news = CachedResult::if_changed(method, result, before.cached.as_ref());
    news.is_some_and(|cached| cache.record(method, cached, &before))
}

fn cache(results: &[(&str, &str)]) -> ServerCache {
    let mut cache = ServerCache::default();
    for (method, result) in results {
        let raw = serde_json::value::RawValue::from_string((*result).to_owned()).unwrap();
        note(&mut cache, method, &raw);
    }
    cache
}

fn response(cache: &ServerCache, method: &str, params: &str) -> String {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let answer = answered(cache, &request(&text)).unwrap();
    let body = answer.result().or(answer.error()).unwrap();
    body.get().to_owned()
}

#[test]
fn cached_list_has_empty_second_page() {
    let first = r#"{"tools":[{"name":"t"}],"nextCursor":"x"}"#;
    let cache = cache(&[("tools/list", first)]);
    assert_eq!(response(&cache, "tools/list", "{}"), first);
    let next = response(&cache, "tools/list", r#"{"cursor":"x"}"#);
    assert_eq!(next, r#"{"tools":[]}"#);
}

#[test]
fn cached_handshake_adapts_version() {
    let known = r#"{"protocolVersion":"2025-11-25","serverInfo":{"x":1.0}}"#;
    let cache = cache(&[("initialize", known)]);
    let same = response(&cache, "initialize", r#"{"protocolVersion":"2025-11-25"}"#);
    assert_eq!(same, known);
    let older = response(&cache, "initialize", r#"{"protocolVersion":"2025-03-26"}"#);
    assert_eq!(
        older,
        r#"{"protocolVersion":"2025-03-26","serverInfo":{"x":1.0}}"#
    );
    let unknown = response(&cache, "initialize", r#"{"protocolVersion":"2033-01-01"}"#);
    assert_eq!(unknown, known);
}

#[test]
fn cached_result_is_converted_to_other_era() {
    let value = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let info = serde_json::json!({ "name": "s", "version": "1" });
    let known = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"i"}"#;
    let listed = r#"{"tools":[{"x":1.0}]}"#;
    let legacy = cache(&[("initialize", known), ("tools/list", listed)]);
    let discovered = value(response(&legacy, "server/discover", "{}"));
    assert_eq!(discovered["supportedVersions"][0], "2026-07-28");
    assert_eq!(
        discovered["capabilities"],
        serde_json::json!({ "tools": {} })
    );
    assert_eq!(discovered["instructions"], "i");
    let signed = &discovered["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(*signed, info);
    let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
    let list = response(&legacy, "tools/list", modern);
    assert!(list.contains(r#"{"x":1.0}"#), "{list}");
    assert_eq!(value(list)["resultType"], "complete");
    assert_eq!(response(&legacy, "tools/list", "{}"), listed);

    let modern = cache(&[("server/discover", &discovered.to_string())]);
    let initialized = value(response(
        &modern,
        "initialize",
        r#"{"protocolVersion":"2025-06-18"}"#,
    ));
    assert_eq!(initialized["protocolVersion"], "2025-06-18");
    assert_eq!(initialized["serverInfo"], info);
    assert_eq!(initialized["instructions"], "i");

    let unknown = value(response(&cache(&[]), "server/discover", "{}"));
    assert_eq!(unknown["capabilities"]["tools"]["listChanged"], true);
}

#[test]
fn cache_is_cleared_for_another_account() {
    let mut cache = cache(&[("tools/list", r#"{"tools":[]}"#)]);
    assert_eq!(
        cache.record_account("a"),
        Change::More,
        "it belonged to no account"
    );
    assert!(cache.tools().is_some());
    assert_eq!(cache.record_account("a"), Change::None);
    let before = cache.before("tools/list");
    assert_eq!(cache.record_account("b"), Change::Forgotten);
    assert!(cache.tools().is_none());
    let late = before.cached.clone().unwrap();
    assert!(!cache.record("tools/list", late, &before), "`a` saw it");
    assert_eq!(cache.forget(), Change::Forgotten);
    assert!(cache.was_signed_in());
    assert_eq!(cache.forget(), Change::None);
}

#[test]
fn large_list_is_stored_as_outline() {
    let url = "https://a.example/mcp".parse().unwrap();
    let list = |name: &str| {
        let filler = "x".repeat(MAX_CACHED);
        let text = format!(
            r#"{{"tools":[{{"name":"{name}"}},{{"name":"sign_in_one","description":"{filler}"}}]}}"#
        );
        RawValue::from_string(text).unwrap()
    };
    let mut cache = ServerCache::for_url(&url);
    assert!(note(&mut cache, "tools/list", &list("t")));
    assert!(!note(&mut cache, "tools/list", &list("t")));
    assert!(note(&mut cache, "tools/list", &list("u")));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.json");
    let text = cache.text().unwrap();
    assert!(text.len() < 1024, "{} bytes", text.len());
    std::fs::write(&path, text).unwrap();
    let loaded = ServerCache::load(&path, &url);
    for cache in [&cache, &loaded] {
        let tools = cache.tools().unwrap();
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["sign_in_one", "u"]);
        assert!(cache.has_tool("u") && !cache.has_tool("t"));
        assert!(cache.lacks(&request(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#
        )));
        // The server has a tool of that name itself.
        assert_eq!(response(cache, "tools/list", "{}"), r#"{"tools":[]}"#);
    }
    let mut loaded = loaded;
    assert!(!note(&mut loaded, "tools/list", &list("u")));
}
