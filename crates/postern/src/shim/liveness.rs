//! Detects a bridge that does not respond, while the host waits for a response.
//!
//! A call may take any time, so silence alone is no evidence. The bridge is probed on another
//! connection, at no cost per message.

use std::pin::Pin;
use std::time::Duration;

use control::{CallError, probe};
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::Connector;

/// How long a bridge may be silent before it is probed: at least this long, at most twice as long.
/// Together with the probes that is well below the minute after which hosts abandon a call.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// How many consecutive probes must fail. After that, calls fail, which a machine that is only busy
/// for some seconds must not cause.
const MAX_ATTEMPTS: usize = 2;

/// The time since the bridge's last message, and the running probe, if any.
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

    /// Restarts the interval, because the bridge sent something or was sent something.
    pub(crate) fn reset(&mut self) {
        self.is_quiet = false;
        self.probing = None;
    }

    /// Returns once the bridge does not respond. Cancel-safe.
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

/// Probes the bridge. Returns the error if it does not respond, and `None` if it responds or does not
/// run.
async fn probe_bridge(connector: Connector) -> Option<CallError> {
    let mut last = None;
    for _ in 0..MAX_ATTEMPTS {
        match probe(&connector.home, connector.version).await {
            Err(hung @ CallError::Hung(_)) => last = Some(hung),
            // The end of a bridge is noticed on the connection to it.
            Ok(_) | Err(CallError::NotRunning | CallError::Problem(_) | CallError::Broken(_)) => {
                return None;
            }
        }
    }
    last
}
