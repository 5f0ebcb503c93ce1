//! The memory that a shim and a bridge keep after long messages.

use std::fs;

use serde_json::json;

use crate::harness::{program, relay::Relay, shim::Shim, until, upstream::Fault};

/// The length of a call and of its response, in bytes.
const LONG: usize = 8 << 20;

/// The maximum memory that each process keeps, in KiB.
const MAX_KEPT: u64 = 6 * 1024;

/// Returns the anonymous memory of a process, in KiB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let mut lines = status.lines();
    let memory = lines.find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    memory
        .expect("its memory")
        .trim()
        .parse()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn buffers_shrink_after_long_messages() {
    let relay = Relay::start().await;
    let mut shim = Shim::connect(&relay.bridge, "raw").await;
    let echo = json!({ "key": "short", "fault": Fault::NONE });
    shim.call("echo", echo).await.expect("an answer");
    let processes = [shim.process(), relay.bridge.process().await];
    let before = processes.map(memory);
    for number in 0..2 {
        let key = format!("{number}{}", "x".repeat(LONG));
        let echo = json!({ "key": key, "fault": Fault::NONE });
        let answer = shim.call("echo", echo).await.expect("an answer");
        assert!(answer == key);
    }
    for (process, before) in processes.into_iter().zip(before) {
        let what = program::arguments(process);
        until(&what, async || {
            (memory(process) <= before + MAX_KEPT).then_some(())
        })
        .await;
    }
}
