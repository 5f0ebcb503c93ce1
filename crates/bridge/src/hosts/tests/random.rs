//! Edits of random texts: any layout, with comments and trailing commas anywhere.

use jsonc_parser::ast::Value;

use super::server;
use crate::hosts::document::{Document, is_comment};
use crate::hosts::edit::{Edited, Undone, add, undo};

/// Xorshift: every run uses the same texts.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// A key, and what writes its value.
type Property = (&'static str, fn(&mut Writer));

/// Writes a document, with something random between any two tokens.
struct Writer {
    dice: Dice,
    between: &'static [&'static str],
    trailing_commas: bool,
    out: String,
}

const LAYOUTS: &[&[&str]] = &[
    &[""],
    &["", " "],
    &["\n", "\n  ", "\n    ", " "],
    &["\r\n\t", "\r\n", " "],
    &["", " ", "\n\n", "\t", "\n   "],
    &[
        " ",
        "\n  ",
        " // \"c\" { \u{a0}\n",
        "/*\n\u{a0}, } */",
        " // d\n\t",
    ],
    &["", "\r\n ", "/**/", "// {\r\n", "\r"],
];

impl Writer {
    fn token(&mut self, token: &str) {
        self.out.push_str(token);
        let trivia = self.dice.pick(self.between);
        self.out.push_str(trivia);
    }

    fn object(&mut self, properties: &[Property]) {
        self.token("{");
        for (index, (key, value)) in properties.iter().enumerate() {
            self.token(&format!("\"{key}\""));
            self.token(":");
            value(self);
            let last = index + 1 == properties.len();
            if !last || (self.trailing_commas && self.dice.roll(2) == 0) {
                self.token(",");
            }
        }
        self.token("}");
    }

    fn anything(&mut self) {
        match self.dice.roll(4) {
            0 => self.token("-12.50e+7"),
            1 => self.token("\"a \\\"\\u00e9{\\\\\""),
            2 => self.object(&[]),
            _ => {
                self.token("[");
                self.token("1.0");
                self.token(",");
                self.token("null");
                self.token("]");
            }
        }
    }

    fn servers(&mut self) {
        let all: [Property; 3] = [
            ("x", Self::anything),
            ("mcpServers", Self::anything),
            ("z", Self::anything),
        ];
        let count = self.dice.roll(4);
        self.object(&all[..count]);
    }

    fn document(&mut self) {
        let trivia = self.dice.pick(self.between);
        self.out.push_str(trivia);
        let other: Property = ("other", Self::anything);
        let servers: Property = ("mcpServers", Self::servers);
        match self.dice.roll(7) {
            0 => {}
            1 => self.object(&[]),
            2 => self.object(&[other]),
            3 => self.object(&[servers]),
            4 => self.object(&[other, servers]),
            5 => self.object(&[servers, other]),
            _ => self.object(&[("first", Self::anything), servers, other]),
        }
    }
}

fn texts() -> impl Iterator<Item = String> {
    (1..=2000).map(|seed| {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let between = LAYOUTS[dice.roll(LAYOUTS.len())];
        let trailing_commas = dice.roll(3) == 0;
        let mut writer = Writer {
            dice,
            between,
            trailing_commas,
            out: String::new(),
        };
        writer.document();
        writer.out
    })
}

/// Returns the values without positions, with raw numbers. An empty `mcpServers` equals a missing
/// one.
fn meaning(text: &str) -> String {
    let document = Document::parse(text)
        .unwrap_or_else(|content_error| panic!("{content_error:?} in {text:?}"));
    let mut out = String::new();
    for property in document.root.iter().flat_map(|root| &root.properties) {
        if property.name.as_str() != "mcpServers"
            || property
                .value
                .as_object()
                .is_none_or(|servers| !servers.properties.is_empty())
        {
            out.push_str(&format!(
                "{}={};",
                property.name.as_str(),
                plain(&property.value)
            ));
        }
    }
    out
}

fn plain(value: &Value<'_>) -> String {
    match value {
        Value::StringLit(it) => format!("{:?}", it.value),
        Value::NumberLit(it) => it.value.to_owned(),
        Value::BooleanLit(it) => it.value.to_string(),
        Value::NullKeyword(_) => "null".to_owned(),
        Value::Array(it) => format!("{:?}", it.elements.iter().map(plain).collect::<Vec<_>>()),
        Value::Object(it) => it
            .properties
            .iter()
            .map(|property| format!("{}={};", property.name.as_str(), plain(&property.value)))
            .collect(),
    }
}

fn comments(text: &str) -> Vec<&str> {
    let document = Document::parse(text).unwrap();
    let comments = document.tokens.iter().filter(|token| is_comment(token));
    comments
        .map(|token| &text[token.range.start..token.range.end])
        .collect()
}

fn plus(text: &str, name: &str) -> String {
    match add(Some(text), &server(name)) {
        Ok(Edited::Added(after)) => after,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn minus(text: &str, name: &str, earlier: &[String]) -> String {
    match undo(text, name, earlier) {
        Ok(Undone::Left(after)) => after,
        Ok(Undone::NothingLeft) => String::new(),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn random_text_is_restored_after_remove() {
    for before in texts() {
        let after = plus(&before, "demo");
        assert_eq!(comments(&after), comments(&before), "{before:?}");
        assert!(
            meaning(&after).contains("/opt/postern/postern"),
            "{after:?}"
        );
        assert_eq!(
            minus(&after, "demo", std::slice::from_ref(&before)),
            before,
            "with a memory"
        );
        let cut = minus(&after, "demo", &[]);
        assert_eq!(
            meaning(&cut),
            meaning(&before),
            "{before:?}\n{after:?}\n{cut:?}"
        );
        assert_eq!(
            comments(&cut),
            comments(&before),
            "{before:?}\n{after:?}\n{cut:?}"
        );
    }
}

#[test]
fn random_entries_are_removed_in_any_order() {
    let orders = [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["b", "a", "c"],
        ["b", "c", "a"],
        ["a", "c", "b"],
    ];
    for (index, before) in texts().enumerate() {
        let one = plus(&before, "a");
        let two = plus(&one, "b");
        let three = plus(&two, "c");
        let earlier = [two, one, before.clone()];
        let mut left = three;
        for name in orders[index % orders.len()] {
            left = minus(&left, name, &earlier);
            assert_eq!(comments(&left), comments(&before));
        }
        assert_eq!(meaning(&left), meaning(&before), "{before:?}\n{left:?}");
    }
}

/// Without comments and trailing commas, and with other servers present, removing an entry restores
/// the text even without backups.
#[test]
fn cut_is_exact_with_other_servers() {
    let mut seen = 0;
    for before in texts() {
        let document = Document::parse(&before).unwrap();
        let beside = matches!(document.servers(), Ok(Some(it)) if !it.properties.is_empty());
        if beside && comments(&before).is_empty() {
            seen += 1;
            assert_eq!(minus(&plus(&before, "demo"), "demo", &[]), before);
        }
    }
    assert!(seen > 200, "only {seen} texts were of this kind");
}
