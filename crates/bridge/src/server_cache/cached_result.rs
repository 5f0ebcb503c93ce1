//! One cached result: the whole text, or an outline if it is too large.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use control::api::ToolView;
use mcp::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::lists_tool;

/// The maximum size of a whole result, in bytes. It is parsed and written for each change. Lists of
/// hundreds of tools need less than a tenth of it.
pub(super) const MAX_CACHED: usize = 4 << 20;

/// The maximum number of outlined tools.
const MAX_OUTLINED: usize = 4096;

/// The maximum length of an outlined tool's name, in bytes.
const MAX_NAME: usize = 256;

/// Shown instead of the description of an outlined tool.
const NOT_SHOWN: &str =
    "Not shown: the server's list of tools is larger than the 4 MB that Postern keeps.";

/// One result. Clones share it.
#[derive(Clone, Debug)]
pub(crate) enum CachedResult {
    Whole(Arc<Box<RawValue>>),
    Outline(Arc<Outline>),
}

/// Identifies a result that is too large to be cached.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outline {
    /// The size of the whole result, in bytes.
    size: usize,
    /// SHA-256 of the whole result, in hexadecimal digits.
    hash: String,
    /// The names of at most [`MAX_OUTLINED`] tools, each with the SHA-256 of its definition.
    tools: BTreeMap<String, String>,
}

impl CachedResult {
    /// Builds the entry for this result of `method`. Returns `None` if it equals `before`.
    pub(crate) fn if_changed(
        method: &str,
        result: &RawValue,
        before: Option<&Self>,
    ) -> Option<Self> {
        if result.get().len() <= MAX_CACHED {
            return match before {
                Some(Self::Whole(before)) if before.get() == result.get() => None,
                Some(Self::Whole(_) | Self::Outline(_)) | None => {
                    Some(Self::Whole(Arc::new(result.to_owned())))
                }
            };
        }
        let hash = hash(result);
        match before {
            Some(Self::Outline(before)) if before.hash == hash => None,
            Some(Self::Whole(_) | Self::Outline(_)) | None => {
                let outline = Outline {
                    size: result.get().len(),
                    hash,
                    tools: outline(method, result),
                };
                Some(Self::Outline(Arc::new(outline)))
            }
        }
    }

    pub(super) fn whole(&self) -> Option<&RawValue> {
        match self {
            Self::Whole(result) => Some(result),
            Self::Outline(_) => None,
        }
    }

    /// Returns true if the list has a tool of that name.
    pub(super) fn has_tool(&self, name: &str) -> bool {
        match self {
            Self::Whole(result) => lists_tool(result, name),
            Self::Outline(outline) => outline.tools.contains_key(name),
        }
    }

    /// Returns the tools of the list to show to the user.
    pub(super) fn tools(&self) -> Option<Vec<ToolView>> {
        match self {
            Self::Whole(result) => views(result),
            Self::Outline(outline) => {
                Some(outline.tools.keys().map(|name| not_shown(name)).collect())
            }
        }
    }
}

fn hash(text: &RawValue) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.get().as_bytes());
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn outline(method: &str, result: &RawValue) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Listed<'a> {
        #[serde(borrow)]
        tools: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    if method != "tools/list" {
        return BTreeMap::new();
    }
    let listed = json::read::<Listed<'_>>(result.get());
    let tools = listed.map(|listed| listed.tools).unwrap_or_default();
    let outlined = tools.into_iter().filter_map(|tool| {
        let Named { name } = serde_json::from_str(tool.get()).ok()?;
        (name.len() <= MAX_NAME).then(|| (name.into_owned(), hash(tool)))
    });
    outlined.take(MAX_OUTLINED).collect()
}

fn not_shown(name: &str) -> ToolView {
    ToolView {
        name: name.to_owned(),
        description: Some(NOT_SHOWN.to_owned()),
        input_schema: "{}".to_owned(),
    }
}

fn views(listed: &RawValue) -> Option<Vec<ToolView>> {
    #[derive(Deserialize)]
    struct Tools {
        tools: Vec<Tool>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tool {
        name: String,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        input_schema: Option<Box<RawValue>>,
    }
    let listed: Tools = json::read(listed.get()).ok()?;
    let view = |tool: Tool| ToolView {
        name: tool.name,
        description: tool.description,
        input_schema: tool
            .input_schema
            .map_or_else(|| "{}".to_owned(), |schema| schema.get().to_owned()),
    };
    Some(listed.tools.into_iter().map(view).collect())
}
