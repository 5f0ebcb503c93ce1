//! Being told to end.

use std::io;

use shim::termination_signal;
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels; the second ends the process at once.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        termination_signal().await;
        cancelled.cancel();
        termination_signal().await;
        std::process::exit(1);
    });
    token
}

/// Cancels `token` when stdin has ended. What comes before its end is thrown away.
pub(crate) fn on_stdin_eof(token: CancellationToken) {
    // A thread of its own: no runtime waits for it, and a read cannot be called off.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        token.cancel();
    });
}
