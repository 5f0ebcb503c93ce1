//! Lines in a byte stream, for the sockets and stdio.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use threads::Turns;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// Reads lines without copying them. Cancel-safe: a partially read line is kept for the next call.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    buffer: BytesMut,
    /// The number of bytes in the buffer that were searched and contain no line feed.
    searched: usize,
    max_length: usize,
    /// Whether the current line is longer than that.
    is_too_long: bool,
    /// When to drop the buffer of a long line, which is kept for the next one.
    buffer_expires: Option<Instant>,
    turns: Turns,
}

/// The minimum size of the buffer for a read.
const MIN_READ: usize = 16 * 1024;

/// The maximum length of a read.
const MAX_READ: usize = 256 * 1024;

/// The length in bytes up to which a line is short. The buffer of a longer line is kept for a second.
pub const MAX_SHORT_LINE: usize = 64 * 1024;

/// The length in bytes up to which the buffer of a line is kept. That of a longer line is dropped with
/// the line.
const MAX_KEPT_LINE: usize = 2 * 1024 * 1024;

/// How long the buffer of a long line is kept for the next one. Growing another buffer costs more than
/// reading the line.
const BUFFER_LIFETIME: Duration = Duration::from_secs(1);

/// The result of [`Lines::advance`].
#[derive(Debug)]
pub enum Progress {
    /// A non-empty line, without its line break.
    Line(Bytes),
    /// The number of bytes received of an incomplete line.
    Partial(usize),
    /// The end of the stream.
    End,
}

/// The result of [`Lines::next_piece`].
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A complete line.
    Line(Bytes),
    /// A part of a line that is too long.
    Part(Part),
}

/// A part of a line that is read in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The bytes of this part.
    pub bytes: Bytes,
    /// Whether this is the end of the line.
    pub is_last: bool,
}

/// The result of one read.
enum Step {
    Line(Bytes),
    /// A complete line that is too long.
    LongLine(Bytes),
    /// The start of a line that is too long.
    TooLong,
    Partial(usize),
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Creates a reader of lines of at most `max_length` bytes.
    pub fn new(source: R, max_length: usize) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
            max_length,
            is_too_long: false,
            buffer_expires: None,
            turns: Turns::default(),
        }
    }

    /// Changes the limit for the following lines.
    #[must_use]
    pub fn with_max_length(mut self, max_length: usize) -> Self {
        self.max_length = max_length;
        self
    }

    /// Returns the next non-empty line, without its line break. A last line without a line break counts.
    /// Returns `None` at the end of the stream.
    ///
    /// # Errors
    /// Errors of the stream, and `InvalidData` for a line that is too long, after which reading cannot
    /// continue.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.advance().await? {
                Progress::Line(line) => return Ok(Some(line)),
                Progress::Partial(_) => {}
                Progress::End => return Ok(None),
            }
        }
    }

    /// Returns the next line if it is buffered. Otherwise reads once, and returns the line or the number
    /// of bytes received of it. Cancel-safe.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn advance(&mut self) -> io::Result<Progress> {
        match self.step().await? {
            Step::Line(line) => Ok(Progress::Line(line)),
            Step::Partial(length) => Ok(Progress::Partial(length)),
            Step::End => Ok(Progress::End),
            Step::LongLine(_) | Step::TooLong => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is too long",
            )),
        }
    }

    /// Returns the next non-empty line like [`Self::next`], but a line that is too long in parts, after
    /// which reading continues. Buffers no more than the maximum length. Cancel-safe.
    ///
    /// # Errors
    /// Errors of the stream.
    pub async fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if self.is_too_long {
                let part = self.skip().await?;
                self.is_too_long = !part.is_last;
                return Ok(Some(Piece::Part(part)));
            }
            match self.step().await? {
                Step::Line(line) => return Ok(Some(Piece::Line(line))),
                Step::LongLine(bytes) => {
                    let is_last = true;
                    return Ok(Some(Piece::Part(Part { bytes, is_last })));
                }
                Step::TooLong => self.is_too_long = true,
                Step::Partial(_) => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Returns the next part of the current line. Cancel-safe.
    ///
    /// # Errors
    /// Errors of the stream.
    pub async fn skip(&mut self) -> io::Result<Part> {
        self.searched = 0;
        if self.buffer.is_empty() && self.read().await? == 0 {
            let (bytes, is_last) = (Bytes::new(), true);
            return Ok(Part { bytes, is_last });
        }
        let end = memchr::memchr(b'\n', &self.buffer);
        Ok(Part {
            bytes: match end {
                Some(at) => trimmed(self.buffer.split_to(at + 1).freeze().slice(..at)),
                None => std::mem::take(&mut self.buffer).freeze(),
            },
            is_last: end.is_some(),
        })
    }

    async fn step(&mut self) -> io::Result<Step> {
        if let Some(step) = self.take_step() {
            return Ok(step);
        }
        if self.buffer.len() > self.max_length {
            return Ok(Step::TooLong);
        }
        if self.read().await? == 0 {
            self.searched = 0;
            let rest = trimmed(self.buffer.split().freeze());
            return Ok(match rest.is_empty() {
                true => Step::End,
                false => Step::Line(rest),
            });
        }
        let step = self.take_step();
        Ok(step.unwrap_or(Step::Partial(self.buffer.len())))
    }

    /// Reads once. Drops the buffer of a long line if nothing arrives before it expires.
    async fn read(&mut self) -> io::Result<usize> {
        self.turns.turn().await;
        let mut read = None;
        if let Some(until) = self.buffer_expires
            && self.buffer.is_empty()
        {
            read = timeout_at(until, self.read_once()).await.ok();
            if read.is_none() {
                self.drop_buffer();
            }
        }
        let read = match read {
            Some(read) => read?,
            None => self.read_once().await?,
        };
        self.turns.moved(read);
        Ok(read)
    }

    /// Reads once, and at most [`MAX_READ`] bytes: some sources zero the whole buffer that they get.
    async fn read_once(&mut self) -> io::Result<usize> {
        self.buffer.reserve(MIN_READ);
        let mut room = (&mut self.buffer).limit(MAX_READ);
        self.source.read_buf(&mut room).await
    }

    /// Takes the next non-empty line that is completely buffered.
    fn take_step(&mut self) -> Option<Step> {
        let line = std::iter::from_fn(|| self.take_line()).find(|line| !line.is_empty())?;
        Some(match line.len() <= self.max_length {
            true => Step::Line(line),
            false => Step::LongLine(line),
        })
    }

    /// Replaces the buffer by one that is just large enough for its content.
    fn drop_buffer(&mut self) {
        self.buffer = BytesMut::from(&self.buffer[..]);
        self.buffer_expires = None;
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at + 1).freeze();
        self.searched = 0;
        match line.len() {
            length if length > MAX_KEPT_LINE => self.drop_buffer(),
            length if length > MAX_SHORT_LINE => {
                self.buffer_expires = Some(Instant::now() + BUFFER_LIFETIME)
            }
            _ => {}
        }
        let text = line.slice(..line.len() - 1);
        Some(trimmed(match self.buffer_expires {
            // A caller may hold the line for long, which must not keep the large buffer alive.
            Some(_) if text.len() <= MAX_SHORT_LINE => Bytes::copy_from_slice(&text),
            _ => text,
        }))
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
    use tokio::io::{AsyncWriteExt, DuplexStream};
    use tokio::time::timeout;

    use super::{BUFFER_LIFETIME, Lines, MAX_KEPT_LINE, MAX_SHORT_LINE, Part, Piece};

    #[tokio::test]
    async fn lines_are_found_across_reads() {
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
    async fn line_without_end_is_error() {
        let (mut far, near) = tokio::io::duplex(256);
        far.write_all(&[b'x'; 100]).await.unwrap();
        assert!(Lines::new(near, 32).next().await.is_err());
    }

    #[tokio::test]
    async fn long_line_is_returned_in_parts() {
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
                Piece::Part(Part { bytes, is_last }) => {
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
        assert!(matches!(
            part,
            Some(Piece::Part(Part { is_last: false, .. }))
        ));
        let part = lines.next_piece().await.unwrap();
        assert!(matches!(
            part,
            Some(Piece::Part(Part { is_last: true, .. }))
        ));
        assert_eq!(lines.next_piece().await.unwrap(), None);
    }

    /// Reads a line of `length` bytes and a short one. Returns the reader and its writer.
    async fn after_long_line(length: usize) -> (Lines<DuplexStream>, DuplexStream) {
        let (mut far, near) = tokio::io::duplex(1 << 16);
        let mut lines = Lines::new(near, usize::MAX);
        let mut long = vec![b'x'; length];
        long.extend_from_slice(b"\nshort\n");
        let writing = async move {
            far.write_all(&long).await.unwrap();
            far
        };
        let (line, far) = tokio::join!(lines.next(), writing);
        assert_eq!(line.unwrap().unwrap().len(), length);
        assert_eq!(lines.next().await.unwrap().unwrap(), "short");
        (lines, far)
    }

    async fn write_more(lines: &mut Lines<DuplexStream>, far: &mut DuplexStream) {
        far.write_all(b"more\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "more");
    }

    #[tokio::test]
    async fn buffer_of_very_long_line_is_dropped() {
        let (mut lines, mut far) = after_long_line(2 * MAX_KEPT_LINE).await;
        write_more(&mut lines, &mut far).await;
        assert!(!lines.buffer.try_reclaim(MAX_SHORT_LINE));
    }

    #[tokio::test(start_paused = true)]
    async fn buffer_of_long_line_is_kept_for_one_second() {
        let (mut lines, mut far) = after_long_line(MAX_KEPT_LINE - 1).await;
        write_more(&mut lines, &mut far).await;
        assert!(lines.buffer.try_reclaim(MAX_KEPT_LINE));
        assert!(timeout(2 * BUFFER_LIFETIME, lines.next()).await.is_err());
        assert!(!lines.buffer.try_reclaim(MAX_SHORT_LINE));
        write_more(&mut lines, &mut far).await;
    }
}
