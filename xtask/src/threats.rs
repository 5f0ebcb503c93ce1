//! `cargo xtask threats`: compares the ids in test names with the tables in `docs/threats.md`.
//!
//! Owns: which tests have ids, and the column of the tables that names them. Does not own: the meaning
//! of an id, which is written by hand.
//!
//! An id is a letter and a number at the start of a test's name, as in `t14_t15_d24_…`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{only_flag, tree};

const FILE: &str = "docs/threats.md";
/// The folders with tests.
const FOLDERS: [&str; 4] = ["crates", "src-tauri", "tests", "ui"];
/// Folders with third-party code.
const FOREIGN: [&str; 2] = ["node_modules", "target"];
/// The first letters of ids.
const LETTERS: [char; 4] = ['b', 'd', 'g', 't'];

/// The tests of each id, as `path::function`.
type Tests = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    if !only_flag(arguments, "--write")? {
        return check();
    }
    let tests = tests()?;
    let text = written(&table()?, &tests);
    fs::write(tree::root().join(FILE), &text).with_context(|| format!("cannot write {FILE}"))?;
    println!("wrote {FILE}");
    report(&problems(&text, &tests))
}

/// Compares the table with the tests.
///
/// # Errors
/// If they differ. The error lists the differences and what to do about each.
pub(crate) fn check() -> Result<()> {
    report(&problems(&table()?, &tests()?))
}

fn table() -> Result<String> {
    let text = fs::read_to_string(tree::root().join(FILE));
    let text = text.with_context(|| format!("cannot read {FILE}"))?;
    Ok(text.replace("\r\n", "\n"))
}

fn report(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{FILE} and the tests differ:\n  {}", problems.join("\n  "));
}

/// Returns one line for each difference.
fn problems(text: &str, tests: &Tests) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    for row in text.lines().filter_map(Row::parse) {
        let id = row.id;
        if !ids.insert(id) {
            problems.push(format!("{id} has two rows; hint: merge them"));
        }
        if row.meaning.is_empty() || row.source.is_empty() {
            problems.push(format!(
                "the row of {id} lacks its threat or its source; hint: write it"
            ));
        }
        let Some(expected) = tests.get(id) else {
            problems.push(format!(
                "no test has the id {id}; hint: remove its row, or write the test"
            ));
            continue;
        };
        let named: BTreeSet<String> = row.tests().map(str::to_owned).collect();
        for test in expected.difference(&named) {
            problems.push(format!(
                "the row of {id} lacks {test}; hint: run `cargo xtask threats --write`"
            ));
        }
        for test in named.difference(expected) {
            problems.push(format!(
                "the row of {id} names {test}, which is no test with this id; hint: run `cargo xtask threats --write`"
            ));
        }
    }
    for (id, tests) in tests {
        if !ids.contains(id.as_str()) {
            let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
            problems.push(format!(
                "{id} has no row, and is the id of {}; hint: add `| {id} | THREAT | SOURCE | |` to the table and run `cargo xtask threats --write`, or rename the test",
                tests.join(", ")
            ));
        }
    }
    problems
}

/// Returns the text with the column of tests generated from the tests.
fn written(text: &str, tests: &Tests) -> String {
    let lines = text.lines().map(|line| {
        let Some(row) = Row::parse(line) else {
            return line.to_owned();
        };
        let tests = tests.get(row.id).into_iter().flatten();
        let tests: Vec<String> = tests.map(|test| format!("`{test}`")).collect();
        let Row {
            id,
            meaning,
            source,
            ..
        } = row;
        format!("| {id} | {meaning} | {source} | {} |", tests.join("<br>"))
    });
    lines.map(|line| line + "\n").collect()
}

/// A row of the table.
struct Row<'a> {
    id: &'a str,
    meaning: &'a str,
    source: &'a str,
    tests: &'a str,
}

impl<'a> Row<'a> {
    /// Reads a line. Returns `None` if it is not a row that begins with an id.
    fn parse(line: &'a str) -> Option<Self> {
        let cells = line.strip_prefix('|')?.strip_suffix('|')?;
        let mut cells = cells.split('|').map(str::trim);
        let row = Self {
            id: cells.next().filter(|id| is_id(id))?,
            meaning: cells.next()?,
            source: cells.next()?,
            tests: cells.next()?,
        };
        cells.next().is_none().then_some(row)
    }

    fn tests(&self) -> impl Iterator<Item = &'a str> {
        let tests = self.tests.split("<br>").map(|test| test.trim_matches('`'));
        tests.filter(|test| !test.is_empty())
    }
}

fn tests() -> Result<Tests> {
    let mut tests = Tests::new();
    for folder in FOLDERS {
        collect(folder, &mut tests).with_context(|| format!("cannot read {folder}"))?;
    }
    Ok(tests)
}

/// Adds the tests of a folder of the tree.
fn collect(folder: &str, tests: &mut Tests) -> Result<()> {
    for entry in fs::read_dir(tree::root().join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            if !FOREIGN.contains(&&*name) {
                collect(&path, tests)?;
            }
        } else if Path::new(&path).extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(entry.path())?;
            for function in functions(&text) {
                for id in ids(function) {
                    let test = format!("{path}::{function}");
                    tests.entry(id.to_owned()).or_default().insert(test);
                }
            }
        }
    }
    Ok(())
}

/// Returns the names of the tests in a Rust source text.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if is_test_attribute(line) {
            is_test = true;
            return None;
        }
        let function = function(line)?;
        std::mem::take(&mut is_test).then_some(function)
    })
}

/// Returns true if a line is `#[test]`, `#[tokio::test(…)]` or similar.
fn is_test_attribute(line: &str) -> bool {
    let path = line.strip_prefix("#[");
    let path = path.and_then(|rest| rest.split(['(', ']']).next());
    path.is_some_and(|path| path == "test" || path.ends_with("::test"))
}

/// Returns the name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let words = line.split_once('(')?.0;
    let (before, name) = words.rsplit_once("fn ")?;
    let is_qualifier = |word| matches!(word, "pub" | "async");
    before
        .split_whitespace()
        .all(is_qualifier)
        .then(|| name.trim())
}

fn ids(function: &str) -> impl Iterator<Item = &str> {
    function.split('_').take_while(|word| is_id(word))
}

fn is_id(word: &str) -> bool {
    word.strip_prefix(LETTERS)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
        fn t1_helper() {}
        #[cfg(test)]
        mod tests {
            #[test]
            fn t1_d2_cookie_is_checked() {}
            #[tokio::test(start_paused = true)]
            #[expect(dead_code, reason = \"none\")]
            async fn t1_callback_is_checked() {}
            fn t2_helper() {}
            #[test]
            fn name_without_id_t3_is_ignored() {}
        }";

    const TABLE: &str = "\
| id | threat | source | tests |
| --- | --- | --- | --- |
| t1 | A cookie is forged. | RFC 6749 §10.12 | `a.rs::t1_callback_is_checked`<br>`a.rs::t1_d2_cookie_is_checked` |
| d2 | A cookie is not checked. | design | `a.rs::t1_d2_cookie_is_checked` |
";

    fn tests() -> Tests {
        let mut tests = Tests::new();
        for function in functions(SOURCE) {
            for id in ids(function) {
                let test = format!("a.rs::{function}");
                tests.entry(id.to_owned()).or_default().insert(test);
            }
        }
        tests
    }

    #[test]
    fn test_functions_are_found_by_attribute() {
        let found: Vec<_> = functions(SOURCE).collect();
        let expected = [
            "t1_d2_cookie_is_checked",
            "t1_callback_is_checked",
            "name_without_id_t3_is_ignored",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn table_that_names_all_tests_has_no_problems() {
        assert_eq!(problems(TABLE, &tests()), [""; 0]);
        assert_eq!(written(TABLE, &tests()), TABLE);
    }

    #[test]
    fn each_difference_is_reported() {
        let renamed = TABLE.replace("t1_callback", "t1_answer");
        let without_row: String = TABLE.split_inclusive('\n').take(3).collect();
        let without_source = TABLE.replace("RFC 6749 §10.12", "");
        let without_test = TABLE.to_owned() + "| t9 | Another. | design | |\n";
        let twice = TABLE.to_owned() + TABLE;
        for (table, expected) in [
            (
                renamed.as_str(),
                &["lacks a.rs::t1_callback", "names a.rs::t1_answer"][..],
            ),
            (&without_row, &["d2 has no row"]),
            (&without_source, &["lacks its threat or its source"]),
            (&without_test, &["no test has the id t9"]),
            (&twice, &["t1 has two rows", "d2 has two rows"]),
        ] {
            let problems = problems(table, &tests());
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.contains(expected), "{problem}");
            }
        }
    }

    #[test]
    fn write_changes_only_tests_column() {
        let renamed = TABLE.replace("t1_callback", "t1_answer");
        assert_eq!(written(&renamed, &tests()), TABLE);
    }
}
