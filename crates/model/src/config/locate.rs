//! Finding the position of a field in a TOML text, and the field at a position.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Returns the 1-based line of byte `offset`.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the line of the field at `path`, or of the innermost existing table around it.
pub(super) fn line_of(text: &str, path: &[String]) -> Option<usize> {
    offset_of(text, path).map(|offset| line_at(text, offset))
}

/// Returns the byte offset of the field at `path`, or of the innermost existing table around it.
/// Returns `None` if neither exists, or if the text is not TOML.
#[must_use]
pub fn offset_of(text: &str, path: &[String]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut found = None;
    for name in path {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        found = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// Returns the dotted path of the field at byte `offset`. Returns `None` if there is no field, or if the
/// text is not TOML.
#[must_use]
pub fn field_at(text: &str, offset: usize) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut path = Vec::new();
    descend(root.get_ref(), offset, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

fn descend(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) {
    let around = |range: Range<usize>| range.contains(&offset);
    let here = table
        .iter()
        .find(|(key, value)| around(key.span()) || around(full_span(value)));
    if let Some((key, value)) = here {
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => descend(inner, offset, path),
            DeValue::Array(items) => descend_items(items, offset, path),
            _ => {}
        }
    }
}

/// Descends into the table of an array that contains `offset`, and appends its index.
fn descend_items(items: &DeArray<'_>, offset: usize, path: &mut Vec<String>) {
    let mut items = items.iter().enumerate();
    let here = items.find(|(_, item)| full_span(item).contains(&offset));
    if let Some((number, item)) = here
        && let DeValue::Table(inner) = item.get_ref()
    {
        path.push(number.to_string());
        descend(inner, offset, path);
    }
}

/// Returns the span of a value. For a table, that includes its fields, because its own span is only the
/// header, and for an array of tables, it includes the tables.
fn full_span(value: &Spanned<DeValue<'_>>) -> Range<usize> {
    let own = value.span();
    match value.get_ref() {
        DeValue::Table(table) => table.iter().fold(own, |range, (key, inner)| {
            merge(merge(range, key.span()), full_span(inner))
        }),
        DeValue::Array(items) => items
            .iter()
            .fold(own, |range, item| merge(range, full_span(item))),
        _ => own,
    }
}

fn merge(one: Range<usize>, other: Range<usize>) -> Range<usize> {
    one.start.min(other.start)..one.end.max(other.end)
}
