use std::time::Duration;

use bytes::Bytes;

use super::{Decoder, Event, MAX_PART, TooLong, encode, parts};

const LIMIT: usize = 1 << 20;

/// Everything the format has: byte order mark, each line end, comments, several lines of data,
/// no space after the colon, unknown fields, an unfinished event at the end.
const STREAM: &[u8] =
    b"\xef\xbb\xbfdata: first\r\n\r\n: comment\nevent: endpoint\rdata:/m?id=1\r\r\
    data: one\r\ndata\r\ndata:  three\nid: 7\n\nretry: 250\nid\ndata:\n\nevent: gone\n\nid: 8\n\n\
    retry: 1x\nid: a\0b\nfield: x\ndata: {\"a\":\"\xc3\xa9\"}\n\n\ndata: never";

fn event(event: Option<&str>, data: &str, id: Option<&str>, retry: Option<u64>) -> Event {
    Event {
        event: event.map(Into::into),
        data: Bytes::copy_from_slice(data.as_bytes()),
        id: id.map(Into::into),
        retry: retry.map(Duration::from_millis),
    }
}

fn expected() -> Vec<Event> {
    vec![
        event(None, "first", None, None),
        event(Some("endpoint"), "/m?id=1", None, None),
        event(None, "one\n\n three", Some("7"), None),
        event(None, "", Some(""), Some(250)),
        event(None, "", Some("8"), None),
        event(None, "{\"a\":\"é\"}", None, None),
    ]
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(decoder.push(Bytes::copy_from_slice(chunk)).unwrap());
    }
    events
}

#[test]
fn decoding_is_independent_of_chunks() {
    assert_eq!(decode([STREAM]), expected());
    for size in 1..STREAM.len() {
        assert_eq!(decode(STREAM.chunks(size)), expected(), "chunks of {size}");
    }
    for first in 0..STREAM.len() {
        let (head, tail) = STREAM.split_at(first);
        for second in 0..tail.len() {
            let (middle, tail) = tail.split_at(second);
            assert_eq!(decode([head, middle, tail]), expected(), "{first} {second}");
        }
    }
}

#[test]
fn event_within_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"event: message\ndata: {}\n\n");
    let events = Decoder::new(LIMIT).push(chunk.clone()).unwrap();
    assert!(chunk.as_ptr_range().contains(&events[0].data.as_ptr()));
}

#[test]
fn ten_megabytes_in_small_chunks_arrive() {
    let data = vec![b'x'; 10 << 20];
    let mut decoder = Decoder::new(64 << 20);
    let mut events = Vec::new();
    for chunk in encode(None, None, &data).chunks(1000) {
        events.extend(decoder.push(Bytes::copy_from_slice(chunk)).unwrap());
    }
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].data, data);
}

#[test]
fn too_long_event_is_rejected_at_limit() {
    let mut exact = Decoder::new(10);
    let events = exact.push(encode(None, None, b"0123456789")).unwrap();
    assert_eq!(events[0].data, "0123456789");
    let too_long = Err(TooLong { limit: 10 });
    assert_eq!(exact.push(encode(None, None, b"0123456789a")), too_long);

    let mut lines = Decoder::new(10);
    assert_eq!(
        lines.push(Bytes::from_static(b"data: 01234\ndata: 56789\n")),
        too_long
    );

    let mut endless = Decoder::new(10);
    let pushed = (0..100).map(|_| endless.push(Bytes::from_static(b"x")));
    assert_eq!(pushed.filter(Result::is_err).count(), 100 - 26);
}

#[test]
fn encoded_event_decodes_to_same_data() {
    for data in ["", "{}", "a\nb", "a\r\nb\r", "\n", " lead", "é\n\nx: y"] {
        let encoded = encode(Some("message"), Some("3"), data.as_bytes());
        let plain = data.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(
            decode([&encoded[..]]),
            [event(Some("message"), &plain, Some("3"), None)]
        );
    }
    let injected = encode(Some("a\ndata: x"), Some("1\r\n\r\n"), b"y");
    assert_eq!(
        decode([&injected[..]]),
        [event(Some("a"), "y", Some("1"), None)]
    );
}

#[test]
fn joined_parts_equal_encoded_event() {
    let text = "one\ntwo\r\nthree\r";
    let long = "x".repeat(MAX_PART - 20);
    let lines = "{\r\n}\n".repeat(MAX_PART);
    let edge = format!("{}\r\n\r\n{text}", "y".repeat(MAX_PART - 8));
    for data in [
        "",
        "\n",
        text,
        &long,
        &long.repeat(3),
        &lines,
        &edge,
        &format!("{long}{text}{lines}"),
    ] {
        for event in [None, Some("message")] {
            let made: Vec<_> = parts(event, &Bytes::copy_from_slice(data.as_bytes())).collect();
            assert!(made.iter().all(|part| part.len() < MAX_PART + 20));
            assert!(
                made.concat() == encode(event, None, data.as_bytes()),
                "{event:?}"
            );
        }
    }
}
