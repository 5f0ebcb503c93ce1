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
    /// Whether the line that is being read is longer.
    is_too_long: bool,
}

/// What [`Lines::next_piece`] reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole line.
    Line(Bytes),
    /// A part of a line that is too long.
    Part {
        /// What was read of it; its line end is not.
        bytes: Bytes,
        /// Whether the line ends here.
        is_last: bool,
    },
}

/// Room to ask the system for at least.
const CHUNK: usize = 16 * 1024;

/// A buffer that grew for a longer line goes with that line, in bytes.
const MAX_KEPT_LINE: usize = 256 * 1024;

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `longest` bytes.
    pub fn new(source: R, longest: usize) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
            longest,
            is_too_long: false,
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

    /// The next line that is not empty as [`Self::next`] has it, but one that is too long in parts,
    /// after which the stream is read on: no more of it is held than the longest line. Cancel-safe.
    ///
    /// # Errors
    /// The stream's.
    pub async fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let line = self.take_line();
            match (self.is_too_long, line) {
                (false, None) if self.buffer.len() > self.longest => self.is_too_long = true,
                (false, Some(line)) if line.len() <= self.longest => {
                    if !line.is_empty() {
                        return Ok(Some(Piece::Line(line)));
                    }
                    continue;
                }
                (_, Some(bytes)) => {
                    self.is_too_long = false;
                    let is_last = true;
                    return Ok(Some(Piece::Part { bytes, is_last }));
                }
                (_, None) => {}
            }
            if self.is_too_long && !self.buffer.is_empty() {
                let bytes = std::mem::take(&mut self.buffer).freeze();
                self.searched = 0;
                let is_last = false;
                return Ok(Some(Piece::Part { bytes, is_last }));
            }
            self.buffer.reserve(CHUNK);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                self.searched = 0;
                let rest = trimmed(self.buffer.split().freeze());
                if std::mem::take(&mut self.is_too_long) {
                    let (bytes, is_last) = (rest, true);
                    return Ok(Some(Piece::Part { bytes, is_last }));
                }
                return Ok((!rest.is_empty()).then_some(Piece::Line(rest)));
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
        if line.len() > MAX_KEPT_LINE {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
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

    use super::{Lines, MAX_KEPT_LINE, Piece};

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

    #[tokio::test]
    async fn long_line_comes_in_parts_and_the_next_one_whole() {
        let (mut far, near) = tokio::io::duplex(1 << 16);
        let mut lines = Lines::new(near, 32);
        far.write_all(b"one\n").await.unwrap();
        far.write_all(&[b'x'; 100]).await.unwrap();
        let one = Piece::Line("one".into());
        assert_eq!(lines.next_piece().await.unwrap(), Some(one));
        let mut long = Vec::new();
        far.write_all(b"y\r\ntwo\n").await.unwrap();
        loop {
            match lines.next_piece().await.unwrap().unwrap() {
                Piece::Part { bytes, is_last } => {
                    long.extend_from_slice(&bytes);
                    if is_last {
                        break;
                    }
                }
                Piece::Line(line) => panic!("{line:?}"),
            }
        }
        assert_eq!(long, [&[b'x'; 100][..], b"y"].concat());
        let two = Piece::Line("two".into());
        assert_eq!(lines.next_piece().await.unwrap(), Some(two));
        far.write_all(&[b'z'; 50]).await.unwrap();
        drop(far);
        let part = lines.next_piece().await.unwrap();
        assert!(matches!(part, Some(Piece::Part { is_last: false, .. })));
        let part = lines.next_piece().await.unwrap();
        assert!(matches!(part, Some(Piece::Part { is_last: true, .. })));
        assert_eq!(lines.next_piece().await.unwrap(), None);
    }

    #[tokio::test]
    async fn buffer_of_long_line_goes_with_it() {
        let (mut far, near) = tokio::io::duplex(1 << 16);
        let mut lines = Lines::new(near, usize::MAX);
        let mut long = vec![b'x'; 16 * MAX_KEPT_LINE];
        long.extend_from_slice(b"\nshort\n");
        let writing = async move {
            far.write_all(&long).await.unwrap();
            far
        };
        let (line, mut far) = tokio::join!(lines.next(), writing);
        assert_eq!(line.unwrap().unwrap().len(), 16 * MAX_KEPT_LINE);
        assert_eq!(lines.next().await.unwrap().unwrap(), "short");
        far.write_all(b"more\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "more");
        assert!(lines.buffer.capacity() < MAX_KEPT_LINE);
    }
}
