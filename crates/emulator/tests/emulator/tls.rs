//! TLS for clients that require it, and its certificate authority.

use emulator::{Emulator, Options, Tenant, Transport, demo};
use model::Clock;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, http, http_builder, shared_keys};

/// An emulator with TLS and the folder of its certificate authority.
struct Encrypted {
    base: String,
    transport: Transport,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Encrypted {
    async fn start(folder: &std::path::Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transport = Transport::Https {
            folder: folder.to_owned(),
        };
        let base = transport.base_url(listener.local_addr().unwrap());
        let options = Options {
            transport: transport.clone(),
            data_dir: Some(shared_keys()),
            ..Options::new(Tenant::demo("http://localhost/cb"), Clock::system())
        };
        let stop = CancellationToken::new();
        let emulator = Emulator::open(options, listener).await.unwrap();
        assert_eq!(emulator.base_url(), base);
        Self {
            base,
            transport,
            server: tokio::spawn(emulator.serve(stop.clone())),
            stop,
        }
    }

    fn client(&self) -> Client {
        let file = self.transport.authority_file().unwrap();
        let authority = Certificate::from_pem(&std::fs::read(file).unwrap()).unwrap();
        http_builder().tls_certs_only([authority]).build().unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn only_clients_that_trust_authority_connect() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Encrypted::start(folder.path()).await;
    let client = emulator.client();
    let here = format!("/{}/v2.0", demo::TENANT_ID);
    let metadata = format!("{}{here}/.well-known/openid-configuration", emulator.base);
    let document: Value = client
        .get(&metadata)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(document["issuer"], format!("{}{here}", emulator.base));
    assert!(emulator.base.starts_with("https://127.0.0.1:"));

    let by_name = metadata.replace("127.0.0.1", "localhost");
    assert_eq!(client.get(by_name).send().await.unwrap().status(), 200);
    assert!(http().get(&metadata).send().await.is_err());
    let plain = metadata.replace("https://", "http://");
    assert!(client.get(plain).send().await.is_err());
    emulator.stop().await;
}

#[tokio::test]
async fn certificate_authority_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = Encrypted::start(folder.path()).await;
    let client = first.client();
    first.stop().await;
    let second = Encrypted::start(folder.path()).await;
    assert_eq!(client.get(&second.base).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn stalled_handshake_does_not_delay_others() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Encrypted::start(folder.path()).await;
    let address = emulator.base.strip_prefix("https://").unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut rude = TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut rude, b"GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let served = emulator.client().get(&emulator.base).send().await.unwrap();
    assert_eq!(served.status(), 200);
    let mut said = Vec::new();
    // The server sends an alert or closes the connection, but never a page.
    let _ = rude.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP"));
    let nothing = silent.try_read(&mut [0; 1]);
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    tokio::io::AsyncWriteExt::shutdown(&mut silent)
        .await
        .unwrap();
}

#[tokio::test]
async fn instance_discovery_rejects_foreign_hosts() {
    let harness = Harness::start().await;
    let ask = async |endpoint: &str| -> (u16, Value) {
        let url = format!("{}/common/discovery/instance", harness.base);
        let query = [("api-version", "1.1"), ("authorization_endpoint", endpoint)];
        let response = http().get(url).query(&query).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    };
    let (_, port) = harness.base.rsplit_once(':').unwrap();
    let own = harness.base.strip_prefix("http://").unwrap();
    for host in [own, &format!("localhost:{port}")] {
        let endpoint = format!("http://{host}/organizations/oauth2/v2.0/authorize");
        let (status, document) = ask(&endpoint).await;
        assert_eq!(status, 200, "{document}");
        let metadata = format!(
            "{}/organizations/v2.0/.well-known/openid-configuration",
            harness.base
        );
        assert_eq!(document["tenant_discovery_endpoint"], metadata);
        let known = &document["metadata"][0];
        assert_eq!(known["preferred_network"], own);
        let aliases = known["aliases"].as_array().unwrap();
        assert!(aliases.contains(&json!(host)), "{aliases:?}");
    }
    for (endpoint, error, code) in [
        (
            "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
            "invalid_instance",
            50_049,
        ),
        (
            "http://localhost:1/common/oauth2/v2.0/authorize",
            "invalid_instance",
            50_049,
        ),
        ("", "invalid_request", 900_144),
    ] {
        let (status, body) = ask(endpoint).await;
        assert_eq!((status, &body["error"]), (400, &json!(error)), "{endpoint}");
        assert_eq!(body["error_codes"], json!([code]));
    }
}
