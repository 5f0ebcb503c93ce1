//! The consents of several servers in one list.

use control::api::{ConsentList, NotAsked, ProblemKind, Reply, Request, SignInWay};

use crate::bridge::Bridge;
use crate::server::Server;

/// A server whose authorization server lists these consents.
async fn server(ids: &[&'static str]) -> Server {
    let server = Server::start().await;
    server.record.want_sign_in();
    server.record.person("ann");
    server.record.list_consents(ids);
    server
}

/// A bridge with the servers `one` and `two`, signed in to both.
async fn bridge(one: &Server, two: &Server) -> Bridge {
    let second = format!("[servers.two]\nurl = '{}'\n", two.url());
    let bridge = Bridge::start_with(&one.url(), |options| {
        let file = options.home.config_file();
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, config + &second).unwrap();
    })
    .await;
    for server in ["one", "two"] {
        let (server, way) = (server.to_owned(), SignInWay::Local);
        let signing_in = bridge.call(Request::SignIn { server, way });
        let (reply, ()) = tokio::join!(signing_in, bridge.browse());
        reply.unwrap();
    }
    bridge
}

async fn list(bridge: &Bridge) -> ConsentList {
    let request = Request::ListConsents { server: None };
    match bridge.call(request).await.unwrap() {
        Reply::Consents(list) => list,
        other => panic!("{other:?}"),
    }
}

/// Each consent with the server that listed it.
fn shown(list: &ConsentList) -> Vec<(&str, &str)> {
    let consents = list.consents.iter();
    consents.map(|one| (&*one.via, &*one.id)).collect()
}

#[tokio::test]
async fn equal_consent_ids_of_two_gateways_are_both_listed() {
    let (one, two) = (server(&["1", "2"]).await, server(&["1"]).await);
    let list = list(&bridge(&one, &two).await).await;
    assert_eq!(shown(&list), [("one", "1"), ("one", "2"), ("two", "1")]);
    assert_eq!((list.answered, list.not_asked), (2, vec![]));
}

#[tokio::test]
async fn consent_at_gateway_of_two_servers_is_listed_once() {
    let both = server(&["1"]).await;
    let list = list(&bridge(&both, &both).await).await;
    assert_eq!(shown(&list), [("one", "1")]);
    assert_eq!((list.answered, list.not_asked), (2, vec![]));
}

#[tokio::test]
async fn silent_gateway_is_named_beside_listed_consents() {
    let (one, two) = (server(&["1"]).await, server(&["2"]).await);
    one.record.hide_consents();
    let list = list(&bridge(&one, &two).await).await;
    assert_eq!(shown(&list), [("two", "2")]);
    let silent = NotAsked {
        server: "one".to_owned(),
        reason: "does not answer".to_owned(),
        kind: ProblemKind::Unreachable,
    };
    assert_eq!((list.answered, list.not_asked), (1, vec![silent]));
}

#[tokio::test]
async fn server_without_account_is_named_and_open_server_is_not() {
    let (one, two) = (server(&["1"]).await, Server::start().await);
    let bridge = Bridge::start_with(&one.url(), |options| {
        let file = options.home.config_file();
        let config = std::fs::read_to_string(&file).unwrap();
        let second = format!("[servers.two]\nurl = '{}'\n", two.url());
        std::fs::write(file, config + &second).unwrap();
    })
    .await;
    let name = "two".to_owned();
    bridge.call(Request::TestServer { name }).await.unwrap();
    let unasked = list(&bridge).await;
    let not_signed_in = NotAsked {
        server: "one".to_owned(),
        reason: "not signed in".to_owned(),
        kind: ProblemKind::SignInNeeded,
    };
    assert_eq!(
        (unasked.answered, unasked.not_asked),
        (0, vec![not_signed_in])
    );
}
