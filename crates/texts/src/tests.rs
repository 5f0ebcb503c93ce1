//! The catalogue is complete and renders, in each language.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fluent_bundle::FluentResource;

use crate::keys::{EN, EN_MESSAGES, JA, JA_MESSAGES, Row};
use crate::{Arg, Language, Text};

fn by_code(rows: &[Row]) -> BTreeMap<&str, Row> {
    let map: BTreeMap<_, _> = rows.iter().map(|row| (row.code, *row)).collect();
    assert_eq!(map.len(), rows.len(), "a message is in two places");
    map
}

#[test]
fn languages_have_same_messages_and_parameters() {
    let (english, japanese) = (by_code(EN_MESSAGES), by_code(JA_MESSAGES));
    let differing: Vec<_> = english
        .keys()
        .chain(japanese.keys())
        .filter(|code| english.get(*code) != japanese.get(*code))
        .map(|code| (english.get(code), japanese.get(code)))
        .collect();
    assert_eq!(differing, []);
}

#[test]
fn files_have_no_errors() {
    for file in EN.iter().chain(JA) {
        let parsed = FluentResource::try_new((*file).to_owned());
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}

#[test]
fn messages_render_in_every_language() {
    for row in EN_MESSAGES {
        let params = row.params.iter().map(|name| {
            let value = format!("<{name}>");
            (Cow::Borrowed(*name), Arg::Verbatim(value))
        });
        let text = Text {
            code: Cow::Borrowed(row.code),
            params: params.collect(),
        };
        for language in Language::ALL {
            let rendered = [
                &[None][..],
                &row.attributes.iter().copied().map(Some).collect::<Vec<_>>(),
            ]
            .concat()
            .into_iter()
            .map(|attribute| match attribute {
                None => text.message(language),
                Some(name) => text.attribute(name, language).expect(name),
            })
            .collect::<String>();
            for name in row.params {
                // A parameter that selects a plural form is not shown itself in every language.
                let shown = rendered.contains(&format!("<{name}>"));
                assert!(
                    shown || rendered.len() > 1,
                    "{} {name} {rendered}",
                    row.code
                );
            }
            assert!(!rendered.contains("{ $"), "{} {rendered}", row.code);
        }
    }
}

#[test]
fn hint_of_text_replaces_hints_of_causes() {
    let locked = || text!(KeychainLocked);
    let two = text!(HintsJoined {
        first: locked(),
        second: locked()
    });
    let hint = "unlock it and try again; unlock it and try again";
    assert_eq!(two.hint(Language::English).as_deref(), Some(hint));
    let own = text!(TokensNotRevoked {
        issuer: "https://issuer.example",
        reason: locked()
    });
    let hint = own.hint(Language::English).unwrap();
    assert!(hint.starts_with("wait until they expire"), "{hint}");
    let passed_on = text!(DeviceCodeSignInFailed {
        reason: locked(),
        hint: locked().into_hint()
    });
    let hint = "unlock it and try again, or sign in with a browser in place of the device code";
    assert_eq!(passed_on.hint(Language::English).as_deref(), Some(hint));
}

#[test]
fn hints_of_causes_are_joined() {
    let inner = text!(HintsJoined {
        first: "a",
        second: "b"
    });
    assert_eq!(inner.message(Language::English), "a; b");
    assert_eq!(inner.message(Language::Japanese), "a。b");
    assert_eq!(inner.hint(Language::English), None);
}

#[test]
fn pseudo_locale_changes_texts_and_no_values() {
    let text = text!(HintsJoined {
        first: "apple",
        second: "/etc"
    });
    assert_eq!(text.message(Language::Pseudo), "apple; /etc");
}

#[test]
fn text_survives_serialization() {
    let cause = text!(HintsJoined {
        first: 1,
        second: "b"
    });
    let text = text!(HintsJoined {
        first: cause,
        second: "c"
    });
    let written = serde_json::to_string(&text).unwrap();
    assert_eq!(
        written,
        r#"{"code":"hints-joined","params":{"first":{"code":"hints-joined","params":{"first":1,"second":"b"}},"second":"c"}}"#
    );
    assert_eq!(serde_json::from_str::<Text>(&written).unwrap(), text);
}

#[test]
fn locale_selects_language() {
    let cases = [
        ("ja_JP.UTF-8", Some(Language::Japanese)),
        ("ja", Some(Language::Japanese)),
        ("en-GB", Some(Language::English)),
        ("en-XA", Some(Language::Pseudo)),
        ("C.UTF-8", None),
        ("", None),
        ("de-DE", None),
    ];
    for (locale, expected) in cases {
        assert_eq!(Language::from_locale(locale), expected, "{locale}");
    }
}

#[test]
fn accept_language_selects_heaviest_range() {
    let cases = [
        ("ja,en;q=0.5", Language::Japanese),
        ("en;q=0.5, ja;q=0.8", Language::Japanese),
        ("de, ja;q=0", Language::English),
        ("ja;q=x", Language::English),
        ("*", Language::English),
    ];
    for (header, expected) in cases {
        assert_eq!(Language::from_accept_language(header), expected, "{header}");
    }
}

/// Writes the keys and parameters for the window, as `cargo test -p control` writes its types.
#[test]
fn window_types_are_written() {
    let mut types = String::from(
        "// The keys of the catalogue, and the names of their parameters.\n\nexport interface Texts {\n",
    );
    for row in EN_MESSAGES {
        let params = row.params.iter().map(|name| format!("{name:?}"));
        let params = match row.params {
            [] => "never".to_owned(),
            _ => params.collect::<Vec<_>>().join(" | "),
        };
        types += &format!("  {:?}: {params};\n", row.code);
    }
    types += "}\n";
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../ui/src/bindings/Texts.ts"
    );
    std::fs::write(path, types).unwrap();
}
