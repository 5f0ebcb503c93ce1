//! Tool parameters that are repeated in HTTP headers (2026-07-28, Streamable HTTP, "Custom Headers
//! from Tool Parameters").
//!
//! Owns: which tools of a server require which headers, and removing tools whose annotations break
//! the rules, as clients must. Does no I/O. Does not own: any other part of a tool's definition,
//! and the bytes of the tools that stay.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Message, header, json, members};

/// The annotation in a parameter's schema.
const ANNOTATION: &str = "x-mcp-header";

/// The prefix of the header names.
const PREFIX: &str = "mcp-param-";

/// The largest absolute value of an integer in a header: 2⁵³ − 1.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The headers that the listed tools of one server require.
#[derive(Debug, Default)]
pub struct ToolHeaders(Mutex<HashMap<String, Arc<[HeaderParam]>>>);

/// One header, and the path of its value in the arguments of a call.
#[derive(Debug, PartialEq, Eq)]
struct HeaderParam {
    name: HeaderName,
    path: Vec<String>,
}

/// A list without the tools that a client must not use.
#[derive(Debug)]
pub struct FilteredTools {
    /// The response that replaces the server's.
    pub answer: Message,
    /// The name of each removed tool, and what is wrong with it.
    pub rejected: Vec<(String, &'static str)>,
}

impl ToolHeaders {
    /// Learns from a `tools/list` response, one page or all. Returns the list without invalid
    /// tools, or `None` if all are valid.
    pub fn learn(&self, answer: &Message) -> Option<FilteredTools> {
        let bytes = answer.bytes();
        if self.known().is_empty() && !json::contains(bytes, ANNOTATION.as_bytes()) {
            return None;
        }
        threads::pass(bytes.len(), || self.learn_here(answer))
    }

    fn learn_here(&self, answer: &Message) -> Option<FilteredTools> {
        let bytes = answer.bytes();
        let listed: Listed<'_> = json::read(answer.result()?.get()).ok()?;
        let mut kept = Vec::new();
        let mut rejected = Vec::new();
        let mut learned = Vec::new();
        for tool in &listed.tools {
            let Ok(definition) = serde_json::from_str::<Tool>(tool.get()) else {
                kept.push(tool.get());
                continue;
            };
            match header_params(&definition.input_schema) {
                Ok(wanted) => {
                    kept.push(tool.get());
                    learned.push((definition.name, wanted));
                }
                Err(flaw) => {
                    learned.push((definition.name.clone(), Vec::new()));
                    rejected.push((definition.name, flaw));
                }
            }
        }
        self.record(learned);
        if rejected.is_empty() {
            return None;
        }
        let first = range_in(bytes, listed.tools.first()?.get());
        let last = range_in(bytes, listed.tools.last()?.get());
        let filtered = [
            &bytes[..first.start],
            kept.join(",").as_bytes(),
            &bytes[last.end..],
        ]
        .concat();
        let answer = Message::parse(Bytes::from(filtered)).ok()?;
        Some(FilteredTools { answer, rejected })
    }

    /// Returns the headers of a `tools/call`. Empty for any other message.
    #[must_use]
    pub fn for_call(&self, call: &Message) -> Vec<(HeaderName, HeaderValue)> {
        let values = self.values(call).into_iter();
        values
            .map(|(name, value)| (name, header::encode_value(&value)))
            .collect()
    }

    /// Returns the headers of a `tools/call` with their values before encoding.
    pub(crate) fn values(&self, call: &Message) -> Vec<(HeaderName, String)> {
        if call.method() != Some("tools/call") {
            return Vec::new();
        }
        if self.known().is_empty() {
            return Vec::new();
        }
        let params = call.params().map(RawValue::get).unwrap_or_default();
        let name = members::find(params, "name").map(RawValue::get);
        let name = name.and_then(|name| serde_json::from_str::<String>(name).ok());
        let wanted = name.and_then(|name| self.known().get(&name).cloned());
        let Some(wanted) = wanted else {
            return Vec::new();
        };
        let arguments = members::find(params, "arguments");
        let header = |wanted: &HeaderParam| {
            let value = value_at(arguments?, &wanted.path)?;
            Some((wanted.name.clone(), value))
        };
        wanted.iter().filter_map(header).collect()
    }

    /// Replaces the headers of these tools.
    fn record(&self, learned: Vec<(String, Vec<HeaderParam>)>) {
        let mut known = self.known();
        for (tool, wanted) in learned {
            match wanted.is_empty() {
                true => known.remove(&tool),
                false => known.insert(tool, wanted.into()),
            };
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<[HeaderParam]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    #[serde(default)]
    input_schema: Value,
}

/// Returns the position of a part in some bytes.
fn range_in(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Returns the headers that a tool's schema requires.
fn header_params(schema: &Value) -> Result<Vec<HeaderParam>, &'static str> {
    let mut found = Collector::default();
    found.visit(schema, &mut Vec::new(), Position::Root)?;
    Ok(found.params)
}

#[derive(Default)]
struct Collector {
    params: Vec<HeaderParam>,
    names: BTreeSet<String>,
}

/// How a schema is reached from the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Root,
    /// Only through `properties`.
    Property,
    /// In any other way: its value may be absent, or at no fixed path.
    Elsewhere,
}

impl Collector {
    fn visit(
        &mut self,
        schema: &Value,
        path: &mut Vec<String>,
        position: Position,
    ) -> Result<(), &'static str> {
        let Value::Object(schema) = schema else {
            return Ok(());
        };
        if let Some(annotation) = schema.get(ANNOTATION) {
            self.take(annotation, schema, path, position)?;
        }
        for (keyword, value) in schema {
            match (keyword.as_str(), value) {
                // Data, in which the annotation means nothing.
                ("const" | "default" | "enum" | "example" | "examples", _) => {}
                ("properties", Value::Object(properties)) => {
                    let below = match position {
                        Position::Root | Position::Property => Position::Property,
                        Position::Elsewhere => Position::Elsewhere,
                    };
                    for (name, property) in properties {
                        path.push(name.clone());
                        self.visit(property, path, below)?;
                        path.pop();
                    }
                }
                (
                    "$defs" | "definitions" | "dependentSchemas" | "patternProperties",
                    Value::Object(schemas),
                ) => {
                    for schema in schemas.values() {
                        self.visit(schema, path, Position::Elsewhere)?;
                    }
                }
                (_, Value::Array(schemas)) => {
                    for schema in schemas {
                        self.visit(schema, path, Position::Elsewhere)?;
                    }
                }
                (_, schema) => self.visit(schema, path, Position::Elsewhere)?,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        annotation: &Value,
        schema: &Map<String, Value>,
        path: &[String],
        position: Position,
    ) -> Result<(), &'static str> {
        if position != Position::Property {
            return Err("x-mcp-header is not on a parameter");
        }
        let name = match annotation {
            Value::String(name) if !name.is_empty() => name,
            _ => return Err("x-mcp-header is not a string, or is empty"),
        };
        let header = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes())
            .map_err(|_| "x-mcp-header is not a valid header name")?;
        match schema.get("type").and_then(Value::as_str) {
            Some("string" | "integer" | "boolean") => {}
            _ => return Err("x-mcp-header is not on a string, integer or boolean"),
        }
        if !self.names.insert(header.as_str().to_owned()) {
            return Err("two parameters have the same x-mcp-header");
        }
        self.params.push(HeaderParam {
            name: header,
            path: path.to_vec(),
        });
        Ok(())
    }
}

/// Returns the value of a parameter for a header. Returns `None` if it is absent, null, or of a
/// type that no header repeats.
///
/// Parses only that value, because the others may exceed what a [`Value`] can hold.
fn value_at(arguments: &RawValue, path: &[String]) -> Option<String> {
    let mut names = path.iter();
    let found = names.try_fold(arguments, |value, name| members::find(value.get(), name))?;
    if found.get().starts_with(['{', '[']) {
        return None;
    }
    match serde_json::from_str(found.get()).ok()? {
        Value::String(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => integer(&number),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns an integer in decimal, with any spelling in the arguments.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "within the range in which a float has every integer"
)]
fn integer(number: &serde_json::Number) -> Option<String> {
    if let Some(value) = number.as_i64() {
        return (value.unsigned_abs() <= MAX_INTEGER).then(|| value.to_string());
    }
    let value = number.as_f64()?;
    let whole = value.fract() == 0.0 && value.abs() <= MAX_INTEGER as f64;
    whole.then(|| (value as i64).to_string())
}

#[cfg(test)]
mod tests;
