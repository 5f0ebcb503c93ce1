//! The positions in a message's `params` of the values that are read.
//!
//! Owns: scanning `params` once, when the message is parsed. `params` may be long, and these values
//! are needed several times. Does not own: what the values mean.

use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::Kind;
use crate::members;
use crate::meta::META_PROTOCOL_VERSION;

/// The positions of the values, as ranges of the message's bytes. If several members have the same
/// name the last one counts, as for most servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParamRanges {
    pub(crate) name: Option<Range<usize>>,
    pub(crate) uri: Option<Range<usize>>,
    pub(crate) task_id: Option<Range<usize>>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(crate) version: Option<Range<usize>>,
    /// `_meta.progressToken` of a request.
    pub(crate) given_token: Option<Range<usize>>,
    /// `progressToken` of a progress notification.
    pub(crate) repeated_token: Option<Range<usize>>,
}

impl ParamRanges {
    /// Scans the body of a message of this kind, which is at `start` in the message. Returns `None`
    /// if it has none of the values.
    pub(crate) fn locate(kind: &Kind, body: &str, start: usize) -> Option<Arc<Self>> {
        match kind {
            Kind::Request { .. } | Kind::Notification { .. } => Self::in_params(body, start),
            Kind::Response { .. } | Kind::ErrorWithoutId => None,
        }
    }

    fn in_params(params: &str, start: usize) -> Option<Arc<Self>> {
        let mut ranges = Self::default();
        let range = |value: &RawValue| {
            let start = start + (value.get().as_ptr().addr() - params.as_ptr().addr());
            start..start + value.get().len()
        };
        // Params that are not an object have no members.
        let _ = members::each(params, |name, value| {
            match name {
                b"name" => ranges.name = Some(range(value)),
                b"uri" => ranges.uri = Some(range(value)),
                b"taskId" => ranges.task_id = Some(range(value)),
                b"progressToken" => ranges.repeated_token = Some(range(value)),
                b"_meta" => (ranges.version, ranges.given_token) = of_meta(value, range),
                _ => {}
            }
            Ok(())
        });
        (ranges != Self::default()).then(|| Arc::new(ranges))
    }
}

/// Returns the positions of the protocol version and the progress token in `_meta`.
fn of_meta(
    meta: &RawValue,
    range: impl Fn(&RawValue) -> Range<usize>,
) -> (Option<Range<usize>>, Option<Range<usize>>) {
    let (mut version, mut token) = (None, None);
    let read = members::each(meta.get(), |name, value| {
        if name == META_PROTOCOL_VERSION.as_bytes() {
            version = Some(range(value));
        } else if name == b"progressToken" {
            token = Some(range(value));
        }
        Ok(())
    });
    match read {
        Ok(()) => (version, token),
        Err(_) => (None, None),
    }
}
