//! What an edit makes of a text, to the byte.

use super::server;
use crate::hosts::document::{ContentError, ContentProblem};
use crate::hosts::edit::{Edited, Undone, add, list, undo};

/// The text with our entry `demo` added.
#[track_caller]
fn added(before: &str) -> String {
    match add(Some(before), &server("demo")) {
        Ok(Edited::Added(after)) => after,
        other => panic!("{before:?} gave {other:?}"),
    }
}

/// Checks the addition, and that undoing it gives the text back with and without a memory of it.
#[track_caller]
fn check(before: &str, after: &str) {
    assert_eq!(added(before), after);
    let remembered = undo(after, "demo", &[before.to_owned()]);
    assert_eq!(remembered, Ok(Undone::Left(before.to_owned())));
    // What is nearly the earlier text still tells whether `mcpServers` was there.
    let nearly = undo(after, "demo", &[format!("{before} ")]);
    assert_eq!(nearly, Ok(Undone::Left(before.to_owned())));
}

/// As [`check`], where the whitespace of the old text is not to be known from the new one.
#[track_caller]
fn check_remembered(before: &str, after: &str) {
    assert_eq!(added(before), after);
    let remembered = undo(after, "demo", &[before.to_owned()]);
    assert_eq!(remembered, Ok(Undone::Left(before.to_owned())));
}

#[test]
fn after_other_servers() {
    check(
        r#"{
  "globalShortcut": "",
  "mcpServers": {
    "files": {
      "command": "npx",
      "args": ["-y", "files"]
    }
  },
  "big": 12345678901234567890.10
}
"#,
        r#"{
  "globalShortcut": "",
  "mcpServers": {
    "files": {
      "command": "npx",
      "args": ["-y", "files"]
    },
    "demo": {
      "command": "/opt/postern/postern",
      "args": ["connect", "demo"]
    }
  },
  "big": 12345678901234567890.10
}
"#,
    );
}

#[test]
fn where_there_are_no_servers() {
    check(
        "{\n    \"theme\": \"dark\"\n}",
        "{\n    \"theme\": \"dark\",\n    \"mcpServers\": {\n        \"demo\": {\n            \"command\": \"/opt/postern/postern\",\n            \"args\": [\"connect\", \"demo\"]\n        }\n    }\n}",
    );
}

#[test]
fn into_empty_servers() {
    check(
        "{\n\t\"mcpServers\": {}\n}\n",
        "{\n\t\"mcpServers\": {\n\t\t\"demo\": {\n\t\t\t\"command\": \"/opt/postern/postern\",\n\t\t\t\"args\": [\"connect\", \"demo\"]\n\t\t}\n\t}\n}\n",
    );
    check_remembered(
        "{\n  \"mcpServers\": {\n  }\n}\n",
        "{\n  \"mcpServers\": {\n    \"demo\": {\n      \"command\": \"/opt/postern/postern\",\n      \"args\": [\"connect\", \"demo\"]\n    }\n  }\n}\n",
    );
}

const ALONE: &str = "{\n  \"mcpServers\": {\n    \"demo\": {\n      \"command\": \"/opt/postern/postern\",\n      \"args\": [\"connect\", \"demo\"]\n    }\n  }\n}";

#[test]
fn into_nothing() {
    assert_eq!(
        add(None, &server("demo")),
        Ok(Edited::Added(format!("{ALONE}\n")))
    );
    assert_eq!(
        undo(&format!("{ALONE}\n"), "demo", &[]),
        Ok(Undone::NothingLeft)
    );
    check_remembered("", &format!("{ALONE}\n"));
    check_remembered("\n\n", &format!("{ALONE}\n\n"));
    check_remembered("{ }", ALONE);
    check("{}", ALONE);
    check(
        "{}\r\n",
        &format!("{ALONE}\r\n")
            .replace("\r\n", "\n")
            .replace('\n', "\r\n"),
    );
}

#[test]
fn on_one_line() {
    check(
        r#"{"a":1,"mcpServers":{"x":{"command":"y"}}}"#,
        r#"{"a":1,"mcpServers":{"x":{"command":"y"},"demo":{"command":"/opt/postern/postern","args":["connect","demo"]}}}"#,
    );
    check(
        r#"{"mcpServers": {}, "a": [1, 2]}"#,
        r#"{"mcpServers": {"demo": {"command": "/opt/postern/postern", "args": ["connect", "demo"]}}, "a": [1, 2]}"#,
    );
    check(
        r#"{"a":1}"#,
        r#"{"a":1,"mcpServers":{"demo":{"command":"/opt/postern/postern","args":["connect","demo"]}}}"#,
    );
}

#[test]
fn with_the_files_own_newlines_and_mark() {
    check(
        "\u{feff}{\r\n  \"mcpServers\": {\r\n    \"x\": {}\r\n  }\r\n}",
        "\u{feff}{\r\n  \"mcpServers\": {\r\n    \"x\": {},\r\n    \"demo\": {\r\n      \"command\": \"/opt/postern/postern\",\r\n      \"args\": [\"connect\", \"demo\"]\r\n    }\r\n  }\r\n}",
    );
}

#[test]
fn beside_comments_and_trailing_commas() {
    check(
        "// mine\n{\n  \"mcpServers\": {\n    // files\n    \"x\": {}, // all of them\n  },\n}\n",
        "// mine\n{\n  \"mcpServers\": {\n    // files\n    \"x\": {}, // all of them\n    \"demo\": {\n      \"command\": \"/opt/postern/postern\",\n      \"args\": [\"connect\", \"demo\"]\n    },\n  },\n}\n",
    );
    check(
        "{\n  \"mcpServers\": {\n    \"x\": {} // all of them\n  }\n}\n",
        "{\n  \"mcpServers\": {\n    \"x\": {}, // all of them\n    \"demo\": {\n      \"command\": \"/opt/postern/postern\",\n      \"args\": [\"connect\", \"demo\"]\n    }\n  }\n}\n",
    );
    check(
        "{\n  \"mcpServers\": {\n    // none yet \u{a0}\n  }\n}\n",
        "{\n  \"mcpServers\": {\n    // none yet \u{a0}\n    \"demo\": {\n      \"command\": \"/opt/postern/postern\",\n      \"args\": [\"connect\", \"demo\"]\n    }\n  }\n}\n",
    );
}

#[test]
fn names_and_paths_are_quoted() {
    let mut server = server("a \"b\"\\");
    server.command = r"C:\Program Files\Postern\postern.exe".to_owned();
    let Ok(Edited::Added(after)) = add(Some("{}"), &server) else {
        panic!("not added")
    };
    assert!(after.contains(r#""a \"b\"\\": {"#), "{after}");
    assert!(
        after.contains(r#""C:\\Program Files\\Postern\\postern.exe""#),
        "{after}"
    );
    let listed = list(&after).unwrap();
    assert_eq!(
        (listed[0].name.as_str(), listed[0].ours),
        (server.name.as_str(), true)
    );
    assert_eq!(
        undo(&after, &server.name, &["{}".into()]),
        Ok(Undone::Left("{}".into()))
    );
}

#[test]
fn adding_again_changes_nothing() {
    assert_eq!(add(Some(ALONE), &server("demo")), Ok(Edited::Unchanged));
}

#[test]
fn an_update_keeps_what_else_stands_in_the_entry() {
    let before = r#"{"mcpServers": {"demo": {"env": {"A": "b"}, "args": ["connect", "old"], "command": "/old/postern"}}}"#;
    let after = r#"{"mcpServers": {"demo": {"env": {"A": "b"}, "args": ["connect", "demo"], "command": "/opt/postern/postern"}}}"#;
    assert_eq!(
        add(Some(before), &server("demo")),
        Ok(Edited::Updated(after.to_owned()))
    );
}

#[test]
fn an_update_replaces_arguments_that_are_no_text() {
    let before = r#"{"mcpServers": {"demo": {"command": "/opt/postern/postern", "args": ["connect", "demo", 1]}}}"#;
    let after = before.replace(", 1]", "]");
    assert_eq!(
        add(Some(before), &server("demo")),
        Ok(Edited::Updated(after))
    );
}

#[test]
fn undoing_an_update_removes_the_entry() {
    let first = added("{}");
    let mut other = server("demo");
    other.args.push("--home=/x".to_owned());
    let Ok(Edited::Updated(second)) = add(Some(&first), &other) else {
        panic!("not updated")
    };
    let earlier = [first, "{}".to_owned()];
    assert_eq!(
        undo(&second, "demo", &earlier),
        Ok(Undone::Left("{}".into()))
    );
}

#[test]
fn undoing_keeps_what_was_changed_since() {
    let before = "{\n  \"theme\": \"dark\"\n}\n";
    let after = added(before).replace("dark", "light");
    let earlier = [before.to_owned()];
    let left = Ok(Undone::Left("{\n  \"theme\": \"light\"\n}\n".to_owned()));
    assert_eq!(undo(&after, "demo", &earlier), left);
    assert_eq!(undo(&after, "demo", &[]), left);
}

#[test]
fn two_entries_can_go_in_either_order() {
    for before in ["{}", "{\n\t\"a\": 1\n}\n", r#"{"mcpServers":{}}"#] {
        let one = added(before);
        let Ok(Edited::Added(two)) = add(Some(&one), &server("more")) else {
            panic!("not added")
        };
        let earlier = [one, before.to_owned()];
        for (first, second) in [("demo", "more"), ("more", "demo")] {
            let Ok(Undone::Left(left)) = undo(&two, first, &earlier) else {
                panic!("not left")
            };
            let gone = undo(&left, second, &earlier);
            assert_eq!(
                gone,
                Ok(Undone::Left(before.to_owned())),
                "{first} first, from {before}"
            );
        }
    }
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    assert_eq!(undo("{}", "demo", &[]), Ok(Undone::NotThere));
    assert_eq!(undo("", "demo", &[]), Ok(Undone::NotThere));
    assert_eq!(undo(ALONE, "other", &[]), Ok(Undone::NotThere));
}

#[track_caller]
fn refused(text: &str, line: usize, column: usize, problem: &ContentProblem) {
    let content_error = ContentError {
        line,
        column,
        problem: problem.clone(),
    };
    assert_eq!(
        add(Some(text), &server("demo")),
        Err(content_error),
        "adding"
    );
    let content_error = ContentError {
        line,
        column,
        problem: problem.clone(),
    };
    assert_eq!(undo(text, "demo", &[]), Err(content_error), "removing");
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let syntax = |message: &str| ContentProblem::Syntax(message.to_owned());
    refused(
        "{\n  \"a\": 1\n  \"b\": 2\n}",
        2,
        9,
        &syntax("Expected comma"),
    );
    refused(
        "{\n  \"a\": ",
        2,
        8,
        &syntax("Expected value after colon in object property"),
    );
    refused(
        "{\"a\": 'x'}",
        1,
        7,
        &syntax("Single-quoted strings are not allowed"),
    );
    refused(
        "{} {}",
        1,
        4,
        &syntax("Text cannot contain more than one JSON value"),
    );
    refused("[1]", 1, 1, &ContentProblem::NotAnObject);
    refused("\n  null", 2, 3, &ContentProblem::NotAnObject);
    refused(
        "{\"ä\": 1,\n \"mcpServers\": []}",
        2,
        16,
        &ContentProblem::ServersNotAnObject,
    );
}

#[test]
fn what_is_ambiguous_is_refused() {
    let twice = |name: &str| ContentProblem::Twice(name.to_owned());
    refused(
        "{\"mcpServers\": {},\n\"mcpServers\": {}}",
        2,
        1,
        &twice("mcpServers"),
    );
    let entries = "{\"mcpServers\": {\"demo\": 1,\n \"\\u0064emo\": 2}}";
    refused(entries, 2, 2, &twice("demo"));
    let args =
        r#"{"mcpServers": {"demo": {"command": "postern", "args": ["connect"], "args": []}}}"#;
    refused(args, 1, 69, &twice("args"));
}

#[test]
fn entries_of_others_are_refused() {
    for entry in [
        r#"{"command": "npx", "args": ["connect"]}"#,
        r#"{"command": "/opt/postern/postern", "args": ["bridge"]}"#,
        r#"{"command": "/opt/postern/postern"}"#,
        r#"{"command": "/opt/postern/other", "args": ["connect", "x"]}"#,
        r#"{"command": ["postern", "connect"]}"#,
        "null",
    ] {
        let text = format!("{{\"mcpServers\": {{\"demo\": {entry}}}}}");
        refused(&text, 1, 17, &ContentProblem::NotOurs("demo".to_owned()));
    }
}

#[test]
fn listing_tells_ours_from_others() {
    let text = r#"{"mcpServers": {
        "files": {"command": "npx", "args": ["-y", 1, "files"]},
        "mine": {"command": "C:\\Postern\\Postern.EXE", "args": ["connect", "mine"]},
        "odd": 7
    }}"#;
    let listed = list(text).unwrap();
    let short: Vec<_> = listed
        .iter()
        .map(|entry| (entry.name.as_str(), entry.args.len(), entry.ours))
        .collect();
    assert_eq!(
        short,
        [("files", 2, false), ("mine", 2, true), ("odd", 0, false)]
    );
}
