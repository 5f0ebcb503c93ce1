//! Several messages in one array (JSON-RPC 2.0 §6), which MCP has in 2025-03-26 only.
//!
//! Owns: the elements of an array, each with the bytes it arrived as. Does not own: who gets the
//! messages. An array is split where it is read, and none is ever sent on.

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::{INVALID_REQUEST, MAX_BATCH_MESSAGES, ParseError};
use crate::{Kind, Message, RequestId, members};

/// A message, or an array of messages.
#[derive(Debug)]
pub enum Parsed {
    /// One message.
    Message(Message),
    /// Several messages in one array.
    Batch(Batch),
}

/// The elements of an array, in order. Each is parsed when it is taken.
#[derive(Debug)]
pub struct Batch {
    bytes: Bytes,
    /// Where the next element begins, or the white space or comma before it.
    at: usize,
    left: usize,
    sender: Sender,
}

/// Who sent an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Host,
    Server,
}

/// An element of an array that is not a message.
#[derive(Debug, thiserror::Error)]
#[error("a message in an array: {error}")]
pub struct InvalidElement {
    /// The id of the request that the element would be.
    id: Option<RequestId>,
    error: ParseError,
}

impl Parsed {
    /// Parses what a host sent.
    ///
    /// # Errors
    ///
    /// If the bytes are neither a message nor an array of 1 to [`MAX_BATCH_MESSAGES`] elements.
    pub fn from_host(bytes: Bytes) -> Result<Self, ParseError> {
        match Self::parse(bytes, Sender::Host)? {
            Self::Batch(batch) if batch.left > MAX_BATCH_MESSAGES => Err(ParseError::LongBatch),
            parsed => Ok(parsed),
        }
    }

    /// Parses what a server sent. An array may have any number of elements.
    ///
    /// # Errors
    ///
    /// If the bytes are neither a message nor an array with an element.
    pub fn from_server(bytes: Bytes) -> Result<Self, ParseError> {
        match Self::parse(bytes, Sender::Server)? {
            // Some servers answer each request with an array.
            Self::Batch(mut batch) if batch.left == 1 => match batch.next() {
                Some(Ok(message)) => Ok(Self::Message(message)),
                Some(Err(invalid)) => Err(invalid.error),
                None => Err(ParseError::EmptyBatch),
            },
            parsed => Ok(parsed),
        }
    }

    fn parse(bytes: Bytes, sender: Sender) -> Result<Self, ParseError> {
        let begin = bytes.iter().position(|byte| !is_space(*byte));
        let Some(at) = begin.filter(|at| bytes.get(*at) == Some(&b'[')) else {
            return Message::parse(bytes).map(Self::Message);
        };
        let left = count(&bytes)?;
        if left == 0 {
            return Err(ParseError::EmptyBatch);
        }
        let at = at + 1;
        Ok(Self::Batch(Batch {
            bytes,
            at,
            left,
            sender,
        }))
    }
}

impl Batch {
    /// Returns the next element as it arrived. An element of less than half of the array is copied,
    /// because a slice would keep the whole array in memory.
    fn element(&mut self) -> Option<Bytes> {
        let comma = |byte: &u8| is_space(*byte) || *byte == b',';
        let rest = self.bytes.get(self.at..)?;
        let begin = self.at + rest.iter().take_while(|byte| comma(byte)).count();
        let rest = self.bytes.get(begin..)?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let length = values.next()?.ok()?.get().len();
        self.at = begin + length;
        Some(match length < self.bytes.len() / 2 {
            true => Bytes::copy_from_slice(rest.get(..length)?),
            false => self.bytes.slice(begin..self.at),
        })
    }

    fn read(&self, element: &Bytes) -> Result<Message, InvalidElement> {
        let message = match Message::parse(element.clone()) {
            Ok(message) => message,
            Err(error) => {
                return Err(InvalidElement {
                    id: id_of_request(element),
                    error,
                });
            }
        };
        match message.kind() {
            Kind::Request { id, method }
                if self.sender == Sender::Host && **method == *"initialize" =>
            {
                Err(InvalidElement {
                    id: Some(id.clone()),
                    error: ParseError::InitializeInBatch,
                })
            }
            Kind::Request { .. }
            | Kind::Notification { .. }
            | Kind::Response { .. }
            | Kind::ErrorWithoutId => Ok(message),
        }
    }
}

impl Iterator for Batch {
    type Item = Result<Message, InvalidElement>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let element = self.element()?;
        Some(self.read(&element))
    }
}

impl InvalidElement {
    /// Builds the JSON-RPC error for this element, with the id of the request if that can be read.
    #[must_use]
    pub fn to_response(&self) -> Message {
        let text = self.error.to_string();
        Message::error_response(self.id.as_ref(), INVALID_REQUEST, &text, None)
    }
}

/// Counts the elements of an array.
fn count(array: &Bytes) -> Result<usize, ParseError> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while elements.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    let text = std::str::from_utf8(array).map_err(|_| ParseError::NotUtf8)?;
    let mut from = serde_json::Deserializer::from_str(text);
    let counted = from.deserialize_seq(Count);
    let counted = counted.and_then(|count| from.end().map(|()| count));
    counted.map_err(|error| ParseError::NotJson(error.to_string()))
}

/// Returns the id of an invalid request. Returns `None` for any other element, because an error
/// with its id would be taken for the response to another request.
fn id_of_request(element: &[u8]) -> Option<RequestId> {
    let text = std::str::from_utf8(element).ok()?;
    members::find(text, "method")?;
    RequestId::from_json(members::find(text, "id")?.get())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests;
