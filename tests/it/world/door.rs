//! A TCP front with an address that stays: what stands behind it can be replaced, and what
//! passes is kept, so that a case can say what was never sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// The front. Dropped, it is shut.
pub(crate) struct Door {
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
}

#[derive(Clone, Copy)]
enum Direction {
    Said,
    Answered,
}

impl Door {
    /// A door with nothing behind it: who comes is turned away.
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

    /// All that was said by those who came, as text.
    pub(crate) fn said(&self) -> Vec<String> {
        texts(&lock(&self.state).said)
    }

    /// All that they were answered, as text.
    pub(crate) fn answered(&self) -> Vec<String> {
        texts(&lock(&self.state).answered)
    }
}

impl Drop for Door {
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
        {
            let mut state = lock(state);
            let kept = match direction {
                Direction::Said => &mut state.said,
                Direction::Answered => &mut state.answered,
            };
            kept[number].extend_from_slice(&chunk[..length]);
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
