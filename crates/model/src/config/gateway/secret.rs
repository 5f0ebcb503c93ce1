//! Secrets in `gateway.toml`: where a value comes from, and texts that name one.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[secrets.NAME]`: where a secret's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file, relative to `gateway.toml`; a line break at its end is not part of the value.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// The value itself, for files that a program generates for development.
    Value(SecretValue),
}

/// A secret that stands in the file itself. It is written back there and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// Takes the value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(***)")
    }
}

/// A text in which `{{name}}` stands for a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(String);

/// A piece of a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePart<'a> {
    /// Text that stands for itself.
    Literal(&'a str),
    /// The name of a secret.
    Secret(&'a str),
}

impl Template {
    /// Takes the text as it stands in the file.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pieces, in order. A `{{` without its `}}` is literal.
    pub fn parts(&self) -> impl Iterator<Item = TemplatePart<'_>> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let (part, after) = next_part(rest)?;
            rest = after;
            Some(part)
        })
    }

    /// The secrets it names.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            TemplatePart::Secret(name) => Some(name),
            TemplatePart::Literal(_) => None,
        })
    }
}

fn next_part(text: &str) -> Option<(TemplatePart<'_>, &str)> {
    if text.is_empty() {
        return None;
    }
    let Some((before, inside)) = text.split_once("{{") else {
        return Some((TemplatePart::Literal(text), ""));
    };
    let Some((name, after)) = inside.split_once("}}") else {
        return Some((TemplatePart::Literal(text), ""));
    };
    if before.is_empty() {
        Some((TemplatePart::Secret(name.trim()), after))
    } else {
        Some((TemplatePart::Literal(before), &text[before.len()..]))
    }
}
