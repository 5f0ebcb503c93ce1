//! Yielding by tasks that move many bytes.
//!
//! If bytes reach their reader as fast as they are produced, the poll of the producing task never
//! ends, and producer and reader keep each other busy. The runtime ends a poll after 128 socket
//! operations, and polls the sockets after 61 polls if tasks are always ready. One operation moves
//! a quarter of a MiB, so without yielding a message of 60 MiB would pass before anything else is
//! relayed.
//!
//! Owns: when a task yields. Does not own: what it moves.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, yield_now};

/// How many bytes a task moves before it yields.
const MAX_TURN: usize = 256 << 10;

/// Counts the bytes that a task moves, and makes it yield.
#[derive(Debug, Default)]
pub struct Turns {
    moved: usize,
    pause: Option<JoinHandle<()>>,
}

impl Turns {
    /// Counts moved bytes.
    pub fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    /// Yields to other tasks and to ready sockets, if this task has moved 256 KiB since it last
    /// did. Cancel-safe.
    pub async fn turn(&mut self) {
        poll_fn(|cx| self.poll_turn(cx)).await;
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved >= MAX_TURN {
            self.moved = 0;
            // This needs its own task, because the producer or the reader may wake the present one
            // before its turn.
            self.pause = Some(tokio::spawn(next_turn()));
        }
        if let Some(pause) = &mut self.pause {
            let _ = ready!(Pin::new(pause).poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

/// Returns when it is the caller's turn. Of all yielding tasks, one continues each time the runtime
/// has polled the sockets. So all other tasks wait for one turn only, no matter how many tasks
/// yield.
async fn next_turn() {
    static QUEUE: Mutex<()> = Mutex::const_new(());
    let _first = QUEUE.lock().await;
    // The runtime resumes a task that yields after it has polled the sockets.
    yield_now().await;
}

/// A body that yields to other tasks ([`Turns`]). Its long parts are split into portions.
#[derive(Debug)]
pub struct Portioned<B> {
    body: B,
    /// The rest of a part.
    rest: Bytes,
    turns: Turns,
}

impl<B> Portioned<B> {
    /// Wraps a body.
    pub fn new(body: B) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            turns: Turns::default(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Portioned<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        ready!(self.turns.poll_turn(cx));
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data(),
                other => return Poll::Ready(other),
            };
            match frame {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(MAX_TURN);
        let portion = self.rest.split_to(length);
        self.turns.moved(length);
        Poll::Ready(Some(Ok(Frame::data(portion))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body::Body;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;
    use tokio::sync::{Notify, mpsc};
    use tokio::task::{JoinHandle, yield_now};

    use super::{MAX_TURN, Portioned, Turns};

    /// Counts how many turns another task gets.
    struct Other {
        turns: Arc<AtomicUsize>,
        task: JoinHandle<()>,
    }

    impl Other {
        fn spawn() -> Self {
            let turns = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&turns);
            let task = tokio::spawn(async move {
                loop {
                    counted.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            });
            Self { turns, task }
        }

        fn turns(&self) -> usize {
            self.turns.load(Ordering::Relaxed)
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    #[tokio::test]
    async fn other_tasks_run_after_each_quarter_of_mib() {
        let other = Other::spawn();
        let mut turns = Turns::default();
        for _ in 0..3 {
            turns.turn().await;
            turns.moved(MAX_TURN / 3);
        }
        assert_eq!(other.turns(), 0);
        for turn in 1..16 {
            turns.moved(MAX_TURN);
            turns.turn().await;
            assert!(other.turns() >= turn);
        }
    }

    #[tokio::test]
    async fn long_body_arrives_complete_in_portions() {
        let other = Other::spawn();
        let whole = Bytes::from_iter((0..8 * MAX_TURN + 3).map(|at| (at % 251) as u8));
        let mut body = Portioned::new(Full::new(whole.clone()));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let portion = frame.unwrap().into_data().unwrap();
            assert!(portion.len() <= MAX_TURN);
            read.extend_from_slice(&portion);
            let hint = Body::size_hint(&body);
            assert_eq!(hint.exact(), Some((whole.len() - read.len()) as u64));
            assert_eq!(body.is_end_stream(), read.len() == whole.len());
        }
        assert!(read == whole);
        assert!(other.turns() >= 8);
    }

    /// An endless body whose parts come from another task.
    struct Given(mpsc::Receiver<Bytes>);

    impl Body for Given {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            let part = self.0.poll_recv(cx);
            part.map(|part| Some(Ok(http_body::Frame::data(part?))))
        }
    }

    async fn echo(mut stream: TcpStream) {
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() {
            stream.write_all(&byte).await.unwrap();
        }
    }

    /// Reads an endless body, and counts its portions. The task that produces it wakes the other
    /// one at any time, as hyper does. Two such tasks leave the runtime no time to poll the
    /// sockets, which it does after 61 polls.
    async fn take_without_end(portions: Arc<AtomicUsize>) {
        let (give, given) = mpsc::channel(1);
        let part = Bytes::from(vec![0; MAX_TURN]);
        let is_given = Arc::new(Notify::new());
        let told = Arc::clone(&is_given);
        tokio::spawn(async move {
            while give.send(part.clone()).await.is_ok() {
                is_given.notify_one();
            }
        });
        let mut body = Portioned::new(Given(given));
        loop {
            tokio::select! {
                biased;
                _ = body.frame() => portions.fetch_add(1, Ordering::Relaxed),
                () = told.notified() => continue,
            };
        }
    }

    #[test]
    fn socket_is_served_during_large_transfers() {
        const ROUND_TRIPS: usize = 100;
        const MOVERS: usize = 20;
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let portions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&portions);
        let round_trips = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (far, _) = listener.accept().await.unwrap();
            tokio::spawn(echo(far));
            for _ in 0..MOVERS {
                tokio::spawn(take_without_end(Arc::clone(&counted)));
            }
            let mut byte = [0];
            for _ in 0..ROUND_TRIPS {
                near.write_all(&byte).await.unwrap();
                near.read_exact(&mut byte).await.unwrap();
            }
        };
        runtime.block_on(async { tokio::spawn(round_trips).await.unwrap() });
        let portions = portions.load(Ordering::Relaxed);
        assert!(portions > MOVERS);
        assert!(portions < 8 * ROUND_TRIPS, "{portions}");
    }
}
