use super::super::super::tests::{id, request, shown, to_server};
use super::{at, called, meta, on};
use crate::Message;

/// The error of a server that requires the user to open a URL.
const AWAY: &str = r#"{"code":-32042,"message":"go","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://x","message":"m","x":1.0}]}}"#;

#[test]
fn url_elicitation_error_becomes_input_request() {
    let url = r#"{"elicitation":{"url":{}}}"#;
    let away = |capabilities: &str, error: &str| {
        let mut host = called(capabilities);
        let told = shown(&host.on_server(Message::raw_error(&id(&at(2)), error), on(2)));
        (host, told)
    };
    let (mut host, told) = away(url, AWAY);
    let input_request = r#""postern:visit-1":{"method":"elicitation/create","params":{"url":"https://x","message":"m","x":1.0,"mode":"url"}}"#;
    let expected = format!(
        r#"host on 1: "id":1,"result":{{"resultType":"input_required","inputRequests":{{{input_request}}}"#
    );
    assert!(
        told.len() == 1 && told[0].starts_with(&expected),
        "{told:?}"
    );
    assert!(!told[0].contains("requestState"), "nothing is kept");

    let back = |id: &str, action: &str| {
        let rest = format!(
            r#","inputResponses":{{"postern:visit-1":{{"action":"{action}"}}}},"name":"t""#
        );
        let params = format!("{{{}{rest}}}", meta(url, ""));
        request(id, "tools/call", &params)
    };
    let again = to_server(&host.on_host(back("5", "accept")));
    let sent = String::from_utf8_lossy(again.bytes()).into_owned();
    assert!(!sent.contains("inputResponses"), "{sent}");
    let declined = shown(&host.on_host(back("6", "decline")));
    assert!(
        declined[0].starts_with(r#"host on 6: "id":6,"error":{"code":-32602"#),
        "{declined:?}"
    );

    let (_, told) = away(r#"{"elicitation":{}}"#, AWAY);
    let needed = r#""data":{"requiredCapabilities":{"elicitation":{"url":{}}}}"#;
    assert!(
        told[0].contains("-32021") && told[0].contains(needed),
        "{told:?}"
    );
    let nowhere = r#"{"code":-32042,"message":"go","data":{"elicitations":[]}}"#;
    let (_, told) = away(url, nowhere);
    assert_eq!(told, [format!(r#"host on 1: "id":1,"error":{nowhere}}}"#)]);
}
