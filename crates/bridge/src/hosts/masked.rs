//! Masks a host's file for display: every value that may be a secret becomes `…`.
//!
//! Kept: the keys, the structure, our own entries, and of an imported entry what is known to be no
//! secret. A host's file may contain keys of other servers.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::tokens::Token;
use model::{EndpointUrl, shown_url};

use crate::hosts::document::{ContentError, Document};
use crate::hosts::edit::{listed, unmarked};
use crate::hosts::layout::{Splice, spliced};

/// Returns the masked text. Shows more of the entries whose keys are in `taken`.
pub(super) fn masked(text: &str, taken: &[&str]) -> Result<String, ContentError> {
    let (_, text) = unmarked(text);
    let document = Document::parse(text)?;
    let mut splices: Vec<Splice> = document
        .tokens
        .iter()
        .filter_map(|token| match token.token {
            Token::CommentLine(_) => Some(Splice::replace(token.range, "// …")),
            Token::CommentBlock(_) => Some(Splice::replace(token.range, "/* … */")),
            _ => None,
        })
        .collect();
    let servers = document.servers()?.map(|servers| servers.range);
    if let Some(root) = &document.root {
        for property in &root.properties {
            match &property.value {
                Value::Object(object) if Some(object.range) == servers => {
                    for entry in &object.properties {
                        mask_entry(entry, taken, &mut splices);
                    }
                }
                other => mask(other, &|_| None, &mut splices),
            }
        }
    }
    splices.sort_by_key(Splice::start);
    Ok(spliced(text, &splices))
}

/// Returns the text to show for a string, or `None` to mask it.
type Show<'a> = &'a dyn Fn(&str) -> Option<String>;

fn mask_entry(entry: &ObjectProp<'_>, taken: &[&str], splices: &mut Vec<Splice>) {
    let (is_ours, is_taken) = (listed(entry).ours, taken.contains(&entry.name.as_str()));
    let Value::Object(object) = &entry.value else {
        return mask(&entry.value, &|_| None, splices);
    };
    for property in &object.properties {
        let show: Show<'_> = match property.name.as_str() {
            "command" | "args" if is_ours => &|text| Some(text.to_owned()),
            "command" if is_taken => &|text| Some(text.to_owned()),
            "args" if is_taken => &argument,
            _ => &|_| None,
        };
        mask(&property.value, show, splices);
    }
}

fn mask(value: &Value<'_>, show: Show<'_>, splices: &mut Vec<Splice>) {
    match value {
        Value::StringLit(text) => {
            let shown = show(&text.value).unwrap_or_else(|| "…".to_owned());
            if shown != text.value {
                let quoted = serde_json::Value::from(shown).to_string();
                splices.push(Splice::replace(value.range(), quoted));
            }
        }
        Value::NumberLit(_) => splices.push(Splice::replace(value.range(), "…")),
        Value::Object(Object { properties, .. }) => {
            for property in properties {
                mask(&property.value, show, splices);
            }
        }
        Value::Array(array) => {
            for element in &array.elements {
                mask(element, show, splices);
            }
        }
        Value::BooleanLit(_) | Value::NullKeyword(_) => {}
    }
}

/// Returns what is shown of an argument of an imported entry.
fn argument(text: &str) -> Option<String> {
    let is_word = |text: &str| {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'-');
        text.bytes().all(fits)
    };
    let is_known = matches!(
        text,
        "/c" | "/C"
            | "npx"
            | "bunx"
            | "dlx"
            | "exec"
            | "x"
            | "http-only"
            | "sse-only"
            | "http-first"
            | "sse-first"
            | "localhost"
    );
    let is_option = text.len() <= 40 && text.starts_with('-') && is_word(text);
    if is_known || is_option || text.starts_with("mcp-remote") || text.parse::<u16>().is_ok() {
        return Some(text.to_owned());
    }
    if EndpointUrl::allowing_http(text).is_ok() {
        let shown = shown_url(text);
        let rest = if shown == text { "" } else { "?…" };
        return Some(format!("{shown}{rest}"));
    }
    None
}
