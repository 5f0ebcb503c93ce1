//! The bridge with a failing server: whatever breaks, every request gets one response, a call that
//! may have been carried out is not sent again, and the session continues.

mod host;
mod memory;
mod soak;

use std::collections::BTreeMap;

use control::api::ServerState;
use serde_json::{Value, json};

use crate::harness::{
    program,
    relay::Relay,
    until,
    upstream::{Fault, Form, ServerRequest, UpstreamState},
    wire::{Sse, Streamable},
};
use host::Host;

type Outcomes = BTreeMap<u64, Result<String, Value>>;

/// Calls once more from each host, ends them, and checks that no call was sent twice.
async fn end(relay: Relay, hosts: impl IntoIterator<Item = Host>) {
    for mut host in hosts {
        host.call(Fault::NONE).await.expect("it goes on");
        host.end().await;
    }
    relay.upstream.assert_no_duplicate_calls();
}

/// Checks that the outcome is an error of the bridge with the server and a hint.
fn assert_bridge_error(outcome: &Result<String, Value>) {
    let refused = outcome.as_ref().expect_err("an error");
    let code = refused["error"]["code"].as_i64();
    assert!(code.is_some_and(|code| code > 1000), "{refused}");
    assert_eq!(refused["error"]["data"]["server"], "raw", "{refused}");
    assert!(refused["error"]["data"]["hint"].is_string(), "{refused}");
}

/// Cuts the same response at every byte. Returns the length from which it is accepted.
async fn cut_at_every_byte(host: &mut Host, form: Form) -> usize {
    // Longer than any response, so that the last ones are complete.
    const MAX_BYTES: usize = 420;
    let mut outcomes = Outcomes::new();
    for start in (0..MAX_BYTES).step_by(32) {
        for at in start..(start + 32).min(MAX_BYTES) {
            host.send_call(Fault::Cut { form, at }).await;
        }
        outcomes.extend(host.responses().await);
    }
    let outcomes: Vec<_> = outcomes.into_values().collect();
    let enough = outcomes
        .iter()
        .position(Result::is_ok)
        .expect("a whole one");
    assert!(enough > 0, "{form:?}");
    let (short, whole) = outcomes.split_at(enough);
    short.iter().for_each(assert_bridge_error);
    assert!(whole.iter().all(Result::is_ok), "{form:?}: {whole:?}");
    enough
}

#[tokio::test(flavor = "multi_thread")]
async fn response_cut_at_any_byte_is_error_without_retry() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "cut").await;
    for form in [Form::Json, Form::Chunk, Form::Bare, Form::Events] {
        cut_at_every_byte(&mut host, form).await;
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_stream_with_event_ids_is_resumed() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "named").await;
    let unnamed = cut_at_every_byte(&mut host, Form::Events).await;
    let named = cut_at_every_byte(&mut host, Form::NamedEvents).await;
    assert!(named < unnamed, "{named} bytes, {unnamed} without ids");
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_responses_cause_one_response_each() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "odd").await;
    for form in [
        Form::Json,
        Form::Chunk,
        Form::Bare,
        Form::Events,
        Form::NamedEvents,
    ] {
        host.call(Fault::Drip(form)).await.expect("an answer");
        for at in [0, 20, 90] {
            let reset = host.call(Fault::Reset { form, at }).await;
            assert_bridge_error(&reset);
        }
    }
    host.call(Fault::Twice).await.expect("one of the answers");
    for fault in [
        Fault::Noise,
        Fault::Page,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(302),
    ] {
        assert_bridge_error(&host.call(fault).await);
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_killed_during_calls_returns_errors() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "killed").await;
    for round in 1..=3 {
        for _ in 0..10 {
            host.send_call(Fault::Silence).await;
        }
        relay
            .upstream
            .until("ten requests", |seen| seen.held == 10)
            .await;
        relay.upstream.stop().await;
        let outcomes = host.responses().await;
        assert_eq!(outcomes.len(), 10);
        outcomes.values().for_each(assert_bridge_error);
        relay.upstream.forget_sessions();
        relay.upstream.restart().await;
        host.call(Fault::NONE).await.expect("a new session");
        assert_eq!(relay.upstream.state().begun, round + 1);
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_session_is_restarted_without_losing_calls() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "gone").await;
    for _ in 0..10 {
        let gone = host.send_call(Fault::Forgotten).await;
        host.response(gone)
            .await
            .expect("sent again: it was not carried out");
    }
    // Of concurrent calls, those that lose a second session get an error.
    for _ in 0..10 {
        host.send_call(Fault::NONE).await;
        host.send_call(Fault::Forgotten).await;
    }
    assert_eq!(host.responses().await.len(), 20);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_request_blocks_no_other_and_can_be_cancelled() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "silent").await;
    let silent = host.send_call(Fault::Silence).await;
    let upstream = &relay.upstream;
    upstream.until("the request", |seen| seen.held == 1).await;
    for _ in 0..100 {
        host.call(Fault::NONE).await.expect("an answer");
    }
    host.cancel(silent).await;
    let told = |seen: &UpstreamState| seen.cancelled == [silent];
    upstream.until("the cancellation", told).await;
    host.call(Fault::NONE).await.expect("an answer");
    host.end().await;
    upstream.until("its end", |seen| seen.held == 0).await;
    end(relay, []).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_blocks_no_host() {
    let relay = Relay::start().await;
    let mut early = Host::connect(&relay.bridge, "early").await;
    early.call(Fault::NONE).await.expect("an answer");
    relay.upstream.configure(|seen| seen.is_silent = true);

    // A new host gets a response although the server does not respond.
    let mut late = Host::connect(&relay.bridge, "late").await;
    let tools = late.send_request("tools/list", json!({})).await;
    late.response(tools).await.expect_err("a list is no text");
    let waiting = early.send_call(Fault::NONE).await;
    let held = |seen: &UpstreamState| seen.held >= 2;
    relay.upstream.until("two requests", held).await;
    early.cancel(waiting).await;

    relay.upstream.configure(|seen| seen.is_silent = false);
    early.call(Fault::NONE).await.expect("an answer");
    // The unanswered handshake ends with its connection and is tried again.
    relay.upstream.stop().await;
    relay.upstream.restart().await;
    end(relay, [early, late]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_without_server_waits_and_is_sent_once() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "refused").await;
    host.call(Fault::NONE).await.expect("an answer");
    for _ in 0..3 {
        relay.upstream.stop().await;
        for _ in 0..10 {
            host.send_call(Fault::NONE).await;
        }
        until_failed(&relay).await;
        relay.upstream.restart().await;
        let outcomes = host.responses().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(relay.upstream.state().begun, 1, "the session stood");
    end(relay, [host]).await;
}

/// Waits until the bridge reports the server as failed.
async fn until_failed(relay: &Relay) {
    until("the server's failure", async || {
        let state = relay.bridge.state().await.servers[0].state.clone();
        matches!(state, ServerState::Failed { .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_restarts_slowly_keeps_its_session() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "by-and-by").await;
    host.call(Fault::NONE).await.expect("an answer");
    let lost = host.send_call(Fault::Silence).await;
    relay.upstream.until("it", |seen| seen.held == 1).await;
    relay.upstream.stop().await;
    let kept = host.send_call(Fault::NONE).await;
    until_failed(&relay).await;
    // A proxy in front of the server is up first.
    relay.upstream.configure(|seen| seen.unready = 2);
    relay.upstream.restart().await;
    assert_bridge_error(&host.response(lost).await);
    host.response(kept).await.expect("an answer");
    let seen = relay.upstream.state();
    assert_eq!((seen.begun, seen.unready), (1, 0), "the session stood");
    drop(seen);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_server_is_reported_without_calls() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "idle").await;
    host.call(Fault::NONE).await.expect("an answer");
    relay.upstream.stop().await;
    until_failed(&relay).await;
    relay.upstream.restart().await;
    until("its return", async || {
        let state = relay.bridge.state().await.servers[0].state.clone();
        (state == ServerState::Ready).then_some(())
    })
    .await;
    host.call(Fault::NONE).await.expect("an answer");
    assert_eq!(relay.upstream.state().begun, 1, "the session stood");
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_server_is_found_by_next_call_of_idle_hosts() {
    let relay = Relay::start().await;
    let mut hosts = Vec::new();
    for number in 0..5 {
        let mut host = Host::connect(&relay.bridge, &format!("idle{number}")).await;
        host.call(Fault::NONE).await.expect("an answer");
        hosts.push(host);
    }
    relay.upstream.stop().await;
    relay.upstream.forget_sessions();
    relay.upstream.restart().await;
    for host in &mut hosts {
        host.call(Fault::NONE).await.expect("a new session");
    }
    assert!(relay.upstream.state().begun >= 10);
    end(relay, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_initialized_notification_is_sent_again() {
    let relay = Relay::start().await;
    for lost in 1..=4 {
        relay
            .upstream
            .configure(|seen| seen.initialized_to_lose = lost);
        let mut host = Host::connect(&relay.bridge, &format!("greeting{lost}")).await;
        host.call(Fault::NONE).await.expect("an answer");
        host.end().await;
    }
    end(relay, []).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bridge_killed_during_requests_answers_each_once() {
    let relay = Relay::start().await;
    let mut hosts = Vec::new();
    for number in 0..10 {
        hosts.push(Host::connect(&relay.bridge, &format!("shim{number}")).await);
    }
    for round in 0..3 {
        for host in &mut hosts {
            host.send_call(Fault::Silence).await;
            host.send_request("ping", json!({})).await;
            host.send_call(Fault::Drip(Form::Events)).await;
        }
        let ten = |seen: &UpstreamState| seen.held == 10;
        relay.upstream.until("ten requests", ten).await;
        let before = relay.bridge.process().await;
        relay.bridge.kill().await;
        for host in &mut hosts {
            let outcomes = host.responses().await;
            assert_eq!(outcomes.len(), 3, "round {round}");
            assert_bridge_error(outcomes.values().next().expect("the silent one"));
            host.call(Fault::NONE).await.expect("a new bridge");
        }
        assert_ne!(relay.bridge.process().await, before);
        let one = async || (relay.bridge.processes().len() == 1).then_some(());
        until("one bridge", one).await;
    }
    end(relay, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_bridge_finds_restarted_server() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "sleeper").await;
    host.call(Fault::NONE).await.expect("an answer");
    let process = relay.bridge.process().await;
    for _ in 0..3 {
        let under_way = host.send_call(Fault::Silence).await;
        relay.upstream.until("it", |seen| seen.held == 1).await;
        program::suspend(process);
        relay.upstream.stop().await;
        relay.upstream.forget_sessions();
        relay.upstream.restart().await;
        let meanwhile = host.send_call(Fault::NONE).await;
        program::resume(process);
        assert_bridge_error(&host.response(under_way).await);
        host.response(meanwhile).await.expect("a new session");
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_requests_reach_host_and_responses_reach_server() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "asked").await;
    for question in [
        ServerRequest::Elicitation,
        ServerRequest::Sampling,
        ServerRequest::Roots,
    ] {
        let id = host.send_call(Fault::RequestFirst(question)).await;
        let meanwhile = host.send_call(Fault::NONE).await;
        host.response(id).await.expect("an answer");
        host.response(meanwhile).await.expect("an answer");
        let seen = relay.upstream.state();
        let reply = &seen.replies[&format!("about {} {id}", host.key(id))];
        let said = json!({ "method": question.method(), "x-odd": 1.0 });
        assert_eq!(reply["result"].to_string(), said.to_string());
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_pending_calls_block_no_other() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "many").await;
    for _ in 0..256 {
        host.send_call(Fault::Silence).await;
    }
    let all = |seen: &UpstreamState| seen.held == 256;
    relay.upstream.until("every request", all).await;
    for _ in 0..256 {
        host.send_call(Fault::Drip(Form::Events)).await;
    }
    let last = host.send_call(Fault::NONE).await;
    host.response(last).await.expect("an answer");
    relay.upstream.stop().await;
    relay.upstream.restart().await;
    let outcomes = host.responses().await;
    assert_eq!(outcomes.len(), 512);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_killed_during_requests_disconnects_no_other() {
    let relay = Relay::start().await;
    let mut stays = Host::connect(&relay.bridge, "stays").await;
    let mut dies = Host::connect(&relay.bridge, "dies").await;
    let under_way = stays.send_call(Fault::Silence).await;
    for _ in 0..5 {
        dies.send_call(Fault::Silence).await;
    }
    let six = |seen: &UpstreamState| seen.held == 6;
    relay.upstream.until("six requests", six).await;
    program::kill(dies.process());
    let one = |seen: &UpstreamState| seen.held == 1 && seen.ended == 1;
    relay.upstream.until("the session's end", one).await;
    stays.call(Fault::NONE).await.expect("an answer");
    stays.cancel(under_way).await;
    end(relay, [stays]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_hosts_get_one_response_per_call() {
    let relay = Relay::start().await;
    let state = relay.bridge.state().await;
    let server = &state.servers[0];
    let mut http = Streamable::connect(server.endpoint.as_ref().unwrap(), Default::default()).await;
    let mut sse = Sse::connect(server.sse_endpoint.as_ref().unwrap(), Default::default()).await;
    let forms = [Form::Json, Form::Chunk, Form::Bare, Form::Events];
    let cuts = forms.map(|form| Fault::Cut { form, at: 100 });
    for (number, fault) in cuts
        .into_iter()
        .chain([Fault::Noise, Fault::Page])
        .enumerate()
    {
        let arguments = |face: &str| json!({ "key": format!("{face}{number}"), "fault": fault });
        assert_bridge_error(&http.call("echo", arguments("http")).await);
        assert_bridge_error(&sse.call("echo", arguments("sse")).await);
    }
    // All sessions end at once: each is started again before the next call.
    let well = [Fault::NONE, Fault::Forgotten, Fault::NONE, Fault::Twice];
    for (number, fault) in well.into_iter().enumerate() {
        let key = format!("http-{number}");
        let http = http.call("echo", json!({ "key": key, "fault": fault }));
        http.await.expect("an answer");
    }
    for (number, fault) in well.into_iter().enumerate() {
        let key = format!("sse-{number}");
        let sse = sse.call("echo", json!({ "key": key, "fault": fault }));
        sse.await.expect("an answer");
    }
    end(relay, []).await;
}
