//! The bundled gateway as a child, replaced by scripts.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use control::CallError;
use control::api::{Problem, ProblemKind, Request, ServerModeForm, ServerModeState};
use tokio::net::TcpListener;

use crate::bridge::Bridge;

/// A shell script in place of the gateway.
async fn bridge_with(folder: &Path, script: &str) -> Bridge {
    let program = folder.join("postern");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Bridge::start_with("http://127.0.0.1:9/mcp", |options| {
        options.program = program;
    })
    .await
}

async fn configure(bridge: &Bridge, port: u16) {
    let form = ServerModeForm {
        port,
        authority: "https://login.microsoftonline.com/t/v2.0".to_owned(),
        client_id: "id".to_owned(),
        client_secret: "hush".into(),
        server: "snippets".to_owned(),
        server_url: "http://127.0.0.1:9/mcp".to_owned(),
    };
    bridge
        .call(Request::ConfigureServerMode { form })
        .await
        .unwrap();
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn problem(answer: Result<control::api::Reply, CallError>) -> Problem {
    match answer {
        Err(CallError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn exited_gateway_log_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge_with(
        folder.path(),
        "echo 'no such key; hint: make one' >&2; exit 1",
    )
    .await;
    configure(&bridge, free_port().await).await;
    let problem = problem(bridge.call(Request::StartServerMode).await);
    assert_eq!(problem.message, "no such key");
    assert_eq!(problem.hint.as_deref(), Some("make one"));
    let state = bridge.state().await.server_mode;
    assert_eq!(state, ServerModeState::Failed { problem });
}

#[tokio::test]
async fn starting_gateway_can_be_stopped_and_quit_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge_with(folder.path(), "exec cat").await;
    configure(&bridge, free_port().await).await;
    let starting = |state: &control::api::State| state.server_mode == ServerModeState::Starting;
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(bridge.call(Request::StartServerMode), async {
        bridge.until_state(starting).await;
        bridge.call(Request::StopServerMode).await.unwrap();
    });
    problem(answer);
    assert_eq!(bridge.state().await.server_mode, ServerModeState::Off);
    // A client that disconnects does not interrupt the start.
    let mut client = control::Client::connect(&bridge.home, "1.0.0", false)
        .await
        .unwrap();
    let asking = async { client.call(&Request::StartServerMode).await };
    tokio::select! {
        ended = asking => panic!("{ended:?}"),
        _ = bridge.until_state(starting) => {}
    }
    drop(client);
    bridge.call(Request::Quit).await.unwrap();
    bridge.ended().await;
    assert!(begun.elapsed().as_secs() < 5, "nothing was waited for");
}

#[tokio::test]
async fn gateway_port_in_use_is_reported_before_start() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge_with(folder.path(), "exec cat").await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    configure(&bridge, address.port()).await;
    let problem = problem(bridge.call(Request::StartServerMode).await);
    assert_eq!(problem.kind, ProblemKind::InUse);
    assert!(problem.message.contains(&address.to_string()), "{problem}");
}
