//! Lines over a byte stream: what both sockets and stdio carry.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use threads::Turns;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// Reads lines without copying them. Cancel-safe: a line half read is kept for the next call.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    max_length: usize,
    /// Whether the line that is being read is longer.
    is_too_long: bool,
    /// Until when the buffer of a long line is kept for the next one.
    buffer_expires: Option<Instant>,
    turns: Turns,
}

/// Room to ask the system for at least.
const MIN_READ: usize = 16 * 1024;

/// How much is read at once at most.
const MAX_READ: usize = 256 * 1024;

/// A buffer that grew for a line of more than so many bytes is kept for a second after that line.
pub const MAX_SHORT_LINE: usize = 64 * 1024;

/// A buffer that grew for a line of more than so many bytes goes with that line.
const MAX_KEPT_LINE: usize = 2 * 1024 * 1024;

/// How long the buffer of a long line is kept for the next one. To grow another buffer costs more than
/// to read the line.
const BUFFER_LIFETIME: Duration = Duration::from_secs(1);

/// What [`Lines::advance`] came to.
#[derive(Debug)]
pub enum Progress {
    /// A line that is not empty, without its line end.
    Line(Bytes),
    /// So many bytes of a line whose end has not come yet.
    Partial(usize),
    /// The end of the stream.
    End,
}

/// What [`Lines::next_piece`] reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole line.
    Line(Bytes),
    /// A part of a line that is too long.
    Part(Part),
}

/// A part of a line that is not kept whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What was read of the line.
    pub bytes: Bytes,
    /// Whether the line ends here.
    pub is_last: bool,
}

/// What one read came to.
enum Step {
    Line(Bytes),
    /// A whole line that is longer than the longest.
    LongLine(Bytes),
    /// The begin of one.
    TooLong,
    Partial(usize),
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `max_length` bytes.
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

    /// The same stream, with another limit from here on.
    #[must_use]
    pub fn with_max_length(mut self, max_length: usize) -> Self {
        self.max_length = max_length;
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
            match self.advance().await? {
                Progress::Line(line) => return Ok(Some(line)),
                Progress::Partial(_) => {}
                Progress::End => return Ok(None),
            }
        }
    }

    /// The next line that was read, else what there is of one after the next read. Cancel-safe.
    ///
    /// # Errors
    /// As [`next`](Self::next).
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

    /// The next line that is not empty as [`Self::next`] has it, but one that is too long in parts,
    /// after which the stream is read on: no more of it is held than the longest line. Cancel-safe.
    ///
    /// # Errors
    /// The stream's.
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

    /// Passes over the line that has begun, part by part. Cancel-safe.
    ///
    /// # Errors
    /// The stream's.
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

    /// Reads once, with a small buffer if nothing comes for a while.
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

    /// Reads once. Not more than a little: some sources clear all the room that they are given.
    async fn read_once(&mut self) -> io::Result<usize> {
        self.buffer.reserve(MIN_READ);
        let mut room = (&mut self.buffer).limit(MAX_READ);
        self.source.read_buf(&mut room).await
    }

    /// The next line that is not empty and whose end is here.
    fn take_step(&mut self) -> Option<Step> {
        let line = std::iter::from_fn(|| self.take_line()).find(|line| !line.is_empty())?;
        Some(match line.len() <= self.max_length {
            true => Step::Line(line),
            false => Step::LongLine(line),
        })
    }

    /// Keeps what was read behind the last line, and no more memory than that.
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
            // It may be held for long, and must not keep the buffer of a long line.
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
    async fn buffer_of_very_long_line_goes_with_it() {
        let (mut lines, mut far) = after_long_line(2 * MAX_KEPT_LINE).await;
        write_more(&mut lines, &mut far).await;
        assert!(!lines.buffer.try_reclaim(MAX_SHORT_LINE));
    }

    #[tokio::test(start_paused = true)]
    async fn buffer_of_long_line_is_kept_until_rest() {
        let (mut lines, mut far) = after_long_line(MAX_KEPT_LINE - 1).await;
        write_more(&mut lines, &mut far).await;
        assert!(lines.buffer.try_reclaim(MAX_KEPT_LINE));
        assert!(timeout(2 * BUFFER_LIFETIME, lines.next()).await.is_err());
        assert!(!lines.buffer.try_reclaim(MAX_SHORT_LINE));
        write_more(&mut lines, &mut far).await;
    }
}
