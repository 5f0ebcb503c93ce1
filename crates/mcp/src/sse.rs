//! Server-sent events (WHATWG HTML §9.2).
//!
//! Owns: encoding and decoding events. Does not own: reconnecting, and what the data means.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// The approximate size of the parts that [`parts`] returns, in bytes.
const MAX_PART: usize = 64 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event.
///
/// Unlike a browser, the decoder also returns a block that has only `id` or `retry`, with empty
/// data, because MCP servers prime a stream with one (2025-11-25, Streamable HTTP, "Sending
/// Messages").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The type. `None` means `message`.
    pub event: Option<String>,
    /// The data, with several lines joined by line feeds. Shares the chunk's memory if possible.
    pub data: Bytes,
    /// The id that this event sets. An empty one clears the last id.
    pub id: Option<String>,
    /// How long to wait before reconnecting.
    pub retry: Option<Duration>,
}

/// An event exceeds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Decodes a stream from chunks of any size, in time linear in its bytes.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
    position: Position,
    block: Block,
}

/// Where in the stream the next byte is, as far as that changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// In the first line, which may begin with a byte order mark.
    Start,
    /// After a carriage return, which a line feed may follow.
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

/// The data. A single line, the usual case, is kept without a copy.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Bytes),
    Lines(Vec<u8>),
}

impl Decoder {
    /// Creates a decoder for a stream whose events have at most `limit_bytes` of data.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit: limit_bytes,
            partial: Vec::new(),
            position: Position::Start,
            block: Block::default(),
        }
    }

    /// Decodes the next bytes of the stream. Returns the events that end in them.
    ///
    /// # Errors
    ///
    /// If an event exceeds the limit. The decoder is unusable after that.
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

    /// Returns the number of buffered bytes of the incomplete event.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.len() + self.block.data.len()
    }

    /// Returns the complete line that ends with `rest`.
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
        // Allows for a field name and a colon in addition to the data.
        if self.partial.len() + part.len() > self.limit.saturating_add(16) {
            return Err(TooLong { limit: self.limit });
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }

    /// Removes the line ending from `chunk`.
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
            // A comment, or an unknown field.
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
            // Takes over the memory if nothing else shares it.
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

/// Encodes one event. `data` may have line breaks of any kind: each line becomes a field of its
/// own, and decoding joins them by line feeds. `event` and `id` must not have line breaks, and are
/// cut at the first one.
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

/// Encodes like [`encode`], in parts. Each part is made when it is requested.
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
