//! The `endpoint` event of HTTP+SSE (2024-11-05). In it, a backend names the URL for messages. The
//! caller gets a URL at the gateway instead.
//!
//! Invariant: the caller's URL leads to the gateway, and from there only to the origin of the stream,
//! and only for this caller. All other bytes of the stream are forwarded unchanged.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Uri;
use serde::{Deserialize, Serialize};
use url::Url;

use super::mcp_session::Owner;
use super::permit::Permit;
use crate::crypto::{KeyRing, Purpose};
use crate::gateway_state::GatewayState;

/// The maximum length of an `endpoint` event, in bytes. A longer event of another kind is forwarded in
/// pieces.
const MAX_ENDPOINT: usize = 16 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A message endpoint of a backend and its owner.
#[derive(Serialize, Deserialize)]
struct Sealed<Who> {
    url: String,
    owner: Who,
    /// The session at the gateway. The endpoint ends with it.
    session: String,
}

/// Opens the sealed endpoint `told`. Returns the backend's endpoint if it belongs to this caller and
/// this session, and if the configuration still names the backend.
pub(super) fn open(keys: &KeyRing, permit: &Permit, told: &str) -> Option<Uri> {
    let sealed: Sealed<Owner> = keys.open_json(Purpose::MessageEndpoint, told)?;
    let is_own = sealed.owner == Owner::of(permit) && sealed.session == permit.session().id;
    let stream = permit.server().sse_url.as_ref()?.to_string();
    let url = at_same_origin(&Url::parse(&stream).ok()?, &sealed.url)?;
    Uri::try_from(url).ok().filter(|_| is_own)
}

/// Why a stream is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("the backend's message endpoint is not at the backend")]
    Elsewhere,
    #[error("the backend's message endpoint is too long")]
    Long,
}

type Tell = Box<dyn Fn(&str) -> Option<String> + Send>;

/// Rewrites the `endpoint` events of one stream.
pub(super) struct EndpointEventRewriter {
    /// Converts a backend's endpoint to that of the caller.
    tell: Tell,
    /// The complete lines of the current event.
    event: BytesMut,
    /// The incomplete current line.
    line: BytesMut,
    /// Whether the event is too long for an `endpoint` event, so that its lines are forwarded.
    event_passes: bool,
    /// Whether the line does not name the event's kind, so that its bytes are forwarded.
    line_passes: bool,
    /// Whether a line feed would belong to the previous line.
    after_return: bool,
}

impl EndpointEventRewriter {
    /// Creates a rewriter for a stream from `stream` to the caller of `permit`, who posts to `path`.
    pub(super) fn new(
        gateway: Arc<GatewayState>,
        permit: &Permit,
        stream: &Uri,
        path: String,
    ) -> Self {
        let owner = Owner::of(permit);
        let session = permit.session().id.clone();
        let base = Url::parse(&stream.to_string()).ok();
        Self::telling(move |endpoint| {
            let sealed = Sealed {
                url: at_same_origin(base.as_ref()?, endpoint)?,
                owner: &owner,
                session: session.clone(),
            };
            let sealed = gateway.keys.seal_json(Purpose::MessageEndpoint, &sealed);
            Some(format!("{path}?sessionId={sealed}"))
        })
    }

    fn telling(tell: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        Self {
            tell: Box::new(tell),
            event: BytesMut::new(),
            line: BytesMut::new(),
            event_passes: false,
            line_passes: false,
            after_return: false,
        }
    }

    /// Reads the next bytes of the stream. Returns the bytes that can be forwarded.
    pub(super) fn push(&mut self, mut chunk: &[u8]) -> Result<Bytes, EndpointError> {
        let mut out = BytesMut::with_capacity(chunk.len());
        while let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.part_of_line(&chunk[..end], &mut out)?;
            self.end_of_line(chunk[end], &mut out)?;
            chunk = &chunk[end + 1..];
        }
        self.part_of_line(chunk, &mut out)?;
        Ok(out.freeze())
    }

    fn part_of_line(&mut self, part: &[u8], out: &mut BytesMut) -> Result<(), EndpointError> {
        if part.is_empty() {
            return Ok(());
        }
        self.after_return = false;
        if self.line_passes {
            out.extend_from_slice(part);
            return Ok(());
        }
        self.line.extend_from_slice(part);
        if self.event.len() + self.line.len() > MAX_ENDPOINT {
            self.give_up(out)?;
        }
        if self.event_passes && !may_name_the_event(&self.line) {
            out.extend_from_slice(&self.line.split());
            self.line_passes = true;
        }
        Ok(())
    }

    /// Forwards an event that is too long to be held back. Fails if it is an `endpoint` event.
    fn give_up(&mut self, out: &mut BytesMut) -> Result<(), EndpointError> {
        let is_name = self.line.len() > MAX_ENDPOINT && may_name_the_event(&self.line);
        if is_name || announced(&self.event).is_some() {
            return Err(EndpointError::Long);
        }
        out.extend_from_slice(&self.event.split());
        self.event_passes = true;
        Ok(())
    }

    fn end_of_line(&mut self, end: u8, out: &mut BytesMut) -> Result<(), EndpointError> {
        if end == b'\n' && std::mem::take(&mut self.after_return) {
            let kept = if self.event.is_empty() {
                out
            } else {
                &mut self.event
            };
            kept.extend_from_slice(b"\n");
            return Ok(());
        }
        self.after_return = end == b'\r';
        let mut line = self.line.split();
        let blank = line.is_empty() && !std::mem::take(&mut self.line_passes);
        line.extend_from_slice(&[end]);
        if blank {
            self.end_of_event(&line, out)
        } else if self.event_passes {
            match announced(&line) {
                Some(_) => Err(EndpointError::Long),
                None => {
                    out.extend_from_slice(&line);
                    Ok(())
                }
            }
        } else {
            // A comment keeps a connection alive, so it must not wait for an event.
            let alone = line.starts_with(b":") && self.event.is_empty();
            let kept = if alone { out } else { &mut self.event };
            kept.extend_from_slice(&line);
            Ok(())
        }
    }

    fn end_of_event(&mut self, blank: &[u8], out: &mut BytesMut) -> Result<(), EndpointError> {
        let event = self.event.split();
        self.event_passes = false;
        match announced(&event) {
            None => {
                out.extend_from_slice(&event);
                out.extend_from_slice(blank);
            }
            Some(endpoint) => {
                let told = (self.tell)(&endpoint).ok_or(EndpointError::Elsewhere)?;
                out.extend_from_slice(format!("event: endpoint\ndata: {told}\n\n").as_bytes());
            }
        }
        Ok(())
    }
}

/// Returns the endpoint that an event names. Returns `None` if it is no `endpoint` event.
fn announced(event: &[u8]) -> Option<String> {
    let (mut kind, mut data) = (None, Vec::new());
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.strip_prefix(BOM).unwrap_or(line);
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[..0]),
        };
        match name {
            b"event" => kind = Some(value.trim_ascii()),
            b"data" => data.push(value.trim_ascii()),
            _ => {}
        }
    }
    (kind == Some(b"endpoint")).then(|| String::from_utf8_lossy(&data.join(&b'\n')).into_owned())
}

/// Returns true if a line may name the event's kind, judging by the bytes so far.
fn may_name_the_event(line: &[u8]) -> bool {
    let line = line.strip_prefix(BOM).unwrap_or(line);
    line.starts_with(b"event") || b"event".starts_with(line) || BOM.starts_with(line)
}

/// Resolves `endpoint`. Returns `None` if it leaves the origin of `stream`.
fn at_same_origin(stream: &Url, endpoint: &str) -> Option<String> {
    let url = stream.join(endpoint).ok()?;
    let same = url.origin() == stream.origin() && url.origin().is_tuple();
    let plain = url.username().is_empty() && url.password().is_none();
    (same && plain).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the caller's stream for a stream in chunks of `size` bytes.
    fn passed(stream: &str, size: usize) -> Result<String, EndpointError> {
        let base = Url::parse("http://10.0.0.5:7071/mcp/sse").unwrap();
        let mut announcements = EndpointEventRewriter::telling(move |endpoint| {
            Some(format!("<{}>", at_same_origin(&base, endpoint)?))
        });
        let mut out = Vec::new();
        for chunk in stream.as_bytes().chunks(size) {
            out.extend_from_slice(&announcements.push(chunk)?);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn d34_t66_only_endpoint_event_is_rewritten() {
        let long = format!("event: message\ndata: {}\n\n", "x".repeat(3 * MAX_ENDPOINT));
        for (stream, expected) in [
            (
                "event: endpoint\ndata: message?s=1\n\n",
                "event: endpoint\ndata: <http://10.0.0.5:7071/mcp/message?s=1>\n\n",
            ),
            (
                "data:/m?s=1\r\nevent:endpoint\r\n\r\n",
                "event: endpoint\ndata: <http://10.0.0.5:7071/m?s=1>\n\n\n",
            ),
            (
                "\u{feff}event: endpoint\ndata: http://10.0.0.5:7071/m\n\n",
                "event: endpoint\ndata: <http://10.0.0.5:7071/m>\n\n",
            ),
            (
                "event: message\ndata: {\"a\":1}\n\n",
                "event: message\ndata: {\"a\":1}\n\n",
            ),
            (
                "id: 1\r\ndata: a\r\ndata: b\r\n\r\n",
                "id: 1\r\ndata: a\r\ndata: b\r\n\r\n",
            ),
            ("data: a\r\rdata: b\r\r", "data: a\r\rdata: b\r\r"),
            (": ping\n: ping\n", ": ping\n: ping\n"),
            (
                "data: endpoint\n\nevent: endpoints\ndata: /x\n\n",
                "data: endpoint\n\nevent: endpoints\ndata: /x\n\n",
            ),
            (&long, &long),
        ] {
            for size in [1, 2, 3, 7, 1000, usize::MAX] {
                assert_eq!(passed(stream, size).as_deref(), Ok(expected), "{size}");
            }
        }
    }

    #[test]
    fn t66_foreign_or_hidden_endpoint_event_cuts_stream() {
        let much = "x".repeat(2 * MAX_ENDPOINT);
        for (stream, error) in [
            (
                "event: endpoint\ndata: https://evil.example/m\n\n",
                EndpointError::Elsewhere,
            ),
            (
                "event: endpoint\ndata: //evil.example/m\n\n",
                EndpointError::Elsewhere,
            ),
            (
                "event: endpoint\ndata: http://10.0.0.5:7072/m\n\n",
                EndpointError::Elsewhere,
            ),
            (
                "event: endpoint\ndata: http://u:p@10.0.0.5:7071/m\n\n",
                EndpointError::Elsewhere,
            ),
            (
                "event: endpoint\ndata: javascript:alert(1)\n\n",
                EndpointError::Elsewhere,
            ),
            (
                &format!("event: endpoint\ndata: /{much}\n\n"),
                EndpointError::Long,
            ),
            (
                &format!("data: /{much}\nevent: endpoint\n\n"),
                EndpointError::Long,
            ),
            (&format!("event: {much}\n\n"), EndpointError::Long),
        ] {
            for size in [1, 5, usize::MAX] {
                assert_eq!(passed(stream, size), Err(error), "{size}");
            }
        }
    }
}
