//! All that the page may ask of the app.

use control::api::{Problem, ProblemKind, Reply, Request, State};
use tokio::sync::watch;

use crate::bridge_status::{Bridge, BridgeStatus};

/// Makes one call of the management API.
#[tauri::command]
pub(crate) async fn call(
    request: Request,
    bridge: tauri::State<'_, Bridge>,
) -> Result<Reply, Problem> {
    bridge.call(&request).await
}

/// The bridge's last word, or why there is none; changes come as the events `state` and `lost`.
#[tauri::command]
pub(crate) async fn state(
    status: tauri::State<'_, watch::Receiver<BridgeStatus>>,
) -> Result<Box<State>, Problem> {
    let mut status = status.inner().clone();
    let known = status
        .wait_for(|status| *status != BridgeStatus::Starting)
        .await;
    match known.as_deref() {
        Ok(BridgeStatus::Connected(state)) => Ok(state.clone()),
        Ok(BridgeStatus::Lost(problem) | BridgeStatus::Hung(problem)) => Err(problem.clone()),
        Ok(BridgeStatus::Starting) | Err(_) => Err(Problem::new(
            ProblemKind::Unreachable,
            "Postern is about to end",
        )),
    }
}
