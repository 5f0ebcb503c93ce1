use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::door::Door;
use super::router;
use crate::context::Context;
use crate::environment::Environment;

/// What a page at our own address sends.
const OWN: [(&str, &str); 3] = [
    ("host", "127.0.0.1:9"),
    ("origin", "http://127.0.0.1:9"),
    ("sec-fetch-site", "same-origin"),
];

struct Ui {
    door: Door,
    folder: tempfile::TempDir,
    /// A connection of this user's, for the kernel's table.
    peer: std::net::TcpStream,
    here: SocketAddr,
    _listener: std::net::TcpListener,
}

impl Ui {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        Self {
            door: Door::new(here).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            peer: std::net::TcpStream::connect(here).unwrap(),
            here,
            _listener: listener,
        }
    }

    fn token(&self) -> String {
        self.door
            .entrance()
            .split_once("#token=")
            .unwrap()
            .1
            .to_owned()
    }

    async fn status(&self, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        let here = self.here.to_string();
        let mut request =
            Request::builder()
                .uri(path)
                .method(if path == "/api/call" { "POST" } else { "GET" });
        for (name, value) in headers {
            request = request.header(*name, value.replace("127.0.0.1:9", &here));
        }
        let peer = self.peer.local_addr().unwrap();
        let body = Body::from(r#"{"call":"status"}"#);
        let request = request
            .header("content-type", "application/json")
            .extension(ConnectInfo(peer))
            .body(body)
            .unwrap();
        let context =
            Context::new(Environment::default(), Some(self.folder.path().to_owned())).unwrap();
        router(self.door.clone(), context)
            .oneshot(request)
            .await
            .unwrap()
            .status()
    }
}

#[tokio::test]
async fn the_page_needs_no_token_and_the_api_does() {
    let ui = Ui::new();
    assert_eq!(ui.status("/", &OWN).await, StatusCode::OK);
    assert_eq!(
        ui.status("/../Cargo.toml", &OWN).await,
        StatusCode::NOT_FOUND
    );
    for path in ["/api/call", "/api/state"] {
        assert_eq!(ui.status(path, &OWN).await, StatusCode::UNAUTHORIZED);
        let wrong = [&OWN[..], &[("authorization", "Bearer wrong")]].concat();
        assert_eq!(ui.status(path, &wrong).await, StatusCode::UNAUTHORIZED);
    }
    let bearer = format!("Bearer {}", ui.token());
    let right = [&OWN[..], &[("authorization", bearer.as_str())]].concat();
    // No bridge runs in that folder, and this says so.
    assert_eq!(
        ui.status("/api/call", &right).await,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(ui.status("/api/state", &right).await, StatusCode::OK);
}

#[tokio::test]
async fn pages_of_others_are_turned_away_token_or_not() {
    let ui = Ui::new();
    let bearer = format!("Bearer {}", ui.token());
    let attacks: [&[(&str, &str)]; 6] = [
        &[],
        &[("host", "localhost:9")],
        &[("host", "evil.example")],
        &[("host", "127.0.0.1:9"), ("origin", "https://evil.example")],
        &[("host", "127.0.0.1:9"), ("origin", "null")],
        &[("host", "127.0.0.1:9"), ("sec-fetch-site", "cross-site")],
    ];
    for attack in attacks {
        let headers = [attack, &[("authorization", bearer.as_str())]].concat();
        assert_eq!(
            ui.status("/api/call", &headers).await,
            StatusCode::FORBIDDEN,
            "{attack:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_tells_whose_connection_it_is() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
        \x20  1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n";
    let (here, peer) = (
        SocketAddr::from(([127, 0, 0, 1], 8080)),
        SocketAddr::from(([127, 0, 0, 1], 40000)),
    );
    assert_eq!(super::door::owner(table, peer, here), Some(1000));
    assert_eq!(super::door::owner(table, here, here), None);
}
