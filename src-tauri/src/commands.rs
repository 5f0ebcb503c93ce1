//! The commands that the page may call.

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

/// Returns the bridge's last state, or the problem that there is none. Changes are sent as the
/// events `state` and `lost`.
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
            "Postern is quitting",
        )),
    }
}
