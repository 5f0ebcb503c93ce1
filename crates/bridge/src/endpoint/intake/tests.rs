use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use control::lines::Lines;
use mcp::memory::{Account, Budget};
use mcp::{Kind, Message};
use tokio::io::AsyncWriteExt;

use super::{Intake, Received, read};

const MIB: usize = 1 << 20;

fn call(id: u64, length: usize) -> String {
    let text = "x".repeat(length);
    format!(r#"{{"method":"tools/call","params":{{"text":"{text}"}},"jsonrpc":"2.0","id":{id}}}"#)
}

/// Returns an account without room, and the memory it holds.
async fn full() -> (Account, Vec<Bytes>) {
    let account = Budget::default().account();
    let mut held = Vec::new();
    while account.has_room() {
        held.push(take(&account).await);
    }
    // One more may exceed the limit.
    held.push(take(&account).await);
    (account, held)
}

async fn take(account: &Account) -> Bytes {
    let mut reservation = account.reserve();
    reservation.grow(MIB).await;
    reservation.own(vec![0; MIB].into())
}

fn refused_id(received: &Received) -> String {
    let Received::Refused(Some(answer)) = received else {
        panic!("not refused: {received:?}");
    };
    let error = answer.error().expect("an error").get();
    assert!(error.contains(r#""kind":"in-use""#), "{error}");
    answer.id().expect("the request's id").to_string()
}

#[tokio::test(start_paused = true)]
async fn line_without_memory_is_answered_and_others_follow() {
    let (memory, held) = full().await;
    let (mut host, near) = tokio::io::duplex(MIB);
    let mut intake = Intake::new(Lines::new(near, 64 * MIB), "snip".to_owned(), memory);
    let lines = [
        call(1, 100),
        call(2, 100_000),
        call(3, 5 * MIB),
        call(4, 100),
        call(5, 5 * MIB),
    ];
    let sending = async move {
        for line in lines {
            host.write_all(line.as_bytes()).await.unwrap();
            host.write_all(b"\n").await.unwrap();
        }
    };
    let sending = tokio::spawn(sending);
    assert!(matches!(intake.next().await, Ok(Received::Message(_))));
    assert_eq!(refused_id(&intake.next().await.unwrap()), "2");
    assert_eq!(refused_id(&intake.next().await.unwrap()), "3");
    assert!(matches!(intake.next().await, Ok(Received::Message(_))));
    drop(held);
    let Ok(Received::Message(line)) = intake.next().await else {
        panic!("there is memory now");
    };
    let message = Message::parse(line).unwrap();
    assert!(matches!(message.kind(), Kind::Request { id, .. } if id.to_string() == "5"));
    sending.await.unwrap();
    assert!(matches!(intake.next().await, Ok(Received::End)));
}

#[tokio::test(start_paused = true)]
async fn body_without_memory_is_answered_with_its_id() {
    let (memory, held) = full().await;
    let refused = read(call(7, 5 * MIB).into(), "snip", &memory).await;
    let refused = refused.expect_err("no memory");
    assert_eq!(refused.status(), StatusCode::OK);
    let body = axum::body::to_bytes(refused.into_body(), MIB)
        .await
        .unwrap();
    let answer = Message::parse(body).unwrap();
    assert_eq!(refused_id(&Received::Refused(Some(answer))), "7");
    drop(held);
    let taken = read(call(7, 5 * MIB).into(), "snip", &memory).await;
    assert!(taken.is_ok_and(|taken| taken.len() > 5 * MIB));
    let long = read(Body::from(vec![b' '; 64 * MIB + 1]), "snip", &memory).await;
    assert_eq!(long.unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
}
