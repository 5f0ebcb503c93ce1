//! Whether the bridge still reacts, while the host waits for an answer.
//!
//! A call may take as long as it likes, so silence alone means nothing: the bridge is asked on
//! another connection. It costs nothing per message.

use std::pin::Pin;
use std::time::Duration;

use control::{CallError, probe};
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::Connector;

/// How long a bridge may say nothing before it is looked whether it reacts, at least; at most it
/// is twice as long. Together with the looks that is well below the minute after which hosts give a
/// call up.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// How many looks in a row must fail. Calls are answered with an error then, which a machine that
/// is merely busy for some seconds must not cause.
const MAX_ATTEMPTS: usize = 2;

/// When the bridge was last heard.
pub(crate) struct LivenessProbe {
    is_quiet: bool,
    next: Pin<Box<Sleep>>,
    probing: Option<Pin<Box<dyn Future<Output = Option<CallError>>>>>,
}

impl LivenessProbe {
    pub(crate) fn new() -> Self {
        Self {
            is_quiet: false,
            next: Box::pin(sleep(QUIET_INTERVAL)),
            probing: None,
        }
    }

    /// The bridge said something, or was asked something just now.
    pub(crate) fn reset(&mut self) {
        self.is_quiet = false;
        self.probing = None;
    }

    /// Returns once the bridge does not react any more. Cancel-safe.
    pub(crate) async fn bridge_hung(&mut self, connector: &Connector) -> CallError {
        loop {
            if let Some(probing) = &mut self.probing {
                let found = probing.await;
                self.reset();
                if let Some(hung) = found {
                    return hung;
                }
            }
            self.next.as_mut().await;
            self.next.as_mut().reset(Instant::now() + QUIET_INTERVAL);
            if std::mem::replace(&mut self.is_quiet, true) {
                self.probing = Some(Box::pin(probe_bridge(connector.clone())));
            }
        }
    }
}

/// Returns why the bridge is lost, unless it reacts or there is none.
async fn probe_bridge(connector: Connector) -> Option<CallError> {
    let mut last = None;
    for _ in 0..MAX_ATTEMPTS {
        match probe(&connector.home, connector.version).await {
            Err(hung @ CallError::Hung(_)) => last = Some(hung),
            // The connection tells of its end by itself.
            Ok(_) | Err(CallError::NotRunning | CallError::Problem(_) | CallError::Broken(_)) => {
                return None;
            }
        }
    }
    last
}
