//! HTTP/1.1 as the client and the backend of these measurements use it: messages with a length, one
//! after the other. Looks for no more than it needs: what it costs is in every figure.

use anyhow::{Context, Result};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// A message with all of its body.
pub(super) struct Message {
    /// Where the head ends and the body begins.
    head: usize,
    /// Where the body ends.
    end: usize,
}

impl Message {
    /// The request line or the status line.
    pub(super) fn first_line<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        let head = &buffer[..self.head];
        head.split(|byte| *byte == b'\r').next().unwrap_or_default()
    }

    pub(super) fn body<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.head..self.end]
    }

    /// Takes it away, so that the buffer begins with what follows.
    pub(super) fn remove(&self, buffer: &mut Vec<u8>) {
        buffer.drain(..self.end);
    }
}

/// Reads a message to the front of `buffer`; `None` at the end of the connection.
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

/// Where the head ends, if it is there.
fn head(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some(end + 4)
}

/// How long the body is. Without a length there is none: of a stream only the head is a message.
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
