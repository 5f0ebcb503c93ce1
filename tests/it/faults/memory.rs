//! The bridge's memory under many and long messages.

use super::host::Host;
use crate::harness::{program, relay::Relay, upstream::Fault, wire::Streamable};

/// The maximum peak memory of a bridge, in MiB.
const MAX_PEAK: u64 = 300;

const MIB: usize = 1 << 20;

/// Checks the bridge's peak memory.
async fn assert_peak(relay: &Relay) {
    let peak = program::peak_memory(relay.bridge.process().await) / 1024;
    assert!(peak < MAX_PEAK, "{peak} MiB");
}

/// Calls until the flood stops. Every call must be answered meanwhile.
async fn call_until_flood_stops(relay: &Relay, host: &mut Host) {
    let mut before = 0;
    loop {
        for _ in 0..50 {
            host.call(Fault::NONE).await.expect("an answer");
        }
        let flooded = relay.upstream.state().flooded;
        if flooded == before && flooded > 0 {
            return;
        }
        before = flooded;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_50_mb_wait_at_server_for_slow_host() {
    const EVENTS: u32 = 10;
    let bytes = 50 * MIB;
    let relay = Relay::start().await;
    let mut other = Host::connect(&relay.bridge, "other").await;
    let mut slow = Host::connect(&relay.bridge, "slow").await;
    slow.send_call(Fault::Flood {
        events: EVENTS,
        bytes,
    })
    .await;
    call_until_flood_stops(&relay, &mut other).await;
    let large = Fault::Large { bytes: 8 * MIB };
    other.call(large).await.expect("an answer");
    assert_peak(&relay).await;
    for _ in 0..EVENTS {
        assert!(slow.line_length().await > bytes, "each event comes");
    }
    assert!(slow.line_length().await < 1000, "and the answer");
    assert_peak(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_three_sessions_leave_memory_for_others() {
    let relay = Relay::start().await;
    let mut other = Host::connect(&relay.bridge, "other").await;
    let mut stopped = Vec::new();
    for number in 0..3 {
        let mut host = Host::connect(&relay.bridge, &format!("stopped{number}")).await;
        host.send_call(Fault::Flood {
            events: u32::MAX,
            bytes: 4 * MIB,
        })
        .await;
        stopped.push(host);
    }
    call_until_flood_stops(&relay, &mut other).await;
    assert_peak(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_http_host_without_stream_are_bounded() {
    const EVENTS: u32 = 60;
    let relay = Relay::start().await;
    let flood = Some((EVENTS, 6 * MIB));
    relay.upstream.configure(|seen| seen.flood = flood);
    let state = relay.bridge.state().await;
    let endpoint = state.servers[0].endpoint.clone().expect("an endpoint");
    let mut host = Streamable::connect(&endpoint, Default::default()).await;
    let all = |seen: &crate::harness::upstream::UpstreamState| seen.flooded == EVENTS;
    relay.upstream.until("every event", all).await;
    let arguments = serde_json::json!({ "key": "http", "fault": Fault::NONE });
    host.call("echo", arguments).await.expect("an answer");
    assert_peak(&relay).await;
}
