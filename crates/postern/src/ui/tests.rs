use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use tower::ServiceExt;

use super::access::{AccessPolicy, LINK_LIFETIME};
use super::router;
use crate::context::Context;
use crate::environment::Environment;

/// The headers that the page itself sends.
const OWN: [(&str, &str); 3] = [
    ("host", "127.0.0.1:9"),
    ("origin", "http://127.0.0.1:9"),
    ("sec-fetch-site", "same-origin"),
];

/// The headers of a browser that another program started with a URL.
const NAVIGATION: [(&str, &str); 2] = [("host", "127.0.0.1:9"), ("sec-fetch-site", "none")];

struct Ui {
    policy: AccessPolicy,
    folder: tempfile::TempDir,
    /// A connection of this user, so that the kernel's connection table has an entry.
    peer: std::net::TcpStream,
    here: SocketAddr,
    _listener: std::net::TcpListener,
}

impl Ui {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        Self {
            policy: AccessPolicy::new(here).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            peer: std::net::TcpStream::connect(here).unwrap(),
            here,
            _listener: listener,
        }
    }

    /// Opens a new link like the user's browser, and returns the token.
    async fn token(&self) -> String {
        let link = self.new_link();
        let entered = self.send("GET", &link, &NAVIGATION).await;
        assert_eq!(entered.status(), StatusCode::SEE_OTHER);
        let page = entered.headers()[header::LOCATION].to_str().unwrap();
        page.strip_prefix("/#token=").unwrap().to_owned()
    }

    fn new_link(&self) -> String {
        let address = self.policy.new_link().unwrap();
        let own = format!("http://{}", self.here);
        address.strip_prefix(&own).unwrap().to_owned()
    }

    async fn status(&self, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        let method = if path == "/api/call" { "POST" } else { "GET" };
        self.send(method, path, headers).await.status()
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let here = self.here.to_string();
        let mut request = Request::builder().uri(path).method(method);
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
        router(self.policy.clone(), context)
            .oneshot(request)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn api_requires_token_and_page_does_not() {
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
    let bearer = format!("Bearer {}", ui.token().await);
    let right = [&OWN[..], &[("authorization", bearer.as_str())]].concat();
    // The access checks pass. No bridge runs in that folder.
    assert_eq!(
        ui.status("/api/call", &right).await,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(ui.status("/api/state", &right).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn link_opens_page_once_and_expires() {
    let ui = Ui::new();
    let first = ui.new_link();
    let looked = ui.send("HEAD", &first, &NAVIGATION).await;
    assert_eq!(looked.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        ui.status("/enter/guess", &NAVIGATION).await,
        StatusCode::GONE
    );
    assert_eq!(ui.status(&first, &NAVIGATION).await, StatusCode::SEE_OTHER);
    let again = ui.send("GET", &first, &NAVIGATION).await;
    assert_eq!(again.status(), StatusCode::GONE);
    assert!(again.headers().get(header::LOCATION).is_none());
    let page = axum::body::to_bytes(again.into_body(), usize::MAX).await;
    let page = String::from_utf8(page.unwrap().to_vec()).unwrap();
    assert!(page.contains("run it again"), "{page}");

    let late = ui.new_link();
    tokio::time::advance(LINK_LIFETIME).await;
    assert_eq!(ui.status(&late, &NAVIGATION).await, StatusCode::GONE);
}

#[tokio::test]
async fn link_code_is_rejected_as_api_token() {
    let ui = Ui::new();
    let link = ui.new_link();
    let code = link.strip_prefix("/enter/").unwrap();
    let bearer = format!("Bearer {code}");
    let shown = [&OWN[..], &[("authorization", bearer.as_str())]].concat();
    assert_eq!(
        ui.status("/api/call", &shown).await,
        StatusCode::UNAUTHORIZED
    );
    let linked = [("host", "127.0.0.1:9"), ("sec-fetch-site", "cross-site")];
    assert_eq!(ui.status(&link, &linked).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_of_other_sites_are_rejected_with_token() {
    let ui = Ui::new();
    let bearer = format!("Bearer {}", ui.token().await);
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
