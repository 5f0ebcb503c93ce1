//! Server-sent events: the stream format of WHATWG HTML, section 9.2.
//!
//! Owns: bytes to events and back. Does not own: reconnecting, or what the data means.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// What of an event is made at once by [`parts`], in bytes, roughly.
const MAX_PART: usize = 64 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event.
///
/// Unlike a browser, the decoder also hands out a block that has only `id` or `retry`, with empty
/// data: MCP servers prime a stream with one (2025-11-25, Streamable HTTP, "Sending Messages").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; absent means `message`.
    pub event: Option<String>,
    /// Its data, several lines joined by line feeds. Shares the chunk's memory where it can.
    pub data: Bytes,
    /// The id that this very event sets; an empty one forgets the last.
    pub id: Option<String>,
    /// How long to wait before a reconnect.
    pub retry: Option<Duration>,
}

/// An event is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {limit} bytes")]
pub struct TooLong {
    /// What is allowed, in bytes.
    pub limit: usize,
}

/// Takes a stream apart, in whatever chunks it comes. Its work is linear in the bytes it is given.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    position: Position,
    block: Block,
}

/// Where in the stream the next byte stands, as far as that changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// In the first line, which may begin with a byte order mark.
    Start,
    /// After a carriage return: a line feed belongs to it.
    AfterReturn,
    Within,
}

/// The fields of the event that is being read.
#[derive(Debug, Default)]
struct Block {
    event: Option<String>,
    data: Data,
    id: Option<String>,
    retry: Option<Duration>,
}

/// One line, which is the rule, is kept as it came.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Bytes),
    Lines(Vec<u8>),
}

impl Decoder {
    /// A decoder at the start of a stream whose events have at most `limit_bytes` of data.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit: limit_bytes,
            partial: Vec::new(),
            position: Position::Start,
            block: Block::default(),
        }
    }

    /// Takes the next bytes of the stream; returns the events that end in them.
    ///
    /// # Errors
    ///
    /// When an event grows over the limit. The stream is of no more use then.
    pub fn push(&mut self, mut chunk: Bytes) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        if self.position == Position::AfterReturn && !chunk.is_empty() {
            self.position = Position::Within;
            if chunk[0] == b'\n' {
                chunk = chunk.slice(1..);
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', &chunk) {
            let line = self.line(chunk.split_to(end))?;
            self.end_of_line(&mut chunk);
            events.extend(self.read(line)?);
        }
        self.keep(&chunk)?;
        Ok(events)
    }

    /// Returns how many bytes there are of the event that has not ended yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.len() + self.block.data.len()
    }

    /// The whole line that `rest` is the end of.
    fn line(&mut self, rest: Bytes) -> Result<Bytes, TooLong> {
        let line = if self.partial.is_empty() {
            rest
        } else {
            self.keep(&rest)?;
            let mut line = std::mem::take(&mut self.partial);
            line.shrink_to_fit();
            Bytes::from(line)
        };
        match self.position {
            Position::Start if line.starts_with(BOM) => Ok(line.slice(BOM.len()..)),
            Position::Start | Position::AfterReturn | Position::Within => Ok(line),
        }
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        // A field name and a colon come on top of the data.
        if self.partial.len() + part.len() > self.limit.saturating_add(16) {
            return Err(TooLong { limit: self.limit });
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }

    /// Takes the line's end off `chunk`.
    fn end_of_line(&mut self, chunk: &mut Bytes) {
        let length = if chunk.starts_with(b"\r\n") { 2 } else { 1 };
        self.position = match &chunk[..] {
            b"\r" => Position::AfterReturn,
            _ => Position::Within,
        };
        *chunk = chunk.slice(length..);
    }

    fn read(&mut self, line: Bytes) -> Result<Option<Event>, TooLong> {
        if line.is_empty() {
            return Ok(std::mem::take(&mut self.block).finish());
        }
        let (name, value) = match memchr::memchr(b':', &line) {
            Some(colon) => (line.slice(..colon), value_after(&line, colon)),
            None => (line, Bytes::new()),
        };
        match &name[..] {
            b"data" => self.block.data.add(value, self.limit)?,
            b"event" => self.block.event = Some(text(&value)).filter(|event| !event.is_empty()),
            b"id" if !value.contains(&0) => self.block.id = Some(text(&value)),
            b"retry" => self.block.retry = milliseconds(&value).or(self.block.retry),
            // A comment, or a field of the future.
            _ => {}
        }
        Ok(None)
    }
}

impl Block {
    fn finish(self) -> Option<Event> {
        let data = match self.data {
            Data::None if self.id.is_none() && self.retry.is_none() => return None,
            Data::None => Bytes::new(),
            Data::Line(line) => line,
            Data::Lines(mut lines) => {
                lines.shrink_to_fit();
                Bytes::from(lines)
            }
        };
        Some(Event {
            event: self.event,
            data,
            id: self.id,
            retry: self.retry,
        })
    }
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Line(first) => first.len(),
            Self::Lines(lines) => lines.len(),
        }
    }

    fn add(&mut self, line: Bytes, limit: usize) -> Result<(), TooLong> {
        let before = match self {
            Self::None => 0,
            Self::Line(_) | Self::Lines(_) => self.len() + 1,
        };
        if before + line.len() > limit {
            return Err(TooLong { limit });
        }
        *self = match std::mem::take(self) {
            Self::None => Self::Line(line),
            // Takes its memory over, if it has that to itself.
            Self::Line(first) => Self::Lines(joined(first.into(), &line)),
            Self::Lines(lines) => Self::Lines(joined(lines, &line)),
        };
        Ok(())
    }
}

fn joined(mut lines: Vec<u8>, line: &[u8]) -> Vec<u8> {
    lines.push(b'\n');
    lines.extend_from_slice(line);
    lines
}

fn value_after(line: &Bytes, colon: usize) -> Bytes {
    let value = line.slice(colon + 1..);
    if value.starts_with(b" ") {
        value.slice(1..)
    } else {
        value
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn milliseconds(value: &[u8]) -> Option<Duration> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text(value).parse().ok().map(Duration::from_millis)
}

/// One event as bytes. `data` may have line breaks of any kind: each line goes out on its own,
/// and comes back with line feeds between. `event` and `id` must have none; what follows one in
/// them is left out.
#[must_use]
pub fn encode(event: Option<&str>, id: Option<&str>, data: &[u8]) -> Bytes {
    threads::pass(data.len(), || encode_here(event, id, data))
}

fn encode_here(event: Option<&str>, id: Option<&str>, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(64 + data.len());
    for (name, value) in [("event", event), ("id", id)] {
        if let Some(value) = value.and_then(|value| value.split(['\n', '\r', '\0']).next()) {
            put_field(&mut bytes, name, value.as_bytes());
        }
    }
    let mut rest = data;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        put_field(&mut bytes, "data", &rest[..end]);
        rest = &rest[end + break_length(&rest[end..])..];
    }
    put_field(&mut bytes, "data", rest);
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// The bytes of [`encode`] in parts, of which each is made when the one before it was taken.
pub fn parts(event: Option<&'static str>, data: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let data = data.clone();
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let mut next = at?;
        let mut part = BytesMut::with_capacity(data.len().min(MAX_PART) + 64);
        if next == 0 {
            if let Some(event) = event {
                put_field(&mut part, "event", event.as_bytes());
            }
            part.put_slice(b"data: ");
        }
        while part.len() < MAX_PART {
            let rest = &data[next..];
            let room = rest.len().min(MAX_PART - part.len());
            match memchr::memchr2(b'\n', b'\r', &rest[..room]) {
                Some(end) => {
                    part.put_slice(&rest[..end]);
                    part.put_slice(b"\ndata: ");
                    next += end + break_length(&rest[end..]);
                }
                None => {
                    part.put_slice(&rest[..room]);
                    next += room;
                }
            }
            if next == data.len() {
                part.put_slice(b"\n\n");
                at = None;
                return Some(part.freeze());
            }
        }
        at = Some(next);
        Some(part.freeze())
    })
}

fn break_length(text: &[u8]) -> usize {
    match text.starts_with(b"\r\n") {
        true => 2,
        false => 1,
    }
}

fn put_field(bytes: &mut BytesMut, name: &str, value: &[u8]) {
    bytes.put_slice(name.as_bytes());
    bytes.put_slice(b": ");
    bytes.put_slice(value);
    bytes.put_u8(b'\n');
}

#[cfg(test)]
mod tests;
