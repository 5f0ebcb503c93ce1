//! Whom we trust.

use std::ops::Range;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mcp::up::{Client, ClientError, ClientOptions, Failure};
use model::config::{Proxy, Transport};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{Call, Host, app, client, request, soon};

/// A certificate of our own making for a name, valid from and until these years.
fn certificate(name: &str, years: Range<i32>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (certificate.der().clone(), key)
}

pub(crate) const ALWAYS: Range<i32> = 1980..2200;

/// A server with such a certificate, and that certificate.
pub(crate) async fn start(
    alpn: &[&[u8]],
    name: &str,
    years: Range<i32>,
) -> (
    String,
    CertificateDer<'static>,
    mpsc::UnboundedReceiver<Call>,
) {
    let (certificate, key) = certificate(name, years);
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
    })
}

#[tokio::test]
async fn an_unknown_certificate_is_not_the_same_as_no_connection() {
    let (url, _, mut calls) = start(&[b"http/1.1"], "localhost", ALWAYS).await;
    let mut host = Host::with(client(), &url, Transport::Auto);
    host.send(&request(1, "initialize"));
    let failure = host.failure(Some(1)).await;
    assert!(matches!(failure, Failure::Untrusted { .. }), "{failure:?}");
    assert!(
        failure.to_string().contains("nobody this computer trusts"),
        "{failure}"
    );
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn an_extra_root_is_trusted_in_both_versions_of_http() {
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
async fn what_is_wrong_with_a_certificate_is_said() {
    for (years, name, expected) in [
        (
            1980..2020,
            "localhost",
            "days ago; hint: check this computer's clock",
        ),
        (2190..2200, "localhost", "not valid yet"),
        (ALWAYS, "127.0.0.1", "localhost"),
    ] {
        let (url, certificate, _calls) = start(&[b"http/1.1"], "localhost", years).await;
        let client = trusting(certificate).unwrap();
        let url = url.replace("localhost", name);
        let mut host = Host::with(client, &url, Transport::Auto);
        host.send(&request(1, "initialize"));
        let failure = host.failure(Some(1)).await;
        assert!(matches!(failure, Failure::Untrusted { .. }), "{failure:?}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[test]
fn a_root_that_is_none_is_refused() {
    let error = trusting(CertificateDer::from(vec![1, 2, 3])).unwrap_err();
    assert!(error.to_string().contains("hint"), "{error}");
}
