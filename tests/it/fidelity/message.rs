//! What one round of a conversation consists of, and any such round.
//!
//! Owns: messages as text, in any order and spelling. Does not own: who says them ([`super::pair`]).

use std::fmt;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::json;

/// What a modern request has to say of itself.
const META: &str = r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol\/protocolVersion":"2026-07-28","progressToken":1.0}"#;

/// JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;

/// No UTF-8: Latin-1, cut off, too long for what it says, half a pair, beyond the last character.
const NOT_TEXT: &[&[u8]] = &[
    b"\xe9",
    b"\xf0\x9f\x98",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
];

/// Of which era all messages of a case are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    Legacy,
    Modern,
}

/// A message of a host.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) text: String,
    /// What modern clients repeat in headers: the method, and the name that the method has.
    pub(super) method: String,
    pub(super) name: Option<String>,
}

/// Something the server says of its own.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Remark(String),
    Question { text: String, reply: String },
}

/// How the server sends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// As events, or as a body of JSON.
    pub(super) events: bool,
    /// Line ends within a stream.
    pub(super) line_end: &'static str,
    /// In pieces of so many bytes.
    pub(super) pieces: Option<usize>,
}

/// One round.
#[derive(Clone)]
pub(super) struct Round {
    /// What the host tells first.
    pub(super) told: Option<String>,
    /// What the server says before it is asked anything.
    pub(super) aside: Vec<Word>,
    pub(super) request: Said,
    pub(super) framing: Framing,
    /// What the server says before it answers.
    pub(super) before: Vec<Word>,
    pub(super) answer: String,
}

/// Shows the messages as they are.
impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.framing)?;
        let words = |f: &mut fmt::Formatter<'_>, words: &[Word]| {
            words.iter().try_for_each(|word| match word {
                Word::Remark(text) => writeln!(f, "  server: {text}"),
                Word::Question { text, reply } => {
                    writeln!(f, "  server: {text}\n  host:   {reply}")
                }
            })
        };
        if let Some(told) = &self.told {
            writeln!(f, "  host:   {told}")?;
        }
        words(f, &self.aside)?;
        writeln!(f, "  host:   {}", self.request.text)?;
        words(f, &self.before)?;
        write!(f, "  server: {}", self.answer)
    }
}

impl Framing {
    pub(super) const JSON: Self = Self {
        events: false,
        line_end: "\n",
        pieces: None,
    };
    pub(super) const EVENTS: Self = Self {
        events: true,
        ..Self::JSON
    };
}

/// Any round of this era.
pub(super) fn round(era: Era) -> impl Strategy<Value = Round> {
    let words = match era {
        Era::Legacy => vec(word(), 0..3).boxed(),
        Era::Modern => vec(remark().prop_map(Word::Remark), 0..3).boxed(),
    };
    let (told, aside) = match era {
        Era::Legacy => (
            option::weighted(0.3, remark()).boxed(),
            vec(word(), 0..2).boxed(),
        ),
        // Its hosts tell nothing, and hear nothing that they did not ask for.
        Era::Modern => (Just(None).boxed(), Just(Vec::new()).boxed()),
    };
    let asking = (request(era), framing(), words, json::object());
    (told, aside, asking, breaks()).prop_flat_map(move |(told, aside, asking, gap)| {
        let ((id, request), framing, before, _) = asking;
        let framing = Framing {
            events: framing.events || !before.is_empty(),
            ..framing
        };
        answer(era, respelled(&id), gap).prop_map(move |answer| Round {
            told: told.clone(),
            aside: aside.clone(),
            request: request.clone(),
            framing,
            before: before.clone(),
            answer,
        })
    })
}

/// A whole message of these members.
pub(super) fn assemble(members: &[(&str, &str)], gap: &str) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{gap}{name}{gap}:{value}"))
        .collect();
    format!("{{{}{gap}}}", members.join(","))
}

/// The parameters of a modern request that has these. What it has to say comes last: of several
/// members with one name that is the one that counts.
pub(super) fn modern(params: &str) -> String {
    let members = params.trim().strip_prefix('{');
    match members.and_then(|rest| rest.strip_suffix('}')) {
        Some(members) if members.trim().is_empty() => format!("{{{META}}}"),
        Some(members) => format!("{{{members},{META}}}"),
        None => format!("{{\"params\":{params},{META}}}"),
    }
}

/// Bytes that are no message, and the code of the error that they get.
pub(super) fn no_message() -> impl Strategy<Value = (i64, Vec<u8>)> {
    let broken =
        (request(Era::Legacy), any::<prop::sample::Index>()).prop_map(|((_, said), at)| {
            let mut bytes = said.text.into_bytes();
            // Not an empty one: a blank line is nothing at all.
            bytes.truncate(1 + at.index(bytes.len() - 1));
            (PARSE_ERROR, bytes)
        });
    let not_text = (request(Era::Legacy), select(NOT_TEXT)).prop_map(|((_, said), bytes)| {
        let whole = said.text.into_bytes();
        let (start, end) = whole.split_at(whole.len() - 1);
        let odd = [start, b",\"odd\":\"", bytes, b"\"", end].concat();
        (PARSE_ERROR, odd)
    });
    // An array of messages is taken apart, but not one in an array.
    let nested = vec(request(Era::Legacy), 0..3).prop_map(|requests| {
        let texts: Vec<_> = requests.into_iter().map(|(_, said)| said.text).collect();
        (
            INVALID_REQUEST,
            format!("[[{}]]", texts.join(",")).into_bytes(),
        )
    });
    let no_object = prop_oneof![json::id(), json::id().prop_map(|id| format!("[{id}]"))];
    let no_object = no_object.prop_map(|text| (INVALID_REQUEST, text.into_bytes()));
    prop_oneof![broken, not_text, nested, no_object, no_request()]
}

/// Objects that lack what makes a request, or have something else there.
fn no_request() -> impl Strategy<Value = (i64, Vec<u8>)> {
    let version = prop_oneof![
        Just(None),
        json::value().prop_map(Some),
        Just(Some(r#""1.0""#.to_owned()))
    ];
    let wrong = (json::id(), version, unknown()).prop_map(|(id, version, unknown)| {
        let mut members = vec_of(&[("id", &id), ("method", r#""a""#)], unknown);
        members.extend(version.map(|version| (name("jsonrpc"), version)));
        members
    });
    let nothing_asked = (json::id(), params(), unknown()).prop_map(|(id, params, unknown)| {
        let mut members = vec_of(&[("id", &id), ("jsonrpc", r#""2.0""#)], unknown);
        members.extend(params.map(|params| (name("params"), params)));
        members
    });
    prop_oneof![wrong, nothing_asked].prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        (INVALID_REQUEST, assemble(&members, " ").into_bytes())
    })
}

fn framing() -> impl Strategy<Value = Framing> {
    let ends = select(&["\n", "\r\n", "\r"][..]);
    let pieces = option::weighted(0.3, 1usize..40);
    (any::<bool>(), ends, pieces).prop_map(|(events, line_end, pieces)| Framing {
        events,
        line_end,
        pieces,
    })
}

fn word() -> impl Strategy<Value = Word> {
    let question = (json::id(), method(), params(), unknown(), breaks()).prop_flat_map(
        |(id, method, params, unknown, gap)| {
            let mut members = vec_of(&[("id", &id), ("method", &method)], unknown);
            members.extend(params.map(|params| (name("params"), params)));
            let text = message(members, gap);
            let reply = answer(Era::Legacy, respelled(&id), "");
            (text, reply).prop_map(|(text, reply)| Word::Question { text, reply })
        },
    );
    prop_oneof![remark().prop_map(Word::Remark), question]
}

/// A notification that means nothing to anybody between.
fn remark() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        r#""notifications/progress""#,
        r#""notifications/message""#,
        r#""notifications/resources\/updated""#,
        r#""notifications/\u0072oots/list_changed""#,
    ];
    let method = prop_oneof![select(KNOWN).prop_map(str::to_owned), method()];
    (method, params(), unknown()).prop_flat_map(|(method, params, unknown)| {
        let mut members = vec_of(&[("method", &method)], unknown);
        members.extend(params.map(|params| (name("params"), params)));
        message(members, "")
    })
}

/// A request, with its id.
fn request(era: Era) -> impl Strategy<Value = (String, Said)> {
    let call = (known(), json::text(), json::value(), json::object());
    let known = call.prop_map(move |((method, field), name, value, params)| {
        let rest = params.trim_start().trim_start_matches('{').to_owned();
        let comma = if rest.trim_start() == "}" { "" } else { "," };
        let params = format!(r#"{{"arguments":{value},"{field}":{name}{comma}{rest}"#);
        (format!("\"{method}\""), Some(params), Some(name))
    });
    let unknown_one = (method(), params()).prop_map(|(method, params)| (method, params, None));
    let what = prop_oneof![known, unknown_one];
    (json::id(), what, unknown()).prop_flat_map(move |(id, (method, params, named), unknown)| {
        let params = match era {
            Era::Legacy => params,
            Era::Modern => Some(modern(&params.unwrap_or("{}".to_owned()))),
        };
        let mut members = vec_of(&[("id", &id), ("method", &method)], unknown);
        members.extend(params.map(|params| (name("params"), params)));
        let decoded = |text: &String| serde_json::from_str::<String>(text).expect("text");
        let (method, named) = (decoded(&method), named.as_ref().map(decoded));
        message(members, "").prop_map(move |text| {
            let said = Said {
                text,
                method: method.clone(),
                name: named.clone(),
            };
            (id.clone(), said)
        })
    })
}

/// Methods that name something, and where.
fn known() -> impl Strategy<Value = (&'static str, &'static str)> {
    select(
        &[
            ("tools/call", "name"),
            ("prompts/get", "name"),
            ("resources/read", "uri"),
        ][..],
    )
}

/// A method that nobody knows, or that needs nothing.
fn method() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        r#""tools/list""#,
        r#""resources/list""#,
        r#""completion\/complete""#,
        r#""p\u0069ng""#,
        r#""sampling/createMessage""#,
        r#""elicitation/create""#,
        r#""roots/list""#,
        r#""x/unknown""#,
    ];
    prop_oneof![select(KNOWN).prop_map(str::to_owned), json::text()]
}

fn params() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        4 => json::object().prop_map(Some),
        1 => json::list().prop_map(Some),
        1 => Just(None),
    ]
}

fn answer(era: Era, id: String, gap: &'static str) -> BoxedStrategy<String> {
    let result = match era {
        Era::Legacy => json::value(),
        Era::Modern => json::object(),
    };
    let code = prop_oneof![
        select(&[-32601_i64, -32602, -32603, -32000, 0, 1, 7][..]),
        2000_i64..
    ];
    let error =
        (code, json::string(), option::of(json::value())).prop_map(|(code, message, data)| {
            let data = data
                .map(|data| format!(r#""data":{data},"#))
                .unwrap_or_default();
            format!(r#"{{{data}"message":{message}, "code":{code}}}"#)
        });
    let body = prop_oneof![
        3 => result.prop_map(|result| ("result", result)),
        1 => error.prop_map(|error| ("error", error)),
    ];
    (body, unknown())
        .prop_flat_map(move |((kind, body), unknown)| {
            let mut members = vec_of(&[("id", &id)], unknown);
            members.push((name(kind), body));
            message(members, gap)
        })
        .boxed()
}

/// Members of the envelope that this revision does not know.
fn unknown() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        json::string().prop_map(|name| format!("\"x{}", &name[1..])),
        select(&[r#""Id""#, r#""""#, r#""_meta""#, r#""METHOD""#][..]).prop_map(str::to_owned),
    ];
    vec((name, json::value()), 0..2)
}

/// A message of these members, in any order.
fn message(
    members: Vec<(String, String)>,
    gap: &'static str,
) -> impl Strategy<Value = String> + use<> {
    let version = select(&[r#""2.0""#, r#""2\u002e0""#][..]);
    version.prop_flat_map(move |version| {
        let mut members = members.clone();
        members.push((name("jsonrpc"), version.to_owned()));
        (Just(members).prop_shuffle(), json::blank()).prop_map(move |(members, blank)| {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            assemble(&members, &format!("{gap}{blank}"))
        })
    })
}

fn name(name: &str) -> String {
    format!("\"{name}\"")
}

fn vec_of(known: &[(&str, &str)], unknown: Vec<(String, String)>) -> Vec<(String, String)> {
    let known = known
        .iter()
        .map(|(key, value)| (name(key), (*value).to_owned()));
    known.chain(unknown).collect()
}

/// Line breaks that mean nothing, as a server may have them.
fn breaks() -> impl Strategy<Value = &'static str> {
    select(&["", "", "\n", "\r\n", "\n  ", "\r"][..])
}

/// The same id as another program would write it.
fn respelled(id: &str) -> String {
    match id.strip_prefix('"').and_then(|rest| rest.chars().next()) {
        Some(first) if first.is_ascii_alphanumeric() => {
            format!("\"\\u{:04x}{}", u32::from(first), &id[2..])
        }
        None if id.len() < 10 && id.bytes().all(|byte| byte.is_ascii_digit()) => format!("{id}.0"),
        Some(_) | None => id.to_owned(),
    }
}
