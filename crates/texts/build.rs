//! Generates the keys of the catalogue from `locales/en`: one struct per message, with one field
//! per parameter. The English files define which keys and parameters exist. Also generates a table
//! of the messages of each language, which the tests compare.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Message, Pattern, PatternElement};
use fluent_syntax::parser;

const LANGUAGES: [&str; 2] = ["en", "ja"];

fn main() -> Result<(), Box<dyn Error>> {
    let locales = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../locales");
    println!("cargo::rerun-if-changed={}", locales.display());
    let mut generated = String::new();
    let mut keys = String::new();
    for language in LANGUAGES {
        let mut sources = String::new();
        let mut rows = String::new();
        for file in fluent_files(&locales.join(language))? {
            println!("cargo::rerun-if-changed={}", file.display());
            writeln!(sources, "    include_str!({:?}),", file.canonicalize()?)?;
            let source = fs::read_to_string(&file)?;
            let resource = parser::parse(source.as_str())
                .map_err(|(_, errors)| format!("{}: {errors:?}", file.display()))?;
            for entry in &resource.body {
                if let Entry::Message(message) = entry {
                    row(&mut rows, message)?;
                    if language == LANGUAGES[0] {
                        key(&mut keys, message, &source)?;
                    }
                }
            }
        }
        let name = language.to_uppercase();
        writeln!(
            generated,
            "pub(crate) const {name}: &[&str] = &[\n{sources}];"
        )?;
        writeln!(
            generated,
            "#[cfg(test)]\npub(crate) const {name}_MESSAGES: &[Row] = &[\n{rows}];"
        )?;
    }
    writeln!(
        generated,
        "/// The keys of the catalogue.\npub mod key {{\n    use super::{{Arg, Text}};\n{keys}}}"
    )?;
    #[expect(
        clippy::disallowed_methods,
        reason = "Cargo passes the folder to build scripts in the environment"
    )]
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or("no OUT_DIR")?;
    fs::write(out.join("keys.rs"), generated)?;
    Ok(())
}

fn fluent_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ftl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes the struct of a message and its conversion into a `Text`.
fn key(out: &mut String, message: &Message<&str>, source: &str) -> Result<(), Box<dyn Error>> {
    let id = message.id.name;
    let name = camel_case(id);
    let params = params(message);
    let english = english(id, source);
    writeln!(out, "\n    /// `{english}`\n    #[derive(Clone, Debug)]")?;
    if params.is_empty() {
        writeln!(out, "    pub struct {name};")?;
    } else {
        writeln!(out, "    pub struct {name} {{")?;
        for param in &params {
            writeln!(out, "        /// `${param}`")?;
            writeln!(out, "        pub {}: Arg,", snake_case(param))?;
        }
        writeln!(out, "    }}")?;
    }
    let fields: Vec<String> = params.iter().map(|param| snake_case(param)).collect();
    let pairs: Vec<String> = params
        .iter()
        .zip(&fields)
        .map(|(param, field)| format!("({param:?}, {field})"))
        .collect();
    let taken = if params.is_empty() {
        String::new()
    } else {
        format!(
            "\n            let {name} {{ {} }} = key;",
            fields.join(", ")
        )
    };
    let argument = if params.is_empty() {
        format!("{name}: {name}")
    } else {
        format!("key: {name}")
    };
    writeln!(
        out,
        "\n    impl From<{}> for Text {{\n        fn from({argument}) -> Self {{{taken}\n            Text::from_key({id:?}, [{}])\n        }}\n    }}",
        name,
        pairs.join(", ")
    )?;
    Ok(())
}

fn row(out: &mut String, message: &Message<&str>) -> Result<(), Box<dyn Error>> {
    let attributes = message.attributes.iter();
    let attributes: BTreeSet<&str> = attributes.map(|attribute| attribute.id.name).collect();
    writeln!(
        out,
        "    Row {{ code: {:?}, attributes: &{:?}, params: &{:?} }},",
        message.id.name,
        Vec::from_iter(attributes),
        Vec::from_iter(params(message)),
    )?;
    Ok(())
}

/// Returns the first line of the message as the file has it, for the documentation.
fn english(id: &str, source: &str) -> String {
    let line = source
        .lines()
        .find_map(|line| line.strip_prefix(id)?.trim_start().strip_prefix('='));
    line.unwrap_or_default().trim().replace('`', "'")
}

/// Returns the parameters of a message and its attributes, in alphabetical order.
fn params<'a>(message: &Message<&'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let values = message.value.iter();
    for pattern in values.chain(message.attributes.iter().map(|attribute| &attribute.value)) {
        of_pattern(pattern, &mut found);
    }
    found
}

fn of_pattern<'a>(pattern: &Pattern<&'a str>, found: &mut BTreeSet<&'a str>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            of_expression(expression, found);
        }
    }
}

fn of_expression<'a>(expression: &Expression<&'a str>, found: &mut BTreeSet<&'a str>) {
    match expression {
        Expression::Inline(inline) => of_inline(inline, found),
        Expression::Select { selector, variants } => {
            of_inline(selector, found);
            for variant in variants {
                of_pattern(&variant.value, found);
            }
        }
    }
}

fn of_inline<'a>(inline: &InlineExpression<&'a str>, found: &mut BTreeSet<&'a str>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            found.insert(id.name);
        }
        InlineExpression::FunctionReference { arguments, .. } => {
            for positional in &arguments.positional {
                of_inline(positional, found);
            }
        }
        InlineExpression::Placeable { expression } => of_expression(expression, found),
        InlineExpression::StringLiteral { .. }
        | InlineExpression::NumberLiteral { .. }
        | InlineExpression::MessageReference { .. }
        | InlineExpression::TermReference { .. } => {}
    }
}

fn camel_case(id: &str) -> String {
    id.split('-').map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn snake_case(param: &str) -> String {
    param.replace('-', "_")
}
