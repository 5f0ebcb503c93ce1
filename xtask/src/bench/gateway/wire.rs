//! HTTP/1.1 for the client and the backend of these measurements: messages with a length, one after
//! the other. Parses only what is needed, because its cost is in every result.

use anyhow::{Context, Result};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// A message with its complete body.
pub(super) struct Message {
    /// The position where the head ends and the body begins.
    head: usize,
    /// The position where the body ends.
    end: usize,
}

impl Message {
    /// Returns the request line or the status line.
    pub(super) fn first_line<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        let head = &buffer[..self.head];
        head.split(|byte| *byte == b'\r').next().unwrap_or_default()
    }

    pub(super) fn body<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.head..self.end]
    }

    /// Removes the message, so that the buffer begins with the next one.
    pub(super) fn remove(&self, buffer: &mut Vec<u8>) {
        buffer.drain(..self.end);
    }
}

/// Reads a message to the front of `buffer`. Returns `None` at the end of the connection.
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Message>> {
    loop {
        if let Some(head) = head(buffer) {
            let end = head + length(&buffer[..head])?;
            if buffer.len() >= end {
                return Ok(Some(Message { head, end }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns where the head ends, if it is complete.
fn head(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Returns the length of the body. It is 0 without a length: for a stream, only the head is a message.
fn length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    match value {
        Some(value) => {
            let value = std::str::from_utf8(value)?.trim();
            value.parse().context("not a length")
        }
        None => Ok(0),
    }
}
