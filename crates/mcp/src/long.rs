//! A message that is skipped because it is too long or memory is exhausted. It is read without
//! being stored.
//!
//! Owns: which request the message is, wherever its `id` is. Some hosts write it last. Does not
//! own: the rest of the message, and whether it is JSON at all.

use crate::RequestId;

/// The longest member that is stored, in bytes. Ids and method names are far shorter.
const MAX_TOKEN: usize = 1024;

/// The state of the scan.
#[derive(Debug, Default)]
pub struct LongMessage {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// True if the message is an object. Its members are at depth 1.
    is_object: bool,
    name: Vec<u8>,
    token: Vec<u8>,
    id: Option<RequestId>,
    has_method: bool,
}

/// The kind of a skipped message.
#[derive(Debug, PartialEq, Eq)]
pub enum LongKind {
    /// A request with this id.
    Request(RequestId),
    /// The response to the request with this id.
    Response(RequestId),
    /// A notification, several messages, or nothing readable.
    Other,
}

impl LongMessage {
    /// Scans the next part of the message.
    pub fn read(&mut self, mut part: &[u8]) {
        while let Some((&byte, rest)) = part.split_first() {
            if self.in_string && self.depth > 1 && !self.is_escaped {
                // Most bytes of a long message are in strings.
                let end = memchr::memchr2(b'"', b'\\', part).unwrap_or(part.len());
                if end > 0 {
                    part = &part[end..];
                    continue;
                }
            }
            self.take(byte);
            part = rest;
        }
    }

    /// Returns the kind of the message, after its last part.
    #[must_use]
    pub fn kind(self) -> LongKind {
        match self.id {
            Some(id) if self.has_method => LongKind::Request(id),
            Some(id) => LongKind::Response(id),
            None => LongKind::Other,
        }
    }

    fn take(&mut self, byte: u8) {
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return self.keep(byte);
        }
        match (byte, self.depth) {
            (b'"', _) => {
                self.in_string = true;
                self.keep(byte);
            }
            (b'{' | b'[', depth) => {
                self.is_object |= depth == 0 && byte == b'{';
                self.depth += 1;
            }
            (b'}' | b']', depth) => {
                if depth == 1 {
                    self.end_member();
                }
                self.depth = depth.saturating_sub(1);
            }
            (b':', 1) => self.name = std::mem::take(&mut self.token),
            (b',', 1) => self.end_member(),
            (byte, _) if byte.is_ascii_whitespace() => {}
            (byte, _) => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.is_object && self.depth == 1 && self.token.len() <= MAX_TOKEN {
            self.token.push(byte);
        }
    }

    fn end_member(&mut self) {
        let value = std::mem::take(&mut self.token);
        match &*std::mem::take(&mut self.name) {
            b"\"id\"" if value.len() <= MAX_TOKEN => {
                let text = std::str::from_utf8(&value).ok();
                self.id = text.and_then(RequestId::from_json);
            }
            b"\"method\"" => self.has_method = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::RequestId;

    use super::{LongKind, LongMessage};

    fn kind(text: &str) -> LongKind {
        let mut whole = LongMessage::default();
        whole.read(text.as_bytes());
        let mut parts = LongMessage::default();
        text.as_bytes().iter().for_each(|byte| parts.read(&[*byte]));
        let whole = whole.kind();
        assert_eq!(whole, parts.kind(), "{text}");
        whole
    }

    #[test]
    fn id_is_found_at_any_position() {
        let seven = || RequestId::from_json("7").unwrap();
        for request in [
            r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"id":8,"a":["\"id\":9","}",{}]}}"#,
            r#"{"method":"x","params":{"a":"\\","b":"\"}"},"jsonrpc":"2.0","id":7}"#,
            r#" { "id" : 7 , "method" : "x", "params": [[{"id":1}], 2] } "#,
        ] {
            assert_eq!(kind(request), LongKind::Request(seven()), "{request}");
        }
        let text = r#"{"result":{"method":"x"},"id":"a\"b"}"#;
        let id = RequestId::from_json(r#""a\"b""#).unwrap();
        assert_eq!(kind(text), LongKind::Response(id));
    }

    #[test]
    fn invalid_message_has_no_id() {
        for other in [
            r#"{"method":"x","params":{"id":7}}"#,
            r#"[{"id":7,"method":"x"}]"#,
            r#"{"id":{"id":7},"method":"x"}"#,
            r#"{"id":null,"method":"x"}"#,
            "}}]]::,,\"",
            "",
        ] {
            assert_eq!(kind(other), LongKind::Other, "{other}");
        }
        let long = format!(r#"{{"id":"{}","method":"x"}}"#, "7".repeat(5000));
        assert_eq!(kind(&long), LongKind::Other);
    }
}
