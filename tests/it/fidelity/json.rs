//! JSON texts that no serializer writes.

use proptest::{prelude::*, sample::select};

/// Returns any value as text.
pub(super) fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        number(),
        string(),
        select(&["true", "false", "null"][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 32, 5, |inner| {
        prop_oneof![array(inner.clone()), members(inner)]
    })
    .boxed()
}

/// Returns an object of any values. Names may be repeated.
pub(super) fn object() -> BoxedStrategy<String> {
    members(value()).boxed()
}

/// Returns an array of any values.
pub(super) fn list() -> BoxedStrategy<String> {
    array(value()).boxed()
}

/// Returns a possible id.
pub(super) fn id() -> BoxedStrategy<String> {
    prop_oneof![number(), string()].boxed()
}

/// Returns a number in any notation.
fn number() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "0",
        "-0",
        "1.0",
        "1e400",
        "-1E+400",
        "0.1e-999",
        "9007199254740993",
        "-9223372036854775809",
        "18446744073709551616",
        "123456789012345678901234567890",
        "1.10000000000000000000000000001",
    ];
    prop_oneof![
        select(ODD).prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,4})?",
    ]
}

/// Returns a string in any notation, including lone surrogates.
pub(super) fn string() -> BoxedStrategy<String> {
    const HALVES: &[&str] = &[r"\ud800", r"\uDC00\ud83d", r"\uDFFF"];
    let part = prop_oneof![4 => part(), 1 => select(HALVES).prop_map(str::to_owned)];
    quoted(part)
}

/// Returns a string of valid Unicode in any notation.
pub(super) fn text() -> BoxedStrategy<String> {
    quoted(part())
}

fn quoted(part: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    let parts = proptest::collection::vec(part, 0..5);
    parts
        .prop_map(|parts| format!("\"{}\"", parts.concat()))
        .boxed()
}

/// Returns a part of a string: characters, or escapes.
fn part() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        r"\u0000",
        r"\/",
        r"\\",
        r#"\""#,
        r"\b\f\n\r\t",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        "\u{2028}",
        "\u{85}",
        "\u{feff}",
        "\u{7f}",
        "\u{ffff}",
        "\u{10ffff}",
        "e\u{301}",
        "é",
        "😀",
        "data: ",
        "\u{202e}",
    ];
    prop_oneof![
        select(ODD).prop_map(str::to_owned),
        "[a-zA-Z0-9 _/.:{}\\[\\],-]{0,8}",
        "\\PC{0,3}".prop_map(|text| text.replace(['"', '\\'], "_")),
    ]
}

fn array(inner: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let parts = proptest::collection::vec((inner, blank()), 0..5);
    (parts, blank()).prop_map(|(parts, end)| {
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(part, blank)| blank + &part)
            .collect();
        format!("[{}{end}]", parts.join(","))
    })
}

fn members(inner: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let name = prop_oneof![
        select(&[r#""a""#, r#""""#, r#""__proto__""#][..]).prop_map(str::to_owned),
        string()
    ];
    let parts = proptest::collection::vec((blank(), name, blank(), inner, blank()), 0..5);
    parts.prop_map(|parts| {
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(before, name, between, value, after)| {
                format!("{before}{name}{between}:{value}{after}")
            })
            .collect();
        format!("{{{}}}", parts.join(","))
    })
}

/// Returns insignificant blanks.
pub(super) fn blank() -> impl Strategy<Value = String> {
    select(&["", "", "", " ", "\t", "  "][..]).prop_map(str::to_owned)
}
