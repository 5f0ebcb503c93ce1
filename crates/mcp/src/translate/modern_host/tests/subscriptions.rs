use super::super::super::tests::{error, id, notification, result, shown};
use super::super::ModernHost;
use super::{ALL, at, call, called, listen, on, open};

#[test]
fn subscription_is_acknowledged_after_its_resources() {
    let mut host = called("{}");
    let filter = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["a:\"1","b"]}"#;
    let asked = shown(&host.on_host(listen("\"l\"", filter)));
    assert_eq!(
        asked,
        [
            "listen",
            r#"server: "id":"postern:3","method":"resources/subscribe","params":{"uri":"a:\"1"}}"#,
            r#"server: "id":"postern:4","method":"resources/subscribe","params":{"uri":"b"}}"#,
        ]
    );
    let changed = || notification("notifications/tools/list_changed", r#"{"x":1.0}"#);
    assert!(
        host.on_server(changed(), None).is_empty(),
        "it does not stand"
    );
    assert!(host.on_server(result(&at(3), "{}"), on(3)).is_empty());
    let tag = r#""_meta":{"io.modelcontextprotocol/subscriptionId":"l"}"#;
    let stands = shown(&host.on_server(error(&at(4), -32002), on(4)));
    let expected = format!(
        r#"host on "l": "method":"notifications/subscriptions/acknowledged","params":{{{tag},"notifications":{{"toolsListChanged":true,"resourceSubscriptions":["a:\"1"]}}}}}}"#
    );
    assert_eq!(stands, [expected]);
    let told = shown(&host.on_server(changed(), on(2)));
    let expected = format!(
        r#"host on "l": "method":"notifications/tools/list_changed","params":{{"x":1.0,{tag}}}}}"#
    );
    assert_eq!(told, [expected]);
    for (uri, told) in [(r#"a:\"1"#, 1), (r#"a:\"1/part"#, 1), ("b", 0)] {
        let updated = notification(
            "notifications/resources/updated",
            &format!(r#"{{"uri":"{uri}"}}"#),
        );
        assert_eq!(host.on_server(updated, None).len(), told, "{uri}");
    }
    let second = shown(&host.on_host(listen("9", r#"{"resourceSubscriptions":["a:\"1"]}"#)));
    assert!(second[0].starts_with("host on 9: "), "{second:?}");
    assert!(host.abandon(&id("9")).is_empty(), "the other one needs it");
    let ended = shown(&host.abandon(&id("\"l\"")));
    assert_eq!(
        ended,
        [r#"server: "id":"postern:5","method":"resources/unsubscribe","params":{"uri":"a:\"1"}}"#]
    );
    assert!(host.on_server(changed(), None).is_empty());
}

#[test]
fn resubscribe_waits_for_pending_unsubscribe() {
    let mut host = called("{}");
    let filter = r#"{"resourceSubscriptions":["a"]}"#;
    host.on_host(listen("8", filter));
    host.on_server(result(&at(3), "{}"), on(3));
    let left = shown(&host.abandon(&id("8")));
    let leave =
        r#"server: "id":"postern:4","method":"resources/unsubscribe","params":{"uri":"a"}}"#;
    assert_eq!(left, [leave]);
    assert!(host.on_host(listen("9", filter)).is_empty());
    assert!(host.abandon(&id("9")).is_empty(), "nothing was sent");
    host.on_host(listen("10", filter));
    let again = shown(&host.on_server(error(&at(4), -32601), on(4)));
    let subscribe =
        r#"server: "id":"postern:6","method":"resources/subscribe","params":{"uri":"a"}}"#;
    assert_eq!(again, [subscribe]);
    let stands = shown(&host.on_server(result(&at(6), "{}"), on(6)));
    assert!(stands[0].contains("acknowledged"), "{stands:?}");
}

#[test]
fn capable_host_opens_listening_stream() {
    let mut host = ModernHost::new("n".into(), false);
    host.on_host(call("1", ALL, ""));
    assert_eq!(open(&mut host)[2], "listen");
    assert_eq!(shown(&host.listen()), ["listen"]);
    assert!(called("{}").listen().is_empty());
}
