//! HTTP connections of hosts that do not read their responses.
//!
//! Owns: closing them once others wait for the memory that is stuck in them. Does not own: other
//! timeouts.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mcp::memory::Budget;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection that fails if it takes no data while others wait for memory.
pub(super) struct Watched<S> {
    stream: S,
    memory: Budget,
    /// Set while it takes no data.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, memory: Budget) -> Self {
        Self {
            stream,
            memory,
            stalled: None,
        }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let memory = &self.memory;
        let stalled = self.stalled.get_or_insert_with(|| {
            let memory = memory.clone();
            let since = Instant::now();
            Box::pin(async move { memory.overdue(since).await })
        });
        ready!(stalled.as_mut().poll(cx));
        tracing::warn!(
            "a host has not read its response for a minute and others wait for the memory; its connection is closed"
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use mcp::memory::{Account, Budget};
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::Watched;

    async fn held(account: &Account, length: usize) -> mcp::memory::Reservation {
        let mut reservation = account.reserve();
        reservation.grow(length).await;
        reservation
    }

    #[tokio::test(start_paused = true)]
    async fn unread_connection_is_closed_when_others_wait() {
        let budget = Budget::default();
        let (near, _far) = tokio::io::duplex(16);
        let mut stalled = Watched::new(near, budget.clone());
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, stalled.write_all(&[0; 99])).await.is_err());

        let mut all = Vec::new();
        while let Ok(taken) = timeout(hour, held(&budget.account(), 60 << 20)).await {
            all.push(taken);
        }
        let waiting = budget.account();
        let waits = tokio::spawn(async move { held(&waiting, 60 << 20).await });
        let broken = timeout(hour, stalled.write_all(&[0; 99])).await;
        assert_eq!(broken.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(!waits.is_finished());
    }
}
