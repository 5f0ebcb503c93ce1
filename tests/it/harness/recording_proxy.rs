//! A TCP front with an address that stays: what stands behind it can be replaced, what passes is
//! kept, so that a case can say what was never sent, and can be stopped on its way.

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

/// The front. Dropped, it is shut.
pub(crate) struct RecordingProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct State {
    behind: Option<SocketAddr>,
    /// What was said by those who came, and what they were answered, by connection.
    said: Vec<Vec<u8>>,
    answered: Vec<Vec<u8>>,
    barrier: Option<Barrier>,
}

/// Which way something passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To what stands behind.
    Said,
    /// From there.
    Answered,
}

/// What is not to pass.
struct Barrier {
    direction: Direction,
    words: &'static str,
    stopped: oneshot::Sender<Stopped>,
}

/// Something that came and did not pass. Dropped, its connection ends.
pub(crate) struct Stopped {
    _held: oneshot::Sender<Infallible>,
}

impl RecordingProxy {
    /// A proxy with nothing behind it: who comes is turned away.
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

    /// Leads those who come from now on to `behind`.
    pub(crate) fn lead_to(&self, behind: Option<SocketAddr>) {
        lock(&self.state).behind = behind;
    }

    /// Stops the next that passes in this direction and has these words in it.
    pub(crate) fn stop(
        &self,
        direction: Direction,
        words: &'static str,
    ) -> oneshot::Receiver<Stopped> {
        let (stopped, comes) = oneshot::channel();
        lock(&self.state).barrier = Some(Barrier {
            direction,
            words,
            stopped,
        });
        comes
    }

    /// All that was said by those who came, as text.
    pub(crate) fn said(&self) -> Vec<String> {
        texts(&lock(&self.state).said)
    }

    /// All that they were answered, as text.
    pub(crate) fn answered(&self) -> Vec<String> {
        texts(&lock(&self.state).answered)
    }
}

impl State {
    /// Keeps what came; the barrier, if it came to one.
    fn keep(&mut self, number: usize, direction: Direction, chunk: &[u8]) -> Option<Barrier> {
        let kept = match direction {
            Direction::Said => &mut self.said[number],
            Direction::Answered => &mut self.answered[number],
        };
        let before = kept.len();
        kept.extend_from_slice(chunk);
        self.barrier.take_if(|barrier| {
            // The words may begin in the chunk before.
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
    while let Ok((guest, _)) = listener.accept().await {
        tokio::spawn(pass(guest, state.clone()));
    }
}

async fn pass(guest: TcpStream, state: Arc<Mutex<State>>) {
    let (behind, number) = {
        let mut state = lock(&state);
        state.said.push(Vec::new());
        state.answered.push(Vec::new());
        (state.behind, state.said.len() - 1)
    };
    let Some(behind) = behind else { return };
    let Ok(host) = TcpStream::connect(behind).await else {
        return;
    };
    let (from_guest, to_guest) = guest.into_split();
    let (from_host, to_host) = host.into_split();
    let up = copy(from_guest, to_host, &state, number, Direction::Said);
    let down = copy(from_host, to_guest, &state, number, Direction::Answered);
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
            // A case that does not wait for it any more has dropped it.
            let _ = stopped.send(Stopped { _held: held });
            let _ = end.await;
            break;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
    // Whether the other side still wants to know is its own affair.
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
