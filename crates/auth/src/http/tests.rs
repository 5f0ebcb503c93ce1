//! HTTP requests, and which addresses they must not reach.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::config::Proxy;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use texts::{Describe, Language};

use super::private_network::Lookup;
use super::{
    CertificateFlaw, HttpClients, HttpError, NetworkZone, Proxies, builder, client, probe, send,
};

/// The private network address in these tests. Every other address is public. macOS has but one
/// loopback address of each family.
pub(crate) const INSIDE: IpAddr = if cfg!(target_os = "macos") {
    IpAddr::V6(Ipv6Addr::LOCALHOST)
} else {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))
};
pub(crate) const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A private certificate authority, and the names of a small network whose certificates it issues.
pub(crate) struct Net {
    root: CertifiedIssuer<'static, KeyPair>,
    names: BTreeMap<String, Vec<IpAddr>>,
}

/// A server over TLS that answers with the documents it has, by path, or 404.
pub(crate) struct Site {
    pub(crate) port: u16,
    documents: Arc<Mutex<BTreeMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Net {
    /// Creates a network with these names.
    pub(crate) fn of(names: &[(&str, &[IpAddr])]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let names = names.iter();
        Self {
            root: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            names: names
                .map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec()))
                .collect(),
        }
    }

    /// Returns clients that resolve these names only.
    pub(crate) fn clients(&self) -> HttpClients {
        let names = self.names.clone();
        let lookup: Lookup = Arc::new(move |name| {
            let found = names.get(&name).into_iter().flatten();
            let found: Vec<_> = found.map(|ip| SocketAddr::new(*ip, 0)).collect();
            Box::pin(async move { Ok(found) })
        });
        let proxies = Proxies::new(&Proxy::None);
        let roots = vec![self.root.as_ref().der().clone()];
        let unrestricted = builder(&roots, &proxies)
            .unwrap()
            .dns_resolver(Arc::new(Everything(Arc::clone(&lookup))))
            .build()
            .unwrap();
        HttpClients::with_resolver(unrestricted, roots, proxies, lookup, |ip| ip == INSIDE).unwrap()
    }

    /// Starts a server at an address. Its certificate has all names.
    pub(crate) fn serve(&self, address: IpAddr) -> Site {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(self.names.keys().cloned().collect::<Vec<_>>()).unwrap();
        let leaf = leaf.signed_by(&key, &self.root).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        Site::start(TcpListener::bind((address, 0)).unwrap(), Arc::new(config))
    }
}

impl Site {
    fn start(listener: TcpListener, config: Arc<ServerConfig>) -> Self {
        let site = Self {
            port: listener.local_addr().unwrap().port(),
            documents: Arc::default(),
            asked: Arc::default(),
        };
        let (documents, asked) = (Arc::clone(&site.documents), Arc::clone(&site.asked));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                let mut request = [0; 4096];
                let read = stream.read(&mut request);
                let text = String::from_utf8_lossy(&request[..read.unwrap_or(0)]);
                let path = text.split(' ').nth(1).unwrap_or("a handshake").to_owned();
                let (status, body) = match documents.lock().unwrap().get(&path) {
                    Some(body) => ("200 OK", body.clone()),
                    None => ("404 Not Found", String::new()),
                };
                asked.lock().unwrap().push(path);
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
                // The client may close the connection early.
                let _ = stream.write_all(head.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        site
    }

    pub(crate) fn put(&self, path: &str, document: &serde_json::Value) {
        let mut documents = self.documents.lock().unwrap();
        documents.insert(path.to_owned(), document.to_string());
    }

    /// Returns the paths of all requests, and an entry for each connection without a request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Everything(Lookup);

impl Resolve for Everything {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.0)(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(found.await?.into_iter()) as Addrs) })
    }
}

#[tokio::test]
async fn untrusted_certificate_is_rejected() {
    let net = Net::of(&[("localhost", &[OUTSIDE])]);
    let site = net.serve(OUTSIDE);
    let url = format!("https://localhost:{}/", site.port);
    let untrusting = send(client([], &Proxy::None).unwrap().get(&url)).await;
    let Err(HttpError::Untrusted(flaw)) = untrusting else {
        panic!("{untrusting:?}");
    };
    assert_eq!(flaw, CertificateFlaw::UnknownIssuer);
    let known = client([net.root.as_ref().der().clone()], &Proxy::None).unwrap();
    assert_eq!(send(known.get(&url)).await.unwrap().status, 404);
}

#[tokio::test]
async fn probe_names_issuer_trusted_or_not() {
    let net = Net::of(&[("localhost", &[OUTSIDE])]);
    let site = net.serve(OUTSIDE);
    let url = format!("https://localhost:{}/mcp", site.port);
    let url = url.parse().unwrap();
    let untrusting = HttpClients::new([], &Proxy::None).unwrap();
    for (clients, is_trusted) in [(net.clients(), true), (untrusting, false)] {
        let result = probe(&clients, NetworkZone::Local, &url).await;
        assert_eq!(result.authority.as_deref(), Some("rcgen self signed cert"));
        match result.response {
            Ok(_) => assert!(is_trusted),
            Err(error) => assert!(
                !is_trusted && matches!(error, HttpError::Untrusted(_)),
                "{error}"
            ),
        }
    }
    // Whether the server has seen the failed handshake yet is not certain.
    let asked = site.asked();
    assert_eq!(asked[0], "/");
    let rest = &asked[1..];
    assert!(rest.iter().all(|one| one == "a handshake"), "{rest:?}");
}

#[tokio::test]
async fn public_zone_never_connects_to_private_address() {
    let net = Net::of(&[
        ("inside.example", &[INSIDE]),
        ("both.example", &[INSIDE, OUTSIDE]),
        ("nowhere.example", &[]),
    ]);
    let (inside, outside) = (net.serve(INSIDE), net.serve(OUTSIDE));
    let clients = net.clients();
    let get = async |zone, name: &str, site: &Site| {
        let url = format!("https://{name}:{}/{name}", site.port);
        send(clients.client_for(zone).get(url)).await
    };
    for name in ["inside.example", "nowhere.example"] {
        let refused = get(NetworkZone::Public, name, &inside).await;
        assert!(
            matches!(refused, Err(HttpError::PrivateAddress(_))),
            "{refused:?}"
        );
    }
    // Only the public address of the name is used, however often it is resolved.
    get(NetworkZone::Public, "both.example", &outside)
        .await
        .unwrap();
    assert!(
        get(NetworkZone::Public, "both.example", &inside)
            .await
            .is_err()
    );
    let url = format!("https://inside.example:{}/", inside.port);
    let result = probe(&clients, NetworkZone::Public, &url.parse().unwrap()).await;
    assert!(
        matches!(result.response, Err(HttpError::PrivateAddress(_))),
        "{result:?}"
    );
    assert!(inside.asked().is_empty(), "{:?}", inside.asked());
    assert_eq!(outside.asked(), ["/both.example"]);

    let found = get(NetworkZone::Local, "inside.example", &inside)
        .await
        .unwrap();
    assert_eq!(found.status, 404);
    let url = "https://inside.example/".parse().unwrap();
    assert_eq!(clients.zone_of(&url, found.peer), NetworkZone::Local);
    assert_eq!(inside.asked(), ["/inside.example"]);
}

#[test]
fn public_zone_may_not_name_private_host() {
    let clients = HttpClients::new([], &Proxy::None).unwrap();
    let may = |zone, url: &str| clients.is_allowed(zone, &url.parse().unwrap());
    for inside in [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "http://[::1]/",
        "https://10.1.2.3/",
        "https://169.254.169.254/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
    ] {
        assert!(!may(NetworkZone::Public, inside), "{inside}");
        assert!(may(NetworkZone::Local, inside), "{inside}");
    }
    for outside in ["https://login.example.com/", "https://8.8.8.8/"] {
        assert!(may(NetworkZone::Public, outside) && may(NetworkZone::Local, outside));
    }
}

#[test]
fn zone_behind_proxy_is_that_of_url() {
    let clients = HttpClients::new([], &"http://127.0.0.1:3128".parse().unwrap()).unwrap();
    let peer = Some("127.0.0.1:3128".parse().unwrap());
    let zone = |url: &str| clients.zone_of(&url.parse().unwrap(), peer);
    assert_eq!(zone("https://mcp.example/"), NetworkZone::Public);
    assert_eq!(zone("https://10.0.0.1/"), NetworkZone::Local);
    assert_eq!(zone("http://127.0.0.1:3128/"), NetworkZone::Local);
}

#[tokio::test]
async fn closed_port_is_unreachable() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}/?code=secret");
    let Err(HttpError::Unreachable(reason)) =
        send(client([], &Proxy::None).unwrap().get(url)).await
    else {
        panic!("something answered");
    };
    assert!(reason.to_string().contains("refused"), "{reason}");
    assert!(!reason.to_string().contains("secret"), "{reason}");
}

#[tokio::test]
async fn https_to_plain_port_is_not_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 1024]);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    });
    let response = send(client([], &Proxy::None).unwrap().get(url)).await;
    assert_eq!(response.unwrap_err(), HttpError::NotTls);
}

#[tokio::test]
async fn unknown_private_name_hint_asks_for_vpn() {
    // No resolver is asked for a label of more than 63 octets.
    let url = format!("http://{}.internal/", "a".repeat(64));
    let response = send(client([], &Proxy::None).unwrap().get(url)).await;
    let Err(HttpError::UnknownName(name)) = response else {
        panic!("{response:?}");
    };
    let text = name.text();
    assert!(text.to_string().contains("does not resolve"), "{text}");
    let hint = text.hint(Language::English).unwrap();
    assert!(hint.contains("VPN"), "{hint}");
}

#[test]
fn retry_after_is_in_seconds_and_bounded() {
    let wait = |text: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("retry-after", text.parse().unwrap());
        super::retry_after(&headers)
    };
    assert_eq!(wait("7"), Some(Duration::from_secs(7)));
    assert_eq!(wait("99999999"), Some(Duration::from_secs(3600)));
    assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
}
