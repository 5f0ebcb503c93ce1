//! Recorded and difficult cases, one per line in `corpus/`.

use super::message::{Era, Framing, HostRequest, Round, ServerMessage, assemble, modern};

/// Values of any kind.
const VALUES: &str = include_str!("corpus/values.jsonl");
/// Possible ids.
const IDS: &str = include_str!("corpus/ids.jsonl");
/// Unknown members of an envelope.
const MEMBERS: &str = include_str!("corpus/members.txt");
/// Invalid lines, each after its error code.
const NOT_MESSAGES: &str = include_str!("corpus/not-messages.txt");

/// Returns rounds with every recorded value and id in every position.
pub(super) fn rounds(era: Era) -> Vec<Round> {
    let (mut ids, mut members) = (IDS.lines().cycle(), MEMBERS.lines().cycle());
    let count = IDS.lines().count().max(VALUES.lines().count());
    let values = VALUES.lines().map(str::to_owned).cycle().take(count);
    values
        .chain([deep()])
        .enumerate()
        .map(|(number, value)| {
            let mut id = || ids.next().expect("an id");
            let member = members.next().expect("a member");
            recorded(era, number, &value, member, [id(), id()])
        })
        .collect()
}

/// Returns invalid lines with their error codes.
pub(super) fn not_messages() -> impl Iterator<Item = (i64, &'static str)> {
    NOT_MESSAGES.lines().map(|line| {
        let (code, text) = line.split_once(' ').expect("a code and a line");
        (code.parse().expect("a code"), text)
    })
}

/// Returns a round with this value and member everywhere.
fn recorded(era: Era, number: usize, value: &str, member: &str, ids: [&str; 2]) -> Round {
    let (name, odd) = member.split_once('\t').expect("a name and a value");
    let gap = ["", " ", "\t", "\r\n  "][number % 4];
    let (version, unknown) = (("\"jsonrpc\"", "\"2.0\""), (name, odd));
    let (id, asked) = (("\"id\"", ids[0]), ("\"id\"", ids[1]));
    let params = ("\"params\"", value);
    let error = format!(
        r#"{{"data":{value},"code":-32603,"message":{}}}"#,
        text_of(value)
    );
    let answer = match number % 5 {
        4 => assemble(&[unknown, ("\"error\"", &error), id, version], gap),
        _ => assemble(&[("\"result\"", value), unknown, version, id], gap),
    };
    let remark = assemble(
        &[
            ("\"method\"", "\"notifications\\/odd\""),
            version,
            params,
            unknown,
        ],
        gap,
    );
    let question = ServerMessage::Request {
        text: assemble(
            &[
                params,
                asked,
                unknown,
                version,
                ("\"method\"", "\"roots/list\""),
            ],
            gap,
        ),
        reply: assemble(&[unknown, ("\"result\"", value), asked, version], ""),
    };
    let remarks = vec![ServerMessage::Notification(remark.clone())];
    let told = remark.replace(['\r', '\n'], "");
    let framing = match number % 2 {
        0 if era == Era::Modern => Framing::JSON,
        _ => Framing::EVENTS,
    };
    let (told, aside, before) = match (era, framing.events) {
        (Era::Legacy, true) => (Some(told), vec![question.clone()], vec![question]),
        (Era::Legacy, false) => (Some(told), remarks, Vec::new()),
        (Era::Modern, true) => (None, Vec::new(), remarks),
        (Era::Modern, false) => (None, Vec::new(), Vec::new()),
    };
    let value = match era {
        Era::Legacy => value.to_owned(),
        Era::Modern => modern(value),
    };
    let members = [
        unknown,
        id,
        ("\"params\"", &value),
        version,
        ("\"method\"", "\"x\\/odd\""),
    ];
    Round {
        told,
        aside,
        request: HostRequest {
            text: assemble(&members, &gap.replace(['\r', '\n'], "")),
            method: "x/odd".to_owned(),
            name: None,
        },
        framing,
        before,
        answer,
    }
}

/// Returns the value if it is a string, and another string otherwise.
fn text_of(value: &str) -> &str {
    match value.starts_with('"') {
        true => value,
        false => "\"\\u0000\"",
    }
}

/// Returns a round with a response of 10 MB.
pub(super) fn large(era: Era) -> Round {
    let mut text = String::with_capacity(11 << 20);
    while text.len() < 10 << 20 {
        let number = text.len();
        let part = format!(r#"{{"n":{number}.0,"s":"\u00e9é\ud83d\ude00","d":[1e400,-0]}},"#);
        text.push_str(&part.repeat(50));
    }
    let result = format!(r#"{{"big":[{text}null]}}"#);
    let (params, framing) = match era {
        Era::Legacy => ("{}".to_owned(), Framing::EVENTS),
        Era::Modern => (modern("{}"), Framing::JSON),
    };
    let (id, version) = (("\"id\"", "\"big\""), ("\"jsonrpc\"", "\"2.0\""));
    let asked = [
        ("\"params\"", &*params),
        id,
        version,
        ("\"method\"", "\"x/big\""),
    ];
    Round {
        told: None,
        aside: Vec::new(),
        request: HostRequest {
            text: assemble(&asked, ""),
            method: "x/big".to_owned(),
            name: None,
        },
        framing,
        before: Vec::new(),
        answer: assemble(&[("\"result\"", &*result), id, version], "\n"),
    }
}

/// Returns a value that is nested too deeply for a recursive parser.
fn deep() -> String {
    format!(
        "{{\"a\":{}1{}}}",
        "[{\"a\":".repeat(20_000),
        "}]".repeat(20_000)
    )
}
