//! The states that a watching client receives.

use std::time::{Duration, Instant};

use control::Client;

use crate::bridge::{Bridge, TIMEOUT};
use crate::server::Server;

/// For how long the bridge gathers changes.
const GATHER_TIME: Duration = Duration::from_millis(100);

#[tokio::test]
async fn burst_of_sessions_sends_few_states() {
    const HOSTS: usize = 60;
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let client = Client::connect(&bridge.home, "1.0.0", false).await.unwrap();
    let mut watch = client.watch().await.unwrap();
    assert_eq!(watch.next().await.unwrap().sessions.len(), 0);

    let start = Instant::now();
    let counting = tokio::spawn(tokio::time::timeout(TIMEOUT, async move {
        let mut states = 1;
        while watch.next().await.unwrap().sessions.len() < HOSTS {
            states += 1;
        }
        states
    }));
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let mut host = bridge.host("one").await;
        host.initialize().await;
        hosts.push(host);
    }
    let states = counting.await.unwrap();
    let states = states.expect("the newest state comes without another change");
    let gathered = start.elapsed().as_millis() / GATHER_TIME.as_millis();
    assert!(states <= gathered + 2, "{states} states, {gathered} fit");
}
