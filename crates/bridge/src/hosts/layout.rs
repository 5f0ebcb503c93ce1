//! Inserts and removes properties in a document's text and leaves the rest untouched.
//!
//! The parser's own tree can edit too, but it breaks one-line objects and trims blank lines. Here
//! an edit is a few [`Splice`]s, and the text between them is kept byte for byte. A new property
//! follows the document's newlines, indentation and spacing, and comes last.

use jsonc_parser::ast::{Object, ObjectProp};
use jsonc_parser::common::{Range, Ranged as _};
use jsonc_parser::tokens::Token;

use crate::hosts::document::{Document, is_comment};

/// A value to write.
pub(super) enum Json {
    Text(String),
    /// Always on one line.
    List(Vec<String>),
    Object(Vec<(String, Json)>),
}

/// A replacement of one range. An insertion has an empty range.
#[derive(Debug)]
pub(super) struct Splice {
    range: Range,
    with: String,
}

impl Splice {
    pub(super) fn replace(range: Range, with: impl Into<String>) -> Self {
        Self {
            range,
            with: with.into(),
        }
    }

    pub(super) fn start(&self) -> usize {
        self.range.start
    }

    fn insert(at: usize, with: impl Into<String>) -> Self {
        Self::replace(Range::new(at, at), with)
    }

    fn cut(start: usize, end: usize) -> Self {
        Self::replace(Range::new(start, end), "")
    }
}

/// Applies the splices to `text`. They must be sorted and must not overlap.
pub(super) fn spliced(text: &str, splices: &[Splice]) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut kept_to = 0;
    for Splice { range, with } in splices {
        out.push_str(&text[kept_to..range.start]);
        out.push_str(with);
        kept_to = range.end;
    }
    out.push_str(&text[kept_to..]);
    out
}

/// The layout of a document.
#[derive(Clone, Copy)]
pub(super) struct Style<'a> {
    newline: &'static str,
    /// One step of indentation.
    unit: &'a str,
    /// The whitespace after a colon, and between elements on one line.
    space: &'static str,
}

impl<'a> Style<'a> {
    pub(super) fn detect(document: &Document<'a>) -> Self {
        let first = document
            .root
            .as_ref()
            .and_then(|root| root.properties.first());
        let line_end = document.text.find('\n').unwrap_or(0);
        let crlf = document.text[..line_end].ends_with('\r');
        Self {
            newline: if crlf { "\r\n" } else { "\n" },
            unit: first
                .and_then(|first| unit(document, first))
                .unwrap_or("  "),
            space: first.map_or(" ", |first| space(document.text, first)),
        }
    }

    /// Formats the property. Uses several lines if `indent` is their indentation.
    fn property(self, key: &str, value: &Json, indent: Option<&str>) -> String {
        format!(
            "{}:{}{}",
            quoted(key),
            self.space,
            self.value(value, indent)
        )
    }

    pub(super) fn value(self, value: &Json, indent: Option<&str>) -> String {
        let between = format!(",{}", self.space);
        match value {
            Json::Text(text) => quoted(text),
            Json::List(items) => {
                let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
                format!("[{}]", items.join(&between))
            }
            Json::Object(properties) => {
                let deeper = indent.map(|indent| format!("{indent}{}", self.unit));
                let properties = properties
                    .iter()
                    .map(|(key, value)| self.property(key, value, deeper.as_deref()));
                match (indent, &deeper) {
                    (Some(indent), Some(deeper)) => {
                        let newline = self.newline;
                        let lines: Vec<_> = properties
                            .map(|property| format!("{newline}{deeper}{property}"))
                            .collect();
                        format!("{{{}{newline}{indent}}}", lines.join(","))
                    }
                    _ => format!("{{{}}}", properties.collect::<Vec<_>>().join(&between)),
                }
            }
        }
    }
}

/// Builds a document with one property. Keeps the content of `document`, which is empty or has only
/// comments.
pub(super) fn whole(document: &Document<'_>, key: &str, value: Json) -> String {
    let style = Style::detect(document);
    let root = style.value(&Json::Object(vec![(key.to_owned(), value)]), Some(""));
    let end = document.tokens.last().map_or(0, |last| last.range.end);
    let (comments, blank) = document.text.split_at(end);
    let before = if end == 0 { "" } else { style.newline };
    let after = if blank.contains('\n') {
        blank
    } else {
        style.newline
    };
    format!("{comments}{before}{root}{after}")
}

/// Adds a property at the end of `object`.
pub(super) fn insert(
    document: &Document<'_>,
    object: &Object<'_>,
    key: &str,
    value: &Json,
) -> Vec<Splice> {
    match object.properties.last() {
        Some(last) => append(document, last, key, value),
        None => fill(document, object, key, value),
    }
}

fn append(document: &Document<'_>, last: &ObjectProp<'_>, key: &str, value: &Json) -> Vec<Splice> {
    let style = Style::detect(document);
    let comma = document.comma_after(last.range.end);
    let after_last = comma.map_or(last.range.end, |comma| comma.end);
    let at = after_comments_on_line(document, after_last);
    let own_line = starts_its_line(document.text, last.range.start) || at != after_last;
    let indent = own_line.then(|| indentation(document.text, last.range.start));
    let lead = indent.map_or(style.space.to_owned(), |indent| {
        format!("{}{indent}", style.newline)
    });
    let property = style.property(key, value, indent);
    match comma {
        // A comma after the last property is kept as a style.
        Some(_) => vec![Splice::insert(at, format!("{lead}{property},"))],
        None if at == after_last => vec![Splice::insert(at, format!(",{lead}{property}"))],
        None => vec![
            Splice::insert(after_last, ","),
            Splice::insert(at, format!("{lead}{property}")),
        ],
    }
}

fn fill(document: &Document<'_>, object: &Object<'_>, key: &str, value: &Json) -> Vec<Splice> {
    let style = Style::detect(document);
    let close = object.range.end - 1;
    let open = object.range.start + 1;
    let at = document
        .token_before(close)
        .map_or(open, |last| last.range.end);
    let within = Range::new(open, close);
    if !has_lines(document, object) && !document.has_comment(within) {
        return vec![Splice::insert(at, style.property(key, value, None))];
    }
    let outer = indentation(document.text, object.range.start);
    let indent = format!("{outer}{}", style.unit);
    let property = style.property(key, value, Some(&indent));
    let entry = format!("{}{indent}{property}", style.newline);
    if document.text[at..close].contains('\n') {
        vec![Splice::insert(at, entry)]
    } else {
        let range = Range::new(at, close);
        vec![Splice::replace(
            range,
            format!("{entry}{}{outer}", style.newline),
        )]
    }
}

/// Returns true if new content of `object` goes on its own lines: always, except in a one-line
/// document.
fn has_lines(document: &Document<'_>, object: &Object<'_>) -> bool {
    let Some(root) = &document.root else {
        return true;
    };
    root.range == object.range || document.text[root.range.start..root.range.end].contains('\n')
}

/// Removes the property at `index`, with its comma. Keeps comments.
pub(super) fn remove(document: &Document<'_>, object: &Object<'_>, index: usize) -> Vec<Splice> {
    let this = &object.properties[index];
    let comma = document.comma_after(this.range.end);
    if let Some(next) = object.properties.get(index + 1)
        && !document.has_comment(Range::new(this.range.end, next.range.start))
    {
        // The next property takes its place, and so its leading whitespace.
        return vec![Splice::cut(this.range.start, next.range.start)];
    }
    let within = Range::new(object.range.start + 1, object.range.end - 1);
    if object.properties.len() == 1 && !document.has_comment(within) {
        return vec![Splice::replace(within, "")];
    }
    let lead = lead(document, this.range, comma);
    let mut splices = vec![Splice::cut(lead, this.range.end)];
    match comma {
        Some(comma) => splices.push(Splice::cut(comma.start, comma.end)),
        // It is the last one, so the comma before it goes too.
        None if index > 0 => {
            let previous = object.properties[index - 1].range.end;
            if let Some(comma) = document.comma_after(previous) {
                splices.insert(0, Splice::cut(comma.start, comma.end));
            }
        }
        None => {}
    }
    splices
}

/// Returns the start of the whitespace before the property `this`, which is removed with it. A line
/// comment before it keeps its newline, unless another one follows.
fn lead(document: &Document<'_>, this: Range, comma: Option<Range>) -> usize {
    let Some(before) = document.token_before(this.start) else {
        return this.start;
    };
    let follows = match comma {
        Some(comma) if !document.has_comment(Range::new(this.end, comma.start)) => comma.end,
        _ => this.end,
    };
    let rest = document.text[follows..].trim_start_matches([' ', '\t', '\r']);
    if matches!(before.token, Token::CommentLine(_)) && !rest.starts_with('\n') {
        let newline = document.text[before.range.end..this.start].find('\n');
        return newline.map_or(this.start, |newline| before.range.end + newline + 1);
    }
    before.range.end
}

/// Returns the end of the comments that follow `at` on its line.
fn after_comments_on_line(document: &Document<'_>, at: usize) -> usize {
    let mut end = at;
    for token in document.tokens_from(at) {
        let gap = &document.text[end..token.range.start];
        if !is_comment(token) || gap.contains('\n') {
            break;
        }
        end = token.range.end;
    }
    end
}

fn unit<'a>(document: &Document<'a>, first: &ObjectProp<'_>) -> Option<&'a str> {
    let root = document.root.as_ref()?;
    let outer = indentation(document.text, root.range.start);
    let start = first.range.start;
    let inner = starts_its_line(document.text, start).then(|| indentation(document.text, start))?;
    inner.strip_prefix(outer)
}

fn space(text: &str, property: &ObjectProp<'_>) -> &'static str {
    let between = &text[property.name.end()..property.value.start()];
    if between.ends_with(char::is_whitespace) {
        " "
    } else {
        ""
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn starts_its_line(text: &str, at: usize) -> bool {
    let start = line_start(text, at);
    start > 0 && text[start..at].trim_start_matches([' ', '\t']).is_empty()
}

/// Returns the indentation of the line of `at`.
fn indentation(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..at];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
