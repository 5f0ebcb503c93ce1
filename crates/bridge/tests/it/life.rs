//! What a host sees when the server or the bridge is away.

use std::time::Instant;

use control::api::{ProblemKind, Reply, Request, ServerState};
use control::hello::ConnectionKind;
use control::socket::SocketKind;
use serde_json::json;
use tokio::net::TcpListener;

use crate::bridge::Bridge;
use crate::server::Server;

#[tokio::test]
async fn host_before_server_is_answered_and_notified_later() {
    // A listener that is bound and closed: no server listens there, and the port is not reused soon.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bridge = Bridge::start(&format!("http://{address}/mcp")).await;
    let mut host = bridge.host("one").await;
    let begun = Instant::now();
    assert_eq!(
        host.initialize().await["result"]["serverInfo"]["name"],
        "postern"
    );
    let tools = host.request(1, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"][0]["name"], "reconnect_one");
    assert!(begun.elapsed().as_secs() < 2, "answered at once");
    assert_eq!(
        host.request(2, "ping", json!({})).await["result"],
        json!({})
    );
    host.send(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo"}}"#)
        .await;
    let server = Server::on(TcpListener::bind(address).await.unwrap()).await;
    let mut meanwhile = Vec::new();
    assert_eq!(
        host.answer(3, &mut meanwhile).await["result"]["name"],
        "echo"
    );
    while !meanwhile
        .iter()
        .any(|told| told["method"] == "notifications/tools/list_changed")
    {
        meanwhile.push(host.value().await);
    }
    let tools = host.request(4, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"][0]["name"], "echo");
    assert_eq!(server.record.bodies("tools/call").len(), 1);
    assert_eq!(server.record.bodies("notifications/initialized").len(), 1);
}

#[tokio::test]
async fn failed_call_error_has_hint() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = host
        .request(1, "tools/call", json!({ "name": "echo" }))
        .await;
    assert!(
        answer["error"]["code"].as_i64().unwrap() >= 1001,
        "{answer}"
    );
    assert_eq!(answer["error"]["data"]["server"], "one");
    assert!(answer["error"]["data"]["hint"].is_string(), "{answer}");
}

#[tokio::test]
async fn lost_session_is_initialized_again_without_error() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    server.record.forget_session();
    assert_eq!(
        host.request(2, "tools/call", json!({ "x": 1 })).await["result"]["x"],
        1
    );
    assert_eq!(server.record.sessions().0, 2);
}

#[tokio::test]
async fn unreachable_server_is_answered_from_cache() {
    let server = Server::start().await;
    let mut bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    assert!(host.end().await);
    drop(server);
    bridge.restart().await;
    let mut host = bridge.host("one").await;
    let answer = host.initialize().await;
    assert_eq!(answer["result"]["serverInfo"]["name"], "real");
    assert_eq!(
        host.request(1, "tools/list", json!({})).await["result"]["tools"][0]["name"],
        "echo"
    );
}

#[tokio::test]
async fn ending_host_gets_responses_and_session_ends() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.request(1, "tools/list", json!({})).await;
    assert!(host.end().await);
    bridge.call(Request::Quit).await.unwrap();
    bridge.ended().await;
    assert_eq!(server.record.sessions(), (1, 1));
}

#[tokio::test]
async fn host_with_single_request_is_answered() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let initialize = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params });
    host.send(&initialize.to_string()).await;
    host.fall_silent().await;
    let answer = host.answer(7, &mut Vec::new()).await;
    assert_eq!(answer["result"]["serverInfo"]["name"], "real");
    bridge.until_state(|state| state.sessions.is_empty()).await;
}

#[tokio::test]
async fn server_test_deletes_its_session() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let name = "one".to_owned();
    bridge.call(Request::TestServer { name }).await.unwrap();
    bridge.call(Request::Quit).await.unwrap();
    bridge.ended().await;
    assert_eq!(server.record.sessions(), (1, 1));
}

#[tokio::test]
async fn yielding_bridge_answers_pending_requests() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let yielding = async { bridge.call(Request::Yield).await.unwrap() };
    let host = async {
        while host.receive().await != control::hello::YIELDING.as_bytes() {}
        host.send(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"late":true}}"#)
            .await;
        let answer = host.answer(7, &mut Vec::new()).await;
        assert!(host.end().await);
        answer
    };
    let (reply, answer) = tokio::join!(yielding, host);
    assert_eq!(reply, Reply::Done);
    assert_eq!(answer["result"]["late"], true);
    bridge.ended().await;
}

#[tokio::test]
async fn server_test_reports_and_starts_no_sign_in() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let Reply::Test(report) = bridge
        .call(Request::TestServer {
            name: "one".to_owned(),
        })
        .await
        .unwrap()
    else {
        panic!("a report was asked for")
    };
    assert_eq!(
        (report.server_info.as_str(), report.tools.as_slice()),
        ("real 9", ["echo".to_owned()].as_slice())
    );
    bridge.until(|state| *state == ServerState::Ready).await;
    assert_eq!(
        bridge.state().await.servers[0].tools.as_ref().unwrap()[0].name,
        "echo"
    );
    let call = Request::CallTool {
        server: "one".to_owned(),
        tool: "echo".to_owned(),
        arguments: "[]".to_owned(),
    };
    let Err(control::CallError::Problem(problem)) = bridge.call(call).await else {
        panic!("not an object")
    };
    assert_eq!(problem.kind, ProblemKind::Invalid);
    server.record.want_sign_in();
    let Err(control::CallError::Problem(problem)) = bridge
        .call(Request::TestServer {
            name: "one".to_owned(),
        })
        .await
    else {
        panic!("a sign-in is needed")
    };
    assert_eq!(problem.kind, ProblemKind::SignInNeeded);
    assert!(bridge.state().await.sign_ins.is_empty());
}

#[tokio::test]
async fn unknown_server_and_invalid_config_are_reported() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let Err(control::CallError::Problem(problem)) = bridge
        .call(Request::TestServer {
            name: "two".to_owned(),
        })
        .await
    else {
        panic!("there is none")
    };
    assert_eq!(problem.kind, ProblemKind::NotFound);
    assert!(problem.hint.unwrap().contains("one"));
    std::fs::write(bridge.home.config_file(), "[servers.one]\nurl = 5\n").unwrap();
    let problem = bridge
        .state()
        .await
        .bridge
        .config_problem
        .expect("the file is bad");
    assert!(problem.message.contains("line 2"), "{problem}");
    let wants = ConnectionKind::Server {
        server: "two".to_owned(),
        host: None,
        resumed: false,
    };
    let Err(control::CallError::Problem(problem)) =
        control::open(&bridge.home, SocketKind::Mcp, "1.0.0", wants).await
    else {
        panic!("it may stand in the file that cannot be read")
    };
    assert!(problem.message.contains("line 2"), "{problem}");
    assert_eq!(
        bridge.state().await.servers.len(),
        1,
        "the last good one stays"
    );
}

/// PEM files without a usable certificate.
const NO_CERTIFICATES: [&str; 2] = [
    "no certificate",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
];

#[tokio::test]
async fn unreadable_certificate_is_reported_and_bridge_runs() {
    let server = Server::start().await;
    for content in NO_CERTIFICATES {
        let mut bridge = Bridge::start(&server.url()).await;
        let config = std::fs::read_to_string(bridge.home.config_file()).unwrap();
        let bad = bridge.home.config_file().with_file_name("bad.pem");
        std::fs::write(&bad, content).unwrap();
        let settings = format!("[bridge]\nport = 0\nextra_ca_files = [{bad:?}]\n\n");
        let servers = config[config.find("[servers").unwrap()..].to_owned();
        std::fs::write(bridge.home.config_file(), settings + &servers).unwrap();
        let problem = bridge.state().await.bridge.config_problem;
        let problem = problem.expect("there is no certificate in it");
        assert!(problem.message.contains("bad.pem"), "{problem}");
        assert!(problem.hint.is_some());
        // The certificates are read at the start.
        bridge.restart().await;
        assert_eq!(bridge.state().await.bridge.config_problem, Some(problem));
        let mut host = bridge.host("one").await;
        assert!(host.initialize().await.get("result").is_some());
    }
}
