//! Secrets in `gateway.toml`: the sources of their values, and texts that refer to them.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[secrets.NAME]`: the source of a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file, relative to `gateway.toml`. A line break at its end is not part of the value.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The value itself, for generated development configurations.
    Value(SecretValue),
}

/// A secret in the file itself. It is only serialised to that file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// Creates a secret with this value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the value.
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

/// A text in which `{{name}}` is replaced by a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(String);

/// A piece of a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePart<'a> {
    /// Literal text.
    Literal(&'a str),
    /// The name of a secret.
    Secret(&'a str),
}

impl Template {
    /// Creates a template from the text in the file.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Iterates over the pieces, in order. A `{{` without its `}}` is literal.
    pub fn parts(&self) -> impl Iterator<Item = TemplatePart<'_>> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let (part, after) = next_part(rest)?;
            rest = after;
            Some(part)
        })
    }

    /// Iterates over the names of the secrets that it refers to.
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
