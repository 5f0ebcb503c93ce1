//! How long a connection may lie idle and still be used.
//!
//! A server closes what lies idle, and a request that is on its way just then is lost: nobody
//! knows whether the server has read it, so it is not sent again. Node.js and uvicorn, on which
//! most MCP servers stand, close after five seconds; Node.js says so (`Keep-Alive: timeout=5`),
//! uvicorn does not. So a connection is given up a moment before its server does that.
//!
//! Owns: when each connection that lies idle is to be given up. Does not own: the pool, and
//! HTTP/2, which announces the end of a connection by itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo};
use tokio::time::Instant;

/// Where a server says nothing.
const UNSAID: Duration = Duration::from_secs(5);
/// Far longer than the pool keeps anything.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// For the ways there and back; of short times, half.
const EARLIER: Duration = Duration::from_secs(1);

/// The connections that lie idle.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<HashMap<Ends, Lying>>>);

/// Both ends of a connection, which no other has meanwhile.
type Ends = (SocketAddr, SocketAddr);

struct Lying {
    until: Instant,
    connection: CaptureConnection,
}

impl Idle {
    /// Sees to it that what lay idle too long is not used again.
    pub(super) fn give_up(&self, now: Instant) {
        self.lying().retain(|_, lying| {
            let stays = now < lying.until;
            if let (false, Some(connection)) = (stays, &*lying.connection.connection_metadata()) {
                connection.poison();
            }
            stays
        });
    }

    /// Takes note of the connection that the response came by, as soon as it has come whole.
    pub(super) fn watch(
        &self,
        response: Response<Incoming>,
        connection: CaptureConnection,
    ) -> Response<Answered> {
        let rest = ends(&response).map(|ends| {
            self.lying().remove(&ends);
            Box::new(Rest {
                idle: self.clone(),
                ends,
                time: time(response.headers()),
                connection,
            })
        });
        response.map(|body| {
            let mut answered = Answered { body, rest };
            if answered.body.is_end_stream() {
                answered.note_end();
            }
            answered
        })
    }

    fn lying(&self) -> MutexGuard<'_, HashMap<Ends, Lying>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ends(response: &Response<Incoming>) -> Option<Ends> {
    let info = response.extensions().get::<HttpInfo>()?;
    let ends = (info.local_addr(), info.remote_addr());
    (response.version() != Version::HTTP_2).then_some(ends)
}

/// How long the server lets a connection lie, less what a request needs to arrive in time.
fn time(headers: &HeaderMap) -> Duration {
    let values = headers.get_all("keep-alive").into_iter();
    let said = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok());
    let time = said.map_or(UNSAID, Duration::from_secs).min(LONGEST);
    time - EARLIER.min(time / 2)
}

/// The body of a response whose connection is watched.
pub(super) struct Answered {
    body: Incoming,
    /// None once it has come whole.
    rest: Option<Box<Rest>>,
}

struct Rest {
    idle: Idle,
    ends: Ends,
    time: Duration,
    connection: CaptureConnection,
}

impl Answered {
    /// A connection whose response does not come whole is closed, and not used again anyway.
    fn note_end(&mut self) {
        if let Some(rest) = self.rest.take() {
            let lying = Lying {
                until: Instant::now() + rest.time,
                connection: rest.connection,
            };
            rest.idle.lying().insert(rest.ends, lying);
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_last =
            matches!(frame, Poll::Ready(None)) || (frame.is_ready() && self.body.is_end_stream());
        if is_last {
            self.note_end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::time;

    #[test]
    fn a_connection_is_given_up_a_moment_before_its_server_does() {
        for (said, milliseconds) in [
            ("timeout=5", 4000),
            ("Timeout = 75, max=100", 74000),
            ("max=100,timeout=\"1\"", 500),
            ("timeout=0", 0),
            ("timeout=soon", 4000),
            ("", 4000),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", said.parse().unwrap());
            assert_eq!(
                time(&headers),
                Duration::from_millis(milliseconds),
                "{said}"
            );
        }
        assert_eq!(time(&HeaderMap::new()), Duration::from_secs(4));
    }
}
