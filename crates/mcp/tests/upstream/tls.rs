//! Which certificates are trusted.

use std::ops::Range;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mcp::upstream::{Client, ClientError, ClientOptions, UpstreamError};
use model::config::{Proxy, Transport};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use reach::CertificateFlaw;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{Call, Host, Server, app, client, request, soon};

/// Creates a certificate.
fn certificate(
    parameters: &CertificateParams,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (certificate.der().clone(), key)
}

pub(crate) const ALWAYS: Range<i32> = 1980..2200;

/// A server, its certificate, and the calls that come.
type Started = (
    String,
    CertificateDer<'static>,
    mpsc::UnboundedReceiver<Call>,
);

/// Starts a server with a certificate for a name, valid from the first year until the last.
pub(crate) async fn start(alpn: &[&[u8]], name: &str, years: Range<i32>) -> Started {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    start_with(alpn, name, parameters).await
}

async fn start_with(alpn: &[&[u8]], name: &str, parameters: CertificateParams) -> Started {
    let (certificate, key) = certificate(&parameters);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let mut config = config
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://{name}:{}/mcp",
        listener.local_addr().unwrap().port()
    );
    let (app, calls) = app();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else {
                    return;
                };
                let service = TowerToHyperService::new(app);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (url, certificate, calls)
}

fn trusting(certificate: CertificateDer<'static>) -> Result<Client, ClientError> {
    Client::new(ClientOptions {
        extra_roots: vec![certificate],
        proxy: Proxy::None,
        ..ClientOptions::default()
    })
}

/// Returns the error of a handshake with the server at `url`.
async fn failure(client: Client, url: &str) -> UpstreamError {
    let mut host = Host::with(client, url, Transport::Auto);
    host.send(&request(1, "initialize"));
    host.failure(Some(1)).await
}

#[tokio::test]
async fn unknown_issuer_is_untrusted_and_names_extra_ca_files() {
    let (url, _, mut calls) = start(&[b"http/1.1"], "localhost", ALWAYS).await;
    let failure = failure(client(), &url).await;
    let UpstreamError::Untrusted { flaw } = &failure else {
        panic!("{failure:?}");
    };
    // This computer may have a certificate of its own for this name.
    assert!(
        matches!(
            flaw,
            CertificateFlaw::UnknownIssuer | CertificateFlaw::OtherKey
        ),
        "{flaw:?}"
    );
    assert!(
        failure.to_string().contains("; hint: ") && failure.to_string().contains("extra_ca_files"),
        "{failure}"
    );
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn ca_certificate_error_names_certificate_to_reissue() {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (url, certificate, _calls) = start_with(&[b"http/1.1"], "localhost", parameters).await;
    // Whether the certificate is trusted makes no difference.
    for client in [client(), trusting(certificate).unwrap()] {
        let failure = failure(client, &url).await.to_string();
        assert!(
            failure.contains("certificate authority (CA:TRUE)"),
            "{failure}"
        );
        assert!(failure.contains("basicConstraints CA:FALSE"), "{failure}");
    }
}

#[tokio::test]
async fn https_to_plain_port_is_not_tls() {
    let mut server = Server::start().await;
    let url = format!("{}/mcp", server.origin.replace("http:", "https:"));
    let failure = failure(client(), &url).await;
    assert!(matches!(failure, UpstreamError::NotTls), "{failure:?}");
    assert!(failure.to_string().contains("write http://"), "{failure}");
    assert!(server.is_idle());
}

#[tokio::test]
async fn http_to_tls_port_hint_names_https() {
    let (url, _, mut calls) = start(&[b"http/1.1"], "localhost", ALWAYS).await;
    let failure = failure(client(), &url.replace("https:", "http:")).await;
    assert!(failure.to_string().contains("write https://"), "{failure}");
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn http_refused_by_tls_port_hint_names_https() {
    for words in [
        "<html> <head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ] {
        let mut server = Server::start().await;
        let mut host = Host::with(client(), &format!("{}/mcp", server.origin), Transport::Auto);
        host.send(&request(1, "initialize"));
        server.call().await.refuse(400, "text/html", words);
        let failure = host.failure(Some(1)).await.to_string();
        assert!(failure.contains("hint: write https://"), "{failure}");
    }
}

#[tokio::test]
async fn extra_root_is_trusted_over_http1_and_http2() {
    for (alpn, header) in [(&b"h2"[..], None), (b"http/1.1", Some("localhost"))] {
        let (url, certificate, mut calls) = start(&[alpn], "localhost", ALWAYS).await;
        let client = trusting(certificate).unwrap();
        let mut host = Host::with(client, &url, Transport::Auto);
        host.send(&request(1, "initialize"));
        let call = soon(calls.recv()).await.unwrap();
        let host_header = call.header("host").and_then(|host| host.split(':').next());
        assert_eq!(host_header, header);
        call.initialized("s");
        assert!(host.message().await.result().is_some());
    }
}

#[tokio::test]
async fn certificate_flaw_is_named() {
    for (years, name, expected) in [
        (
            1980..2020,
            "localhost",
            "days ago; hint: check this computer's clock; if it is right",
        ),
        (2190..2200, "localhost", "not valid yet"),
        (
            ALWAYS,
            "127.0.0.1",
            "it is for `localhost`, not for `127.0.0.1`",
        ),
    ] {
        let (url, certificate, _calls) = start(&[b"http/1.1"], "localhost", years).await;
        let client = trusting(certificate).unwrap();
        let url = url.replace("localhost", name);
        let mut host = Host::with(client, &url, Transport::Auto);
        host.send(&request(1, "initialize"));
        let failure = host.failure(Some(1)).await;
        assert!(
            matches!(failure, UpstreamError::Untrusted { .. }),
            "{failure:?}"
        );
        assert!(failure.to_string().contains(expected), "{failure}");
        assert!(!failure.to_string().contains("extra_ca_files"), "{failure}");
    }
}

#[test]
fn invalid_root_is_rejected() {
    let error = trusting(CertificateDer::from(vec![1, 2, 3])).unwrap_err();
    assert!(error.to_string().contains("hint"), "{error}");
}
