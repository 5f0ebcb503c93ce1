//! The management API over HTTP: single calls, and the state as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use control::CallError;
use control::api::{Problem, ProblemKind, Request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::context::Context;

/// The interval between attempts to reconnect to the bridge.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Responds with the reply, or with the problem and an error status.
pub(super) async fn call(State(context): State<Context>, Json(request): Json<Request>) -> Response {
    if request == Request::Watch {
        let problem = Problem::new(ProblemKind::Invalid, "the state is followed at /api/state");
        return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
    }
    let replied = async { context.connect().await?.call(&request).await };
    let reply = match replied.await {
        Ok(reply) => Json(reply).into_response(),
        Err(error) => {
            let status = match error {
                CallError::Problem(_) => StatusCode::UNPROCESSABLE_ENTITY,
                CallError::NotRunning | CallError::Hung(_) | CallError::Broken(_) => {
                    StatusCode::BAD_GATEWAY
                }
            };
            (status, Json(problem(error))).into_response()
        }
    };
    ([(header::CACHE_CONTROL, "no-store")], reply).into_response()
}

/// Streams the state now and after every change. Sends the event `lost` with the problem while no
/// bridge runs.
pub(super) async fn state(State(context): State<Context>) -> impl IntoResponse {
    let (events, stream) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Err(error) = follow(&context, &events).await {
            let lost = Event::default().event("lost").json_data(problem(error));
            if send(&events, lost).await.is_none() {
                return;
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    });
    Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default())
}

/// Sends states until the connection to the bridge fails. Returns `Ok` if the client disconnected.
async fn follow(
    context: &Context,
    events: &mpsc::Sender<Result<Event, Infallible>>,
) -> Result<(), CallError> {
    let mut watch = context.connect().await?.watch().await?;
    loop {
        let state = tokio::select! {
            state = watch.next() => state?,
            () = events.closed() => return Ok(()),
        };
        if send(events, Event::default().json_data(state))
            .await
            .is_none()
        {
            return Ok(());
        }
    }
}

async fn send(
    events: &mpsc::Sender<Result<Event, Infallible>>,
    event: Result<Event, axum::Error>,
) -> Option<()> {
    events.send(Ok(event.ok()?)).await.ok()
}

fn problem(error: CallError) -> Problem {
    match error {
        CallError::Problem(problem) => problem,
        CallError::NotRunning | CallError::Hung(_) | CallError::Broken(_) => {
            Problem::from_text(ProblemKind::Unreachable, &error.to_string())
        }
    }
}
