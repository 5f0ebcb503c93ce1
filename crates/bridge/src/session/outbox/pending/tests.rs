use std::time::Duration;

use mcp::{Message, RequestId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Outbox, QueuedMessage, WaitFor};

const WAIT: Duration = Duration::from_secs(1);

/// How a request is removed.
type Leave = fn(&mut Outbox, &RequestId);

fn call(id: i64, token: impl Into<Value>) -> QueuedMessage {
    let token: Value = token.into();
    let params = json!({ "name": "x", "_meta": { "progressToken": token } });
    let call = Message::request(&RequestId::number(id), "tools/call", Some(params));
    QueuedMessage::new(call, WAIT)
}

fn progress(token: impl Into<Value>) -> Message {
    let token: Value = token.into();
    let params = json!({ "progressToken": token, "progress": 1 });
    Message::notification("notifications/progress", Some(params))
}

fn outbox(calls: impl IntoIterator<Item = QueuedMessage>) -> Outbox {
    let mut outbox = Outbox::default();
    for call in calls {
        outbox.sent(call, None);
    }
    outbox
}

#[tokio::test]
async fn progress_is_matched_to_last_request_with_token() {
    let mut outbox = outbox([call(1, "a"), call(2, 7), call(3, "7")]);
    let id = RequestId::number;
    assert_eq!(outbox.subject_of(&progress("a")), Some(id(1)));
    assert_eq!(outbox.subject_of(&progress(7.0)), Some(id(2)));
    assert_eq!(outbox.subject_of(&progress("7")), Some(id(3)));
    assert_eq!(outbox.subject_of(&progress("b")), None);
    let other = Message::notification("x", Some(json!({ "progressToken": "a" })));
    assert_eq!(outbox.subject_of(&other), None);
    // The same id with another token.
    outbox.sent(call(1, "c"), None);
    assert_eq!(outbox.subject_of(&progress("a")), None);
    assert_eq!(outbox.subject_of(&progress("c")), Some(id(1)));
    // The same token of another request: the last one gets it and keeps it.
    outbox.sent(call(4, "c"), None);
    outbox.pending.remove(&id(1));
    assert_eq!(outbox.subject_of(&progress("c")), Some(id(4)));
}

#[tokio::test]
async fn removed_request_releases_progress_token() {
    let listen = |id: i64| {
        let params = json!({ "_meta": { "progressToken": "a" } });
        let listen = Message::request(&RequestId::number(id), "subscriptions/listen", Some(params));
        QueuedMessage::new(listen, WAIT)
    };
    let id = RequestId::number(1);
    let leave: [(&str, Leave); 6] = [
        ("answered", |outbox, id| drop(outbox.pending.remove(id))),
        ("taken back", |outbox, id| {
            outbox.requeue(id, WaitFor::Server, WAIT.into());
        }),
        ("taken back unsent", |outbox, id| {
            outbox.requeue_unsent(id);
        }),
        ("given up", |outbox, id| {
            let now = Instant::now();
            outbox.pending.cancel(id, now);
            assert_eq!(outbox.next_deadline(false), Some(now));
            assert_eq!(outbox.pending.take_expired(now).first(), Some(id));
            assert_eq!(outbox.next_deadline(false), None);
        }),
        ("listens", |outbox, id| {
            assert_eq!(outbox.pending.take_listens().first(), Some(id));
        }),
        ("all", |outbox, _| {
            assert_eq!(outbox.pending.take_all().count(), 1);
        }),
    ];
    for (how, leave) in leave {
        let mut outbox = outbox([listen(1)]);
        assert_eq!(outbox.subject_of(&progress("a")), Some(id.clone()), "{how}");
        leave(&mut outbox, &id);
        assert_eq!(outbox.subject_of(&progress("a")), None, "{how}");
        assert!(!outbox.pending.contains(&id), "{how}");
    }
}

#[tokio::test]
async fn request_with_fallback_is_due_once() {
    let has_fallback = |id| QueuedMessage {
        has_fallback: true,
        ..call(id, id)
    };
    let mut outbox = outbox([has_fallback(1), has_fallback(2), call(3, 3)]);
    let at = outbox.next_deadline(false).unwrap();
    assert!(outbox.pending.take_overdue(at - WAIT).is_empty());
    outbox.pending.cancel(&RequestId::number(2), at + WAIT * 2);
    let late = outbox.pending.take_overdue(at + WAIT);
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].id(), Some(&RequestId::number(1)));
    assert_eq!(outbox.next_deadline(false), Some(at + WAIT * 2));
    assert!(outbox.pending.contains(&RequestId::number(1)));
    outbox.pending.remove(&RequestId::number(2));
    assert_eq!(outbox.next_deadline(false), None);
}

/// Progress tokens are read once per request, not per notification.
#[tokio::test]
async fn progress_lookup_does_not_parse_pending_requests() {
    let text = "x".repeat(10 << 20);
    let params = json!({ "_meta": { "progressToken": 1 }, "text": text });
    let long = Message::request(&RequestId::number(1), "tools/call", Some(params));
    let outbox = outbox([QueuedMessage::new(long, WAIT)]);
    let begun = std::time::Instant::now();
    for _ in 0..5_000 {
        assert_eq!(outbox.subject_of(&progress(0)), None);
    }
    // Reading 10 MB five thousand times would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(20));
}
