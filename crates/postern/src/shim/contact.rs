//! Whether the bridge still reacts, while the host waits for an answer.
//!
//! A call may take as long as it likes, so silence alone means nothing: the bridge is asked on
//! another connection. It costs nothing per message.

use std::pin::Pin;
use std::time::Duration;

use control::{CallError, probe};
use tokio::time::{Instant, Sleep, sleep};

use crate::link::Dialler;

/// How long a bridge may say nothing before it is looked whether it reacts, at least; at most it
/// is twice as long. Together with the looks that is well below the minute after which hosts give a
/// call up.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// How many looks in a row must fail. Calls are answered with an error then, which a machine that
/// is merely busy for some seconds must not cause.
const LOOKS: usize = 2;

/// When the bridge was last heard.
pub(crate) struct Contact {
    is_quiet: bool,
    next: Pin<Box<Sleep>>,
    looking: Option<Pin<Box<dyn Future<Output = Option<CallError>>>>>,
}

impl Contact {
    pub(crate) fn new() -> Self {
        Self {
            is_quiet: false,
            next: Box::pin(sleep(QUIET_INTERVAL)),
            looking: None,
        }
    }

    /// The bridge said something, or was asked something just now.
    pub(crate) fn renew(&mut self) {
        self.is_quiet = false;
        self.looking = None;
    }

    /// Returns once the bridge does not react any more. Cancel-safe.
    pub(crate) async fn lost(&mut self, dialler: &Dialler) -> CallError {
        loop {
            if let Some(looking) = &mut self.looking {
                let found = looking.await;
                self.renew();
                if let Some(hung) = found {
                    return hung;
                }
            }
            self.next.as_mut().await;
            self.next.as_mut().reset(Instant::now() + QUIET_INTERVAL);
            if std::mem::replace(&mut self.is_quiet, true) {
                self.looking = Some(Box::pin(look(dialler.clone())));
            }
        }
    }
}

/// Returns why the bridge is lost, unless it reacts or there is none.
async fn look(dialler: Dialler) -> Option<CallError> {
    let mut last = None;
    for _ in 0..LOOKS {
        match probe(&dialler.home, dialler.version).await {
            Err(hung @ CallError::Hung(_)) => last = Some(hung),
            // The connection tells of its end by itself.
            Ok(_) | Err(CallError::NotRunning | CallError::Problem(_) | CallError::Broken(_)) => {
                return None;
            }
        }
    }
    last
}
