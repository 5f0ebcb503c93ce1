//! Processes that connect to the callback listener and never finish their requests, and the
//! response of a browser at the same time.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use auth::{Account, SignInError};
use reqwest::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use url::Url;

use super::authority::Rotation;
use super::fixture::{Fixture, client, end_of, redirect_uri};

/// The number of connections that stall at once.
const STALLED: usize = 200;

/// The maximum number of connections of a crowd, so that it ends whatever the listener does.
const MAX_OPENED: usize = 50_000;

/// How soon a browser must get its page.
const SOON: Duration = Duration::from_secs(1);

/// The timeout for anything else in a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The ports of connections of another user.
static OTHER_USERS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Replaces the system's check.
pub(crate) fn is_other_user(peer: SocketAddr, _: SocketAddr) -> bool {
    OTHER_USERS.lock().unwrap().contains(&peer.port())
}

/// The user of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Same,
    Other,
}

/// Where a request stops.
#[derive(Clone, Copy, Debug)]
enum Stall {
    /// Before the first byte.
    Silent,
    /// In the headers.
    Head,
    /// In the body.
    Body,
    /// It does not stop, but sends its body slowly.
    Trickle,
}

/// The response mode.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Query,
    Form,
}

/// A connection to the listener. Records its user while it exists.
struct Connection {
    stream: TcpStream,
    port: Option<u16>,
}

impl Connection {
    async fn open(address: SocketAddr, user: User) -> std::io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(address.ip(), 0))?;
        let port = socket.local_addr()?.port();
        let port = (user == User::Other).then_some(port);
        OTHER_USERS.lock().unwrap().extend(port);
        let mut connection = Err(std::io::ErrorKind::NotConnected.into());
        if let Ok(stream) = socket.connect(address).await {
            connection = Ok(Self { stream, port });
        } else if let Some(port) = port {
            OTHER_USERS.lock().unwrap().remove(&port);
        }
        connection
    }

    /// Sends a part of a request. Returns when the listener has closed the connection.
    async fn stall(&mut self, stall: Stall) {
        let head = "POST /callback HTTP/1.1\r\nhost: localhost\r\n";
        let body =
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: 1000\r\n\r\n";
        let start = match stall {
            Stall::Silent => String::new(),
            Stall::Head => head.to_owned(),
            Stall::Body | Stall::Trickle => {
                let here = self.stream.peer_addr().unwrap().port();
                let head = head.replace("localhost", &format!("localhost:{here}"));
                format!("{head}{body}state=")
            }
        };
        if self.stream.write_all(start.as_bytes()).await.is_err() {
            return;
        }
        loop {
            let mut byte = [0];
            tokio::select! {
                read = self.stream.read(&mut byte) => match read {
                    Ok(1) => {}
                    _ => return,
                },
                () = tokio::time::sleep(Duration::from_millis(50)),
                    if matches!(stall, Stall::Trickle) =>
                {
                    if self.stream.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(port) = self.port {
            OTHER_USERS.lock().unwrap().remove(&port);
        }
    }
}

/// Returns the addresses of the listener on this port.
fn addresses(port: u16) -> Vec<SocketAddr> {
    let has_v6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    addresses.extend(has_v6.then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, port))));
    addresses
}

/// Stalled connections that are opened again when they are closed. They run in a thread of their
/// own, like other processes. Dropping it closes them.
struct Crowd {
    opened: watch::Receiver<usize>,
    _stop: watch::Sender<()>,
}

impl Crowd {
    /// Opens all of them, on both loopback addresses.
    async fn gather(port: u16, stall: Stall, user: User) -> Self {
        let (count, opened) = watch::channel(0);
        let (stop, mut stopped) = watch::channel(());
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                for place in 0..STALLED {
                    let addresses = addresses(port);
                    let address = addresses[place % addresses.len()];
                    tokio::spawn(keep_stalling(address, stall, user, count.clone()));
                }
                let _ = stopped.changed().await;
            });
        });
        let mut crowd = Self {
            opened,
            _stop: stop,
        };
        crowd.until(STALLED).await;
        crowd
    }

    /// Waits until this many connections have been opened in all.
    async fn until(&mut self, count: usize) {
        let enough = self.opened.wait_for(|opened| *opened >= count);
        timeout(PATIENCE, enough).await.unwrap().unwrap();
    }
}

async fn keep_stalling(
    address: SocketAddr,
    stall: Stall,
    user: User,
    opened: watch::Sender<usize>,
) {
    while *opened.borrow() < MAX_OPENED {
        match Connection::open(address, user).await {
            Ok(mut connection) => {
                opened.send_modify(|opened| *opened += 1);
                connection.stall(stall).await;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A sign-in in progress, and the authorization response of its browser.
struct SignIn {
    fixture: Fixture,
    ended: JoinHandle<Result<Account, SignInError>>,
    answer: Url,
    mode: Mode,
}

impl SignIn {
    /// Starts a sign-in. The crowd connects before the listener accepts.
    async fn beside(stall: Stall, user: User, mode: Mode) -> (Self, Crowd) {
        let (sign_in, crowd) = Self::begin(mode, Some((stall, user))).await;
        (sign_in, crowd.unwrap())
    }

    async fn begin(mode: Mode, crowd: Option<(Stall, User)>) -> (Self, Option<Crowd>) {
        let fixture = Fixture::new().await;
        let target = match mode {
            Mode::Query => fixture.target(),
            Mode::Form => {
                fixture.authority.set(|b| {
                    b.issuer = None;
                    b.rotation = Rotation::Lenient;
                });
                fixture.entra_usual()
            }
        };
        let flow = fixture.begin(&target).await.unwrap();
        let url = flow.url().clone();
        let crowd = match crowd {
            Some((stall, user)) => Some(Crowd::gather(flow.port(), stall, user).await),
            None => None,
        };
        let ended = tokio::spawn(flow.finish());
        let answer = match mode {
            Mode::Query => end_of(&url).await,
            Mode::Form => {
                let page = client().get(url.clone()).send().await.unwrap();
                let page = page.text().await.unwrap();
                let form = page.rsplit_once(' ').unwrap().1.to_owned();
                let mut answer = redirect_uri(&url);
                answer.set_query(Some(&form));
                answer
            }
        };
        let sign_in = Self {
            fixture,
            ended,
            answer,
            mode,
        };
        (sign_in, crowd)
    }

    fn port(&self) -> u16 {
        self.answer.port().unwrap()
    }

    /// Returns the browser's request to this loopback address.
    fn request(&self, address: SocketAddr) -> reqwest::RequestBuilder {
        let mut url = self.answer.clone();
        url.set_host(Some(&address.ip().to_string().replace("::1", "[::1]")))
            .unwrap();
        match self.mode {
            Mode::Query => client().get(url),
            Mode::Form => {
                let form = url.query().unwrap().to_owned();
                url.set_query(None);
                client()
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form)
            }
        }
    }

    /// Returns the request as text, for an open connection.
    fn text(&self) -> String {
        let (port, query) = (self.port(), self.answer.query().unwrap());
        format!("GET /callback?{query} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n")
    }

    /// Asserts that the sign-in succeeds.
    async fn succeeds(self) {
        let ended = timeout(PATIENCE, self.ended).await.unwrap();
        ended.unwrap().unwrap();
    }
}

async fn shows_success(response: Response) -> bool {
    response.text().await.unwrap().contains("You are signed in")
}

#[tokio::test]
async fn callback_arrives_despite_stalled_connections() {
    for stall in [Stall::Head, Stall::Body, Stall::Trickle] {
        for mode in [Mode::Query, Mode::Form] {
            for address in addresses(0) {
                let (sign_in, mut crowd) = SignIn::beside(stall, User::Same, mode).await;
                // The crowd reconnects whenever the listener closes a connection.
                crowd.until(2 * STALLED).await;
                let request = sign_in.request(address);
                let begun = Instant::now();
                let response = timeout(SOON, request.send()).await;
                let case = format!("{stall:?} {mode:?} {address} {:?}", begun.elapsed());
                let response = response.expect(&case).expect(&case);
                assert!(shows_success(response).await, "{case}");
                sign_in.succeeds().await;
            }
        }
    }
}

#[tokio::test]
async fn relay_of_other_user_arrives_despite_stalled_connections() {
    for user in [User::Same, User::Other] {
        let (sign_in, crowd) = SignIn::beside(Stall::Body, user, Mode::Query).await;
        let address = addresses(sign_in.port())[0];
        let exchange = async {
            let mut relay = Connection::open(address, User::Other).await.unwrap();
            let request = sign_in.text();
            relay.stream.write_all(request.as_bytes()).await.unwrap();
            let mut page = String::new();
            relay.stream.read_to_string(&mut page).await.unwrap();
            page
        };
        let page = timeout(SOON, exchange).await.expect("a page");
        assert!(page.contains("You are signed in"), "{user:?}: {page}");
        sign_in.succeeds().await;
        drop(crowd);
    }
}

#[tokio::test]
async fn idle_connection_of_user_outlives_other_users_requests() {
    let (sign_in, _) = SignIn::begin(Mode::Query, None).await;
    let address = addresses(sign_in.port())[0];
    // Browsers open spare connections.
    let mut idle = Connection::open(address, User::Same).await.unwrap();
    let mut crowd = Crowd::gather(sign_in.port(), Stall::Body, User::Other).await;
    crowd.until(5 * STALLED).await;
    let request = sign_in.text();
    idle.stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    let read = idle.stream.read_to_string(&mut page);
    timeout(SOON, read).await.expect("a page").unwrap();
    assert!(page.contains("You are signed in"), "{page}");
    sign_in.succeeds().await;
}

#[tokio::test]
async fn complete_request_stays_open_until_page() {
    for user in [User::Same, User::Other] {
        let (sign_in, _) = SignIn::begin(Mode::Query, None).await;
        let address = addresses(sign_in.port())[0];
        let permits = sign_in.fixture.authority.hold_back();
        let mut browser = Connection::open(address, user).await.unwrap();
        let request = sign_in.text();
        browser.stream.write_all(request.as_bytes()).await.unwrap();
        let asked = sign_in.fixture.authority.asked_for("authorization_code");
        timeout(PATIENCE, asked).await.expect("a code");
        let mut crowd = Crowd::gather(sign_in.port(), Stall::Head, User::Same).await;
        crowd.until(5 * STALLED).await;
        sign_in.fixture.authority.gate.add_permits(permits);
        let mut page = String::new();
        let read = browser.stream.read_to_string(&mut page);
        timeout(SOON, read).await.expect("a page").unwrap();
        assert!(page.contains("You are signed in"), "{user:?}: {page}");
        sign_in.succeeds().await;
    }
}

#[tokio::test]
async fn incomplete_request_times_out() {
    for stall in [Stall::Silent, Stall::Head, Stall::Body, Stall::Trickle] {
        let (sign_in, _) = SignIn::begin(Mode::Query, None).await;
        let address = addresses(sign_in.port())[0];
        let mut connection = Connection::open(address, User::Same).await.unwrap();
        tokio::time::pause();
        let begun = Instant::now();
        let closed = timeout(Duration::from_secs(60), connection.stall(stall)).await;
        let elapsed = begun.elapsed();
        tokio::time::resume();
        assert!(closed.is_ok(), "{stall:?}");
        assert!(elapsed <= Duration::from_secs(11), "{stall:?} {elapsed:?}");
        sign_in.ended.abort();
    }
}
