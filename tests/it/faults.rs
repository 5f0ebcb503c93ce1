//! The relay under faults: whatever breaks, every request is answered once, what may have been
//! carried out is not sent again, and the conversation goes on.

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
    upstream::{Fault, Form, Question, Seen},
    wire::{Sse, Streamable},
};
use host::Host;

type Outcomes = BTreeMap<u64, Result<String, Value>>;

/// Ends hosts that are served once more; nothing was sent twice.
async fn end(relay: Relay, hosts: impl IntoIterator<Item = Host>) {
    for mut host in hosts {
        host.call(Fault::NONE).await.expect("it goes on");
        host.end().await;
    }
    relay.upstream.took_each_call_once();
}

/// An error of ours, which says what may have happened and what to do.
fn assert_ours(outcome: &Result<String, Value>) {
    let refused = outcome.as_ref().expect_err("an error");
    let code = refused["error"]["code"].as_i64();
    assert!(code.is_some_and(|code| code > 1000), "{refused}");
    assert_eq!(refused["error"]["data"]["server"], "raw", "{refused}");
    assert!(refused["error"]["data"]["hint"].is_string(), "{refused}");
}

/// Cuts the same answer at every byte; how many bytes it takes until it counts.
async fn cut_everywhere(host: &mut Host, form: Form) -> usize {
    // Longer than any answer, so that the last ones are whole.
    const MOST: usize = 420;
    let mut outcomes = Outcomes::new();
    for start in (0..MOST).step_by(32) {
        for at in start..(start + 32).min(MOST) {
            host.ask(Fault::Cut { form, at }).await;
        }
        outcomes.extend(host.answers().await);
    }
    let outcomes: Vec<_> = outcomes.into_values().collect();
    let enough = outcomes
        .iter()
        .position(Result::is_ok)
        .expect("a whole one");
    assert!(enough > 0, "{form:?}");
    let (short, whole) = outcomes.split_at(enough);
    short.iter().for_each(assert_ours);
    assert!(whole.iter().all(Result::is_ok), "{form:?}: {whole:?}");
    enough
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_at_any_byte_is_an_error_and_asked_for_once() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "cut").await;
    for form in [Form::Json, Form::Chunk, Form::Bare, Form::Events] {
        cut_everywhere(&mut host, form).await;
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_ids_that_is_cut_anywhere_goes_on() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "named").await;
    let unnamed = cut_everywhere(&mut host, Form::Events).await;
    let named = cut_everywhere(&mut host, Form::NamedEvents).await;
    assert!(named < unnamed, "{named} bytes, {unnamed} without ids");
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_an_answer_is_it_is_one() {
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
            assert_ours(&reset);
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
        assert_ours(&host.call(fault).await);
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_between_request_and_answer() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "killed").await;
    for round in 1..=3 {
        for _ in 0..10 {
            host.ask(Fault::Silence).await;
        }
        relay
            .upstream
            .until("ten requests", |seen| seen.held == 10)
            .await;
        relay.upstream.go().await;
        let outcomes = host.answers().await;
        assert_eq!(outcomes.len(), 10);
        outcomes.values().for_each(assert_ours);
        relay.upstream.forget();
        relay.upstream.come_back().await;
        host.call(Fault::NONE).await.expect("a new session");
        assert_eq!(relay.upstream.seen().begun, round + 1);
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_gone_is_begun_again_and_no_call_is_lost() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "gone").await;
    for _ in 0..10 {
        let gone = host.ask(Fault::Forgotten).await;
        host.answer(gone)
            .await
            .expect("asked again: it was not carried out");
    }
    // Of many at once, those that meet the end of a second session are told.
    for _ in 0..10 {
        host.ask(Fault::NONE).await;
        host.ask(Fault::Forgotten).await;
    }
    assert_eq!(host.answers().await.len(), 20);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_holds_up_no_other_and_ends_with_its_cancellation() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "silent").await;
    let silent = host.ask(Fault::Silence).await;
    let upstream = &relay.upstream;
    upstream.until("the request", |seen| seen.held == 1).await;
    for _ in 0..100 {
        host.call(Fault::NONE).await.expect("an answer");
    }
    host.cancel(silent).await;
    let told = |seen: &Seen| seen.cancelled == [silent];
    upstream.until("the cancellation", told).await;
    host.call(Fault::NONE).await.expect("an answer");
    host.end().await;
    upstream.until("its end", |seen| seen.held == 0).await;
    end(relay, []).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_connections_and_says_nothing() {
    let relay = Relay::start().await;
    let mut early = Host::connect(&relay.bridge, "early").await;
    early.call(Fault::NONE).await.expect("an answer");
    relay.upstream.tell(|seen| seen.is_silent = true);

    // A host that comes now is not left without a word, though there is nobody to ask.
    let mut late = Host::connect(&relay.bridge, "late").await;
    let tools = late.ask_for("tools/list", json!({})).await;
    late.answer(tools).await.expect_err("a list is no text");
    let waiting = early.ask(Fault::NONE).await;
    let held = |seen: &Seen| seen.held >= 2;
    relay.upstream.until("two requests", held).await;
    early.cancel(waiting).await;

    relay.upstream.tell(|seen| seen.is_silent = false);
    early.call(Fault::NONE).await.expect("an answer");
    // The handshake that got no answer breaks with its connection, and is tried again.
    relay.upstream.go().await;
    relay.upstream.come_back().await;
    end(relay, [early, late]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_meets_no_server_waits_for_it_and_is_made_once() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "refused").await;
    host.call(Fault::NONE).await.expect("an answer");
    for _ in 0..3 {
        relay.upstream.go().await;
        for _ in 0..10 {
            host.ask(Fault::NONE).await;
        }
        absence(&relay).await;
        relay.upstream.come_back().await;
        let outcomes = host.answers().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(relay.upstream.seen().begun, 1, "the session stood");
    end(relay, [host]).await;
}

/// It takes as long as it takes to notice that the server is away.
async fn absence(relay: &Relay) {
    until("the server's absence", async || {
        let state = relay.bridge.state().await.servers[0].state.clone();
        matches!(state, ServerState::Failed { .. }).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_by_and_by_keeps_its_sessions_and_every_call_is_answered() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "by-and-by").await;
    host.call(Fault::NONE).await.expect("an answer");
    let lost = host.ask(Fault::Silence).await;
    relay.upstream.until("it", |seen| seen.held == 1).await;
    relay.upstream.go().await;
    let kept = host.ask(Fault::NONE).await;
    absence(&relay).await;
    // What stands before it is there first.
    relay.upstream.tell(|seen| seen.unready = 2);
    relay.upstream.come_back().await;
    assert_ours(&host.answer(lost).await);
    host.answer(kept).await.expect("an answer");
    let seen = relay.upstream.seen();
    assert_eq!((seen.begun, seen.unready), (1, 0), "the session stood");
    drop(seen);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_is_shown_while_nobody_calls() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "idle").await;
    host.call(Fault::NONE).await.expect("an answer");
    relay.upstream.go().await;
    absence(&relay).await;
    relay.upstream.come_back().await;
    until("its return", async || {
        let state = relay.bridge.state().await.servers[0].state.clone();
        (state == ServerState::Ready).then_some(())
    })
    .await;
    host.call(Fault::NONE).await.expect("an answer");
    assert_eq!(relay.upstream.seen().begun, 1, "the session stood");
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_under_idle_hosts_is_found_with_the_next_call() {
    let relay = Relay::start().await;
    let mut hosts = Vec::new();
    for number in 0..5 {
        let mut host = Host::connect(&relay.bridge, &format!("idle{number}")).await;
        host.call(Fault::NONE).await.expect("an answer");
        hosts.push(host);
    }
    relay.upstream.go().await;
    relay.upstream.forget();
    relay.upstream.come_back().await;
    for host in &mut hosts {
        host.call(Fault::NONE).await.expect("a new session");
    }
    assert!(relay.upstream.seen().begun >= 10);
    end(relay, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_handshake_that_is_lost_is_said_again() {
    let relay = Relay::start().await;
    for lost in 1..=4 {
        relay.upstream.tell(|seen| seen.greetings_to_lose = lost);
        let mut host = Host::connect(&relay.bridge, &format!("greeting{lost}")).await;
        host.call(Fault::NONE).await.expect("an answer");
        host.end().await;
    }
    end(relay, []).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_killed_under_ten_shims_with_requests_under_way() {
    let relay = Relay::start().await;
    let mut hosts = Vec::new();
    for number in 0..10 {
        hosts.push(Host::connect(&relay.bridge, &format!("shim{number}")).await);
    }
    for round in 0..3 {
        for host in &mut hosts {
            host.ask(Fault::Silence).await;
            host.ask_for("ping", json!({})).await;
            host.ask(Fault::Drip(Form::Events)).await;
        }
        let ten = |seen: &Seen| seen.held == 10;
        relay.upstream.until("ten requests", ten).await;
        let before = relay.bridge.process().await;
        relay.bridge.kill().await;
        for host in &mut hosts {
            let outcomes = host.answers().await;
            assert_eq!(outcomes.len(), 3, "round {round}");
            assert_ours(outcomes.values().next().expect("the silent one"));
            host.call(Fault::NONE).await.expect("a new bridge");
        }
        assert_ne!(relay.bridge.process().await, before);
        let one = async || (relay.bridge.processes().len() == 1).then_some(());
        until("one bridge", one).await;
    }
    end(relay, hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_slept_while_the_server_was_restarted() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "sleeper").await;
    host.call(Fault::NONE).await.expect("an answer");
    let process = relay.bridge.process().await;
    for _ in 0..3 {
        let under_way = host.ask(Fault::Silence).await;
        relay.upstream.until("it", |seen| seen.held == 1).await;
        program::suspend(process);
        relay.upstream.go().await;
        relay.upstream.forget();
        relay.upstream.come_back().await;
        let meanwhile = host.ask(Fault::NONE).await;
        program::wake(process);
        assert_ours(&host.answer(under_way).await);
        host.answer(meanwhile).await.expect("a new session");
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_asks_reaches_the_host_and_the_reply_the_server() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "asked").await;
    for question in [Question::Elicitation, Question::Sampling, Question::Roots] {
        let id = host.ask(Fault::Asks(question)).await;
        let meanwhile = host.ask(Fault::NONE).await;
        host.answer(id).await.expect("an answer");
        host.answer(meanwhile).await.expect("an answer");
        let seen = relay.upstream.seen();
        let reply = &seen.replies[&format!("about {} {id}", host.key(id))];
        let said = json!({ "method": question.method(), "x-odd": 1.0 });
        assert_eq!(reply["result"].to_string(), said.to_string());
    }
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_calls_under_way_hold_up_no_other() {
    let relay = Relay::start().await;
    let mut host = Host::connect(&relay.bridge, "many").await;
    for _ in 0..256 {
        host.ask(Fault::Silence).await;
    }
    let all = |seen: &Seen| seen.held == 256;
    relay.upstream.until("every request", all).await;
    for _ in 0..256 {
        host.ask(Fault::Drip(Form::Events)).await;
    }
    let last = host.ask(Fault::NONE).await;
    host.answer(last).await.expect("an answer");
    relay.upstream.go().await;
    relay.upstream.come_back().await;
    let outcomes = host.answers().await;
    assert_eq!(outcomes.len(), 512);
    end(relay, [host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_with_requests_under_way_leaves_nothing_and_cuts_no_other_off() {
    let relay = Relay::start().await;
    let mut stays = Host::connect(&relay.bridge, "stays").await;
    let mut dies = Host::connect(&relay.bridge, "dies").await;
    let under_way = stays.ask(Fault::Silence).await;
    for _ in 0..5 {
        dies.ask(Fault::Silence).await;
    }
    let six = |seen: &Seen| seen.held == 6;
    relay.upstream.until("six requests", six).await;
    program::kill(dies.process());
    let one = |seen: &Seen| seen.held == 1 && seen.ended == 1;
    relay.upstream.until("the session's end", one).await;
    stays.call(Fault::NONE).await.expect("an answer");
    stays.cancel(under_way).await;
    end(relay, [stays]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_on_http_are_answered_once_too() {
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
        assert_ours(&http.call("echo", arguments("http")).await);
        assert_ours(&sse.call("echo", arguments("sse")).await);
    }
    // All sessions are gone at once: each is begun again before it is the next one's turn.
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
