//! All that the page may ask of the app.

use control::api::{Problem, ProblemKind, Reply, Request, State};
use tokio::sync::watch;

use crate::link::{Bridge, Link};

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
    link: tauri::State<'_, watch::Receiver<Link>>,
) -> Result<Box<State>, Problem> {
    let mut link = link.inner().clone();
    let known = link.wait_for(|link| *link != Link::Starting).await;
    match known.as_deref() {
        Ok(Link::Attached(state)) => Ok(state.clone()),
        Ok(Link::Lost(problem) | Link::Hung(problem)) => Err(problem.clone()),
        Ok(Link::Starting) | Err(_) => Err(Problem::new(
            ProblemKind::Unreachable,
            "Postern is about to end",
        )),
    }
}
