//! Parses a host's file into values with their positions, and locates errors.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::{Range, Ranged as _};
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

/// The key of the servers in hosts of the `mcpServers` family.
pub(super) const SERVERS: &str = "mcpServers";

/// JSON with comments and trailing commas, which some hosts allow and users write. Other extensions
/// are rejected.
const DIALECT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// An error and its position, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) problem: ContentProblem,
}

/// An error in the content of a host's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblem {
    /// It is not JSON.
    #[error("{0}; hint: correct the file in an editor, nothing was changed")]
    Syntax(String),
    /// The root value is not an object.
    #[error(
        "the file must hold one JSON object; hint: correct it in an editor, nothing was changed"
    )]
    NotAnObject,
    /// `mcpServers` is not an object.
    #[error("`mcpServers` must be an object; hint: correct it in an editor, nothing was changed")]
    ServersNotAnObject,
    /// A key occurs twice, and hosts differ in which one they read.
    #[error("duplicate key `{0}`; hint: delete one of the two in an editor")]
    Twice(String),
    /// The entry of that name starts another program.
    #[error(
        "the entry `{0}` was not made by Postern; hint: choose another name, or rename or remove that entry first"
    )]
    NotOurs(String),
}

/// The text, its root object, and all tokens including comments.
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// `None` if the file is empty or has only comments.
    pub(super) root: Option<Object<'a>>,
    pub(super) tokens: Vec<TokenAndRange<'a>>,
}

impl<'a> Document<'a> {
    /// `text` must not start with a byte order mark.
    pub(super) fn parse(text: &'a str) -> Result<Self, ContentError> {
        let collect = CollectOptions {
            comments: CommentCollectionStrategy::AsTokens,
            tokens: true,
        };
        let parsed = parse_to_ast(text, &collect, &DIALECT).map_err(|error| ContentError {
            line: error.line_display(),
            column: error.column_display(),
            problem: ContentProblem::Syntax(error.kind().to_string()),
        })?;
        let root = match parsed.value {
            Some(Value::Object(root)) => Some(root),
            Some(other) => {
                return Err(content_error(
                    text,
                    other.start(),
                    ContentProblem::NotAnObject,
                ));
            }
            None => None,
        };
        Ok(Self {
            text,
            root,
            tokens: parsed.tokens.unwrap_or_default(),
        })
    }

    /// Returns the object under `mcpServers`, if there is one.
    pub(super) fn servers(&self) -> Result<Option<&Object<'a>>, ContentError> {
        let Some(property) = self
            .root
            .as_ref()
            .map(|root| self.only(root, SERVERS))
            .transpose()?
        else {
            return Ok(None);
        };
        match property.map(|property| &property.value) {
            None => Ok(None),
            Some(Value::Object(servers)) => Ok(Some(servers)),
            Some(other) => {
                Err(self.content_error(other.start(), ContentProblem::ServersNotAnObject))
            }
        }
    }

    /// Returns the property of that name. Fails if it occurs twice.
    pub(super) fn only<'o>(
        &self,
        object: &'o Object<'a>,
        name: &str,
    ) -> Result<Option<&'o ObjectProp<'a>>, ContentError> {
        let mut same = object
            .properties
            .iter()
            .filter(|property| property.name.as_str() == name);
        match (same.next(), same.next()) {
            (_, Some(second)) => {
                Err(self.content_error(second.range.start, ContentProblem::Twice(name.to_owned())))
            }
            (first, None) => Ok(first),
        }
    }

    /// Returns the last token or comment that ends at or before `at`.
    pub(super) fn token_before(&self, at: usize) -> Option<&TokenAndRange<'a>> {
        let after = self.tokens.partition_point(|token| token.range.end <= at);
        self.tokens.get(after.checked_sub(1)?)
    }

    /// Returns the tokens and comments that start at or after `at`.
    pub(super) fn tokens_from(&self, at: usize) -> &[TokenAndRange<'a>] {
        let first = self.tokens.partition_point(|token| token.range.start < at);
        self.tokens.get(first..).unwrap_or_default()
    }

    /// Returns the comma after a value that ends at `at`. Skips comments.
    pub(super) fn comma_after(&self, at: usize) -> Option<Range> {
        let next = self
            .tokens_from(at)
            .iter()
            .find(|token| !is_comment(token))?;
        (next.token == Token::Comma).then_some(next.range)
    }

    /// Returns true if the range contains a comment.
    pub(super) fn has_comment(&self, range: Range) -> bool {
        let within = self.tokens_from(range.start).iter();
        within
            .take_while(|token| token.range.end <= range.end)
            .any(is_comment)
    }

    pub(super) fn content_error(&self, at: usize, problem: ContentProblem) -> ContentError {
        content_error(self.text, at, problem)
    }
}

pub(super) fn is_comment(token: &TokenAndRange<'_>) -> bool {
    matches!(token.token, Token::CommentLine(_) | Token::CommentBlock(_))
}

fn content_error(text: &str, at: usize, problem: ContentProblem) -> ContentError {
    let before = &text[..at];
    let line = before
        .rfind('\n')
        .map_or(before, |newline| &before[newline + 1..]);
    ContentError {
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        problem,
    }
}
