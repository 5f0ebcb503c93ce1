//! Edits of texts, byte for byte.

use super::server;
use crate::hosts::document::{ContentError, ContentProblem};
use crate::hosts::edit::{Edited, Undone, add, list, undo};

/// Returns the text with our entry `demo` added.
#[track_caller]
fn added(before: &str) -> String {
    match add(Some(before), &server("demo")) {
        Ok(Edited::Added(after)) => after,
        other => panic!("{before:?} gave {other:?}"),
    }
}

/// Checks the addition, and that removing it restores the text with and without the earlier text.
#[track_caller]
fn check(before: &str, after: &str) {
    assert_eq!(added(before), after);
    let remembered = undo(after, "demo", &[before.to_owned()]);
    assert_eq!(remembered, Ok(Undone::Left(before.to_owned())));
    // A similar earlier text still shows whether `mcpServers` was there.
    let nearly = undo(after, "demo", &[format!("{before} ")]);
    assert_eq!(nearly, Ok(Undone::Left(before.to_owned())));
}

/// Like [`check`], but the old whitespace cannot be restored without the earlier text.
#[track_caller]
fn check_remembered(before: &str, after: &str) {
    assert_eq!(added(before), after);
    let remembered = undo(after, "demo", &[before.to_owned()]);
    assert_eq!(remembered, Ok(Undone::Left(before.to_owned())));
}

#[test]
fn entry_is_added_after_other_servers() {
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
fn missing_servers_object_is_created() {
    check(
        "{\n    \"theme\": \"dark\"\n}",
        "{\n    \"theme\": \"dark\",\n    \"mcpServers\": {\n        \"demo\": {\n            \"command\": \"/opt/postern/postern\",\n            \"args\": [\"connect\", \"demo\"]\n        }\n    }\n}",
    );
}

#[test]
fn entry_is_added_to_empty_servers() {
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
fn entry_is_added_to_empty_file() {
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
fn one_line_document_stays_on_one_line() {
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
fn newlines_and_byte_order_mark_are_kept() {
    check(
        "\u{feff}{\r\n  \"mcpServers\": {\r\n    \"x\": {}\r\n  }\r\n}",
        "\u{feff}{\r\n  \"mcpServers\": {\r\n    \"x\": {},\r\n    \"demo\": {\r\n      \"command\": \"/opt/postern/postern\",\r\n      \"args\": [\"connect\", \"demo\"]\r\n    }\r\n  }\r\n}",
    );
}

#[test]
fn comments_and_trailing_commas_are_kept() {
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
fn names_and_paths_are_escaped() {
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
fn adding_existing_entry_leaves_file_unchanged() {
    assert_eq!(add(Some(ALONE), &server("demo")), Ok(Edited::Unchanged));
}

#[test]
fn update_keeps_other_properties() {
    let before = r#"{"mcpServers": {"demo": {"env": {"A": "b"}, "args": ["connect", "old"], "command": "/old/postern"}}}"#;
    let after = r#"{"mcpServers": {"demo": {"env": {"A": "b"}, "args": ["connect", "demo"], "command": "/opt/postern/postern"}}}"#;
    assert_eq!(
        add(Some(before), &server("demo")),
        Ok(Edited::Updated(after.to_owned()))
    );
}

#[test]
fn update_replaces_non_string_arguments() {
    let before = r#"{"mcpServers": {"demo": {"command": "/opt/postern/postern", "args": ["connect", "demo", 1]}}}"#;
    let after = before.replace(", 1]", "]");
    assert_eq!(
        add(Some(before), &server("demo")),
        Ok(Edited::Updated(after))
    );
}

#[test]
fn undo_after_update_removes_entry() {
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
fn undo_keeps_later_changes() {
    let before = "{\n  \"theme\": \"dark\"\n}\n";
    let after = added(before).replace("dark", "light");
    let earlier = [before.to_owned()];
    let left = Ok(Undone::Left("{\n  \"theme\": \"light\"\n}\n".to_owned()));
    assert_eq!(undo(&after, "demo", &earlier), left);
    assert_eq!(undo(&after, "demo", &[]), left);
}

#[test]
fn two_entries_are_undone_in_either_order() {
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
fn undo_of_missing_entry_changes_nothing() {
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
fn invalid_json_is_rejected_with_position() {
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
fn duplicate_key_is_rejected() {
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
fn foreign_entry_is_rejected() {
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
fn list_marks_own_entries() {
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
