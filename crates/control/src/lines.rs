//! Lines over a byte stream: what both sockets and stdio carry.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads lines without copying them. Cancel-safe: a line half read is kept for the next call.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    longest: usize,
}

/// Room to ask the system for at least.
const CHUNK: usize = 16 * 1024;

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `longest` bytes.
    pub fn new(source: R, longest: usize) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
            longest,
        }
    }

    /// The same stream, with another limit from here on.
    #[must_use]
    pub fn longest(mut self, longest: usize) -> Self {
        self.longest = longest;
        self
    }

    /// The next line that is not empty, without its line end; `None` at the end of the stream.
    /// A last line without a line end counts.
    ///
    /// # Errors
    /// The stream's; `InvalidData` for a line that is too long, after which the stream cannot be
    /// read on.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(line) = self.take_line() {
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() > self.longest {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is too long",
                ));
            }
            self.buffer.reserve(CHUNK);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                self.searched = 0;
                let rest = trimmed(self.buffer.split().freeze());
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at + 1).freeze();
        self.searched = 0;
        Some(trimmed(line.slice(..line.len() - 1)))
    }
}

fn trimmed(line: Bytes) -> Bytes {
    match line.last() {
        Some(b'\r') => line.slice(..line.len() - 1),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::Lines;

    #[tokio::test]
    async fn finds_lines_however_they_arrive() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut lines = Lines::new(near, 32);
        far.write_all(b"one\r\n\ntw").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "one");
        far.write_all(b"o\nlast").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "two");
        drop(far);
        assert_eq!(lines.next().await.unwrap().unwrap(), "last");
        assert!(lines.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn gives_up_on_a_line_without_end() {
        let (mut far, near) = tokio::io::duplex(256);
        far.write_all(&[b'x'; 100]).await.unwrap();
        assert!(Lines::new(near, 32).next().await.is_err());
    }
}
