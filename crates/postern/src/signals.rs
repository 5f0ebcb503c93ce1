//! Shutdown on signals and on the end of stdin.

use std::io;

use shim::termination_signal;
use tokio_util::sync::CancellationToken;

/// Returns a token that the first termination signal cancels. The second signal ends the process.
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

/// Cancels `token` at the end of stdin. Input before that is discarded.
pub(crate) fn on_stdin_eof(token: CancellationToken) {
    // A separate thread, because a blocking read cannot be cancelled and must not delay the runtime.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        token.cancel();
    });
}
