//! Termination signals.

/// Waits for a termination signal: SIGTERM, SIGINT or SIGHUP.
#[cfg(unix)]
pub async fn termination_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind| signal(kind).ok();
    let (Some(mut terminate), Some(mut interrupt), Some(mut hang_up)) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
        listen(SignalKind::hangup()),
    ) else {
        // Without handlers, the signals end the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
}

/// Waits for a console event that ends the process: Ctrl-C, Ctrl-Break, close, logoff or shutdown.
#[cfg(windows)]
pub async fn termination_signal() {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};

    let (Ok(mut interrupt), Ok(mut stop), Ok(mut close), Ok(mut logoff), Ok(mut shutdown)) = (
        ctrl_c(),
        ctrl_break(),
        ctrl_close(),
        ctrl_logoff(),
        ctrl_shutdown(),
    ) else {
        // Without handlers, the system ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = stop.recv() => {}
        _ = close.recv() => {}
        _ = logoff.recv() => {}
        _ = shutdown.recv() => {}
    }
}
