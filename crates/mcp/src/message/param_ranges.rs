//! Where in the `params` of a message lies what the bridge reads of them.
//!
//! Owns: the one look at `params`, made when the message is read. `params` may be long, and a message
//! is asked for these values several times. Does not own: what the values mean.

use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::Kind;
use crate::members;
use crate::meta::META_PROTOCOL_VERSION;

/// Where the values lie, as ranges of the message's bytes. Of several members with one name the
/// last one counts, as it does to most servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParamRanges {
    pub(crate) name: Option<Range<usize>>,
    pub(crate) uri: Option<Range<usize>>,
    pub(crate) task_id: Option<Range<usize>>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(crate) version: Option<Range<usize>>,
    /// `_meta.progressToken`, which a request gives.
    pub(crate) given_token: Option<Range<usize>>,
    /// `progressToken`, which a progress notification repeats.
    pub(crate) repeated_token: Option<Range<usize>>,
}

impl ParamRanges {
    /// Looks at the body of a message of this kind, which begins at `start` of the message. Returns
    /// `None` if there is nothing to remember.
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
        // What is no object has no members.
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

/// The protocol version and the progress token in `_meta`.
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
