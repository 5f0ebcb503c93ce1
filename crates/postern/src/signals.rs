//! Being told to end.

use shim::told_to_end;
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels; the second ends the process at once.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        told_to_end().await;
        cancelled.cancel();
        told_to_end().await;
        std::process::exit(1);
    });
    token
}
