//! A connection that the client can close while it is idle.
//!
//! The pool drops an idle connection only when it looks for one, or at its own long interval, and
//! the descriptor stays open until then. A connection that is closed here ends for the HTTP library
//! as if the server had closed it: a request that has not begun is sent on another connection.
//!
//! Owns: the write count of a connection, and closing it. Does not own: when it is closed (`idle`).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use http::uri::Authority;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// A connection, and its closer.
pub(super) struct Closable<T> {
    io: T,
    closer: Closer,
}

/// Closes an idle connection. Clones close the same one.
#[derive(Clone)]
pub(super) struct Closer(Arc<Shared>);

struct Shared {
    server: Option<Authority>,
    /// How many writes there were.
    writes: AtomicU64,
    /// The connection ends while `writes` equals this. It is [`NEVER`] at first.
    ends_at: AtomicU64,
    is_gone: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

const NEVER: u64 = u64::MAX;

/// How many writes a connection had, to detect later use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteCount(u64);

impl WriteCount {
    /// Nothing has been written yet.
    pub(super) const ZERO: Self = Self(0);
}

impl<T> Closable<T> {
    pub(super) fn new(io: T, server: Option<Authority>) -> Self {
        let closer = Closer(Arc::new(Shared {
            server,
            writes: AtomicU64::new(0),
            ends_at: AtomicU64::new(NEVER),
            is_gone: AtomicBool::new(false),
            reader: Mutex::new(None),
        }));
        Self { io, closer }
    }

    pub(super) fn closer(&self) -> &Closer {
        &self.closer
    }
}

impl Closer {
    /// Closes the connection, unless it was written to after `used`.
    pub(super) fn close(&self, used: WriteCount) {
        self.0.ends_at.store(used.0, Ordering::SeqCst);
        let reader = self.reader().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn write_count(&self) -> WriteCount {
        WriteCount(self.0.writes.load(Ordering::SeqCst))
    }

    /// Returns true if either side has closed the connection.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::Relaxed)
    }

    pub(super) fn server(&self) -> Option<&Authority> {
        self.0.server.as_ref()
    }

    /// Returns a key that identifies the connection among all that exist.
    pub(super) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn is_closed(&self) -> bool {
        self.0.ends_at.load(Ordering::SeqCst) == self.write_count().0
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut reader = self.reader();
        match &mut *reader {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *reader = Some(cx.waker().clone()),
        }
    }
}

impl<T: Read + Unpin> Read for Closable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // An empty read is the end of the stream.
        if self.closer.is_closed() {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_pending() {
            self.closer.wait(cx);
            if self.closer.is_closed() {
                return Poll::Ready(Ok(()));
            }
        }
        read
    }
}

impl<T: Write + Unpin> Write for Closable<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.closer.0.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.closer.0.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

impl<T: Connection> Connection for Closable<T> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.closer.clone())
    }
}

impl<T> Drop for Closable<T> {
    fn drop(&mut self) {
        self.closer.0.is_gone.store(true, Ordering::Relaxed);
    }
}
