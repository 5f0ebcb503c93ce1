//! A TCP proxy with a fixed address. Its target can be replaced, it records all traffic so that a
//! case can check what was never sent, and it can stop a connection at given words.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use memchr::memmem;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::AbortHandle,
};

/// The proxy. It stops listening when it is dropped.
pub(crate) struct RecordingProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    /// The recorded requests and responses, by connection.
    requests: Vec<Vec<u8>>,
    responses: Vec<Vec<u8>>,
    barrier: Option<Barrier>,
}

/// The direction of traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the target.
    Request,
    /// From the target.
    Response,
}

/// The words at which a connection is stopped.
struct Barrier {
    direction: Direction,
    words: &'static str,
    stopped: oneshot::Sender<StoppedConnection>,
}

/// A connection that was stopped. It closes when this is dropped.
pub(crate) struct StoppedConnection {
    _held: oneshot::Sender<Infallible>,
}

impl RecordingProxy {
    /// Starts a proxy without a target: it closes every connection.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let accepting = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Self {
            address,
            state,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards new connections to `target`.
    pub(crate) fn forward_to(&self, target: Option<SocketAddr>) {
        lock(&self.state).target = target;
    }

    /// Stops the next connection that sends `words` in this direction.
    pub(crate) fn stop(
        &self,
        direction: Direction,
        words: &'static str,
    ) -> oneshot::Receiver<StoppedConnection> {
        let (stopped, comes) = oneshot::channel();
        lock(&self.state).barrier = Some(Barrier {
            direction,
            words,
            stopped,
        });
        comes
    }

    /// Returns the recorded requests, one text per connection.
    pub(crate) fn requests(&self) -> Vec<String> {
        texts(&lock(&self.state).requests)
    }

    /// Returns the recorded responses, one text per connection.
    pub(crate) fn responses(&self) -> Vec<String> {
        texts(&lock(&self.state).responses)
    }
}

impl State {
    /// Records a chunk. Returns the barrier if its words are complete.
    fn keep(&mut self, number: usize, direction: Direction, chunk: &[u8]) -> Option<Barrier> {
        let kept = match direction {
            Direction::Request => &mut self.requests[number],
            Direction::Response => &mut self.responses[number],
        };
        let before = kept.len();
        kept.extend_from_slice(chunk);
        self.barrier.take_if(|barrier| {
            // The words may begin in the previous chunk.
            let from = before.saturating_sub(barrier.words.len() - 1);
            barrier.direction == direction
                && memmem::find(&kept[from..], barrier.words.as_bytes()).is_some()
        })
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(pass(client, state.clone()));
    }
}

async fn pass(client: TcpStream, state: Arc<Mutex<State>>) {
    let (target, number) = {
        let mut state = lock(&state);
        state.requests.push(Vec::new());
        state.responses.push(Vec::new());
        (state.target, state.requests.len() - 1)
    };
    let Some(target) = target else { return };
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, &state, number, Direction::Request);
    let down = copy(from_server, to_client, &state, number, Direction::Response);
    tokio::join!(up, down);
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &Mutex<State>,
    number: usize,
    direction: Direction,
) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let barrier = lock(state).keep(number, direction, &chunk[..length]);
        if let Some(Barrier { stopped, .. }) = barrier {
            let (held, end) = oneshot::channel();
            // A case that no longer waits has dropped the receiver.
            let _ = stopped.send(StoppedConnection { _held: held });
            let _ = end.await;
            break;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
    // The other side may be gone.
    let _ = to.shutdown().await;
}

fn texts(kept: &[Vec<u8>]) -> Vec<String> {
    kept.iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
