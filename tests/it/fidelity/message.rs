//! The messages of a round, and random rounds.
//!
//! Owns: messages as text, with members in any order and notation.
//! Does not own: sending them ([`super::pair`]).

use std::fmt;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::json;

/// The `_meta` of a modern request.
const META: &str = r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol\/protocolVersion":"2026-07-28","progressToken":1.0}"#;

/// JSON-RPC 2.0 §5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;

/// Invalid UTF-8: Latin-1, truncated, overlong, a lone surrogate, beyond the last code point.
const NOT_TEXT: &[&[u8]] = &[
    b"\xe9",
    b"\xf0\x9f\x98",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
];

/// The era of all messages of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    Legacy,
    Modern,
}

/// A message of a host.
#[derive(Clone, Debug)]
pub(super) struct HostRequest {
    pub(super) text: String,
    /// What modern clients mirror in headers: the method, and the name that it has.
    pub(super) method: String,
    pub(super) name: Option<String>,
}

/// A message that the server sends on its own.
#[derive(Clone, Debug)]
pub(super) enum ServerMessage {
    Notification(String),
    Request { text: String, reply: String },
}

/// How the server sends a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// As events, or as a JSON body.
    pub(super) events: bool,
    /// The line ending within a stream.
    pub(super) line_end: &'static str,
    /// The size of the pieces, in bytes.
    pub(super) pieces: Option<usize>,
}

/// A round.
#[derive(Clone)]
pub(super) struct Round {
    /// The host's notification before the request.
    pub(super) told: Option<String>,
    /// The server's messages before the request.
    pub(super) aside: Vec<ServerMessage>,
    pub(super) request: HostRequest,
    pub(super) framing: Framing,
    /// The server's messages before the response.
    pub(super) before: Vec<ServerMessage>,
    pub(super) answer: String,
}

/// Prints the messages unchanged.
impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.framing)?;
        let words = |f: &mut fmt::Formatter<'_>, words: &[ServerMessage]| {
            words
                .iter()
                .try_for_each(|server_message| match server_message {
                    ServerMessage::Notification(text) => writeln!(f, "  server: {text}"),
                    ServerMessage::Request { text, reply } => {
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

/// Returns any round of this era.
pub(super) fn round(era: Era) -> impl Strategy<Value = Round> {
    let words = match era {
        Era::Legacy => vec(server_message(), 0..3).boxed(),
        Era::Modern => vec(notification().prop_map(ServerMessage::Notification), 0..3).boxed(),
    };
    let (told, aside) = match era {
        Era::Legacy => (
            option::weighted(0.3, notification()).boxed(),
            vec(server_message(), 0..2).boxed(),
        ),
        // Its hosts send no notifications, and receive nothing outside of requests.
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

/// Returns a message with these members.
pub(super) fn assemble(members: &[(&str, &str)], gap: &str) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{gap}{name}{gap}:{value}"))
        .collect();
    format!("{{{}{gap}}}", members.join(","))
}

/// Returns modern parameters with these members. `_meta` comes last, because the last of repeated
/// members counts.
pub(super) fn modern(params: &str) -> String {
    let members = params.trim().strip_prefix('{');
    match members.and_then(|rest| rest.strip_suffix('}')) {
        Some(members) if members.trim().is_empty() => format!("{{{META}}}"),
        Some(members) => format!("{{{members},{META}}}"),
        None => format!("{{\"params\":{params},{META}}}"),
    }
}

/// Returns bytes that are not a message, with their error code.
pub(super) fn no_message() -> impl Strategy<Value = (i64, Vec<u8>)> {
    let broken =
        (request(Era::Legacy), any::<prop::sample::Index>()).prop_map(|((_, said), at)| {
            let mut bytes = said.text.into_bytes();
            // Not empty, because a blank line is ignored.
            bytes.truncate(1 + at.index(bytes.len() - 1));
            (PARSE_ERROR, bytes)
        });
    let not_text = (request(Era::Legacy), select(NOT_TEXT)).prop_map(|((_, said), bytes)| {
        let whole = said.text.into_bytes();
        let (start, end) = whole.split_at(whole.len() - 1);
        let odd = [start, b",\"odd\":\"", bytes, b"\"", end].concat();
        (PARSE_ERROR, odd)
    });
    // A batch is split into its messages, but not a batch within a batch.
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

/// Returns objects in which a required member of a request is missing or wrong.
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

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let question = (json::id(), method(), params(), unknown(), breaks()).prop_flat_map(
        |(id, method, params, unknown, gap)| {
            let mut members = vec_of(&[("id", &id), ("method", &method)], unknown);
            members.extend(params.map(|params| (name("params"), params)));
            let text = message(members, gap);
            let reply = answer(Era::Legacy, respelled(&id), "");
            (text, reply).prop_map(|(text, reply)| ServerMessage::Request { text, reply })
        },
    );
    prop_oneof![
        notification().prop_map(ServerMessage::Notification),
        question
    ]
}

/// Returns a notification without meaning for an intermediary.
fn notification() -> impl Strategy<Value = String> {
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

/// Returns a request and its id.
fn request(era: Era) -> impl Strategy<Value = (String, HostRequest)> {
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
            let said = HostRequest {
                text,
                method: method.clone(),
                name: named.clone(),
            };
            (id.clone(), said)
        })
    })
}

/// Returns methods with a mirrored name, and the member with the name.
fn known() -> impl Strategy<Value = (&'static str, &'static str)> {
    select(
        &[
            ("tools/call", "name"),
            ("prompts/get", "name"),
            ("resources/read", "uri"),
        ][..],
    )
}

/// Returns a method that is unknown or needs no parameters.
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

/// Returns unknown members of the envelope.
fn unknown() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        json::string().prop_map(|name| format!("\"x{}", &name[1..])),
        select(&[r#""Id""#, r#""""#, r#""_meta""#, r#""METHOD""#][..]).prop_map(str::to_owned),
    ];
    vec((name, json::value()), 0..2)
}

/// Returns a message with these members in any order.
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

/// Returns insignificant line breaks.
fn breaks() -> impl Strategy<Value = &'static str> {
    select(&["", "", "\n", "\r\n", "\n  ", "\r"][..])
}

/// Returns the same id in another notation.
fn respelled(id: &str) -> String {
    match id.strip_prefix('"').and_then(|rest| rest.chars().next()) {
        Some(first) if first.is_ascii_alphanumeric() => {
            format!("\"\\u{:04x}{}", u32::from(first), &id[2..])
        }
        None if id.len() < 10 && id.bytes().all(|byte| byte.is_ascii_digit()) => format!("{id}.0"),
        Some(_) | None => id.to_owned(),
    }
}
