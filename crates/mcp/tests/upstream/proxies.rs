//! Connections through an organisation's proxy.

use std::io;

use mcp::upstream::{Client, ClientOptions, UpstreamError};
use model::config::{Proxy, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::server::{Call, Host, request, soon};
use crate::tls;

/// A proxy, and the destinations that it was asked for. It resolves every name to this computer.
async fn proxy(
    scheme: &'static str,
    status: &'static str,
) -> (Proxy, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let (asked, destinations) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let destination = match scheme {
                    "http" => connect(&mut client, status).await?,
                    _ => socks(&mut client).await?,
                };
                let (_, port) = destination.rsplit_once(':').unwrap();
                let server = TcpStream::connect(format!("127.0.0.1:{port}"));
                asked.send(destination.clone()).unwrap();
                copy_bidirectional(&mut client, &mut server.await?).await
            });
        }
    });
    (url.parse().unwrap(), destinations)
}

/// CONNECT (RFC 9110 §9.3.6).
async fn connect(client: &mut TcpStream, status: &str) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    client
        .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
        .await?;
    if !status.starts_with("200") {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let head = String::from_utf8(head).unwrap();
    Ok(head.split(' ').nth(1).unwrap().to_owned())
}

/// SOCKS 5 without a password, to a name (RFC 1928).
async fn socks(client: &mut TcpStream) -> io::Result<String> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await?;
    let mut methods = vec![0; greeting[1].into()];
    client.read_exact(&mut methods).await?;
    client.write_all(&[5, 0]).await?;
    let mut head = [0; 5];
    client.read_exact(&mut head).await?;
    assert_eq!(head[..4], [5, 1, 0, 3], "connect to a name");
    let mut name = vec![0; head[4].into()];
    client.read_exact(&mut name).await?;
    let port = client.read_u16().await?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    Ok(format!("{}:{port}", String::from_utf8(name).unwrap()))
}

/// A host whose server is behind a proxy, under a name that only the proxy knows.
async fn behind(proxy: Proxy) -> (Host, u16, mpsc::UnboundedReceiver<Call>) {
    let (url, certificate, calls) = tls::start(&[b"h2"], "mcp.inside.example", tls::ALWAYS).await;
    let port = url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches("/mcp")
        .parse();
    let client = Client::new(ClientOptions {
        extra_roots: vec![certificate],
        proxy,
        ..ClientOptions::default()
    });
    let host = Host::with(client.unwrap(), &url, Transport::Auto);
    (host, port.unwrap(), calls)
}

#[tokio::test]
async fn server_is_reached_through_connect_and_socks() {
    for scheme in ["http", "socks5h"] {
        let (proxy, mut destinations) = proxy(scheme, "200 OK").await;
        let (mut host, port, mut calls) = behind(proxy).await;
        host.send(&request(1, "initialize"));
        soon(calls.recv()).await.unwrap().initialized("s");
        assert!(host.message().await.result().is_some());
        let destination = destinations.recv().await.unwrap();
        assert_eq!(destination, format!("mcp.inside.example:{port}"));
    }
}

#[tokio::test]
async fn refusing_proxy_is_named_and_nothing_is_sent() {
    let (proxy, _destinations) = proxy("http", "407 Proxy Authentication Required").await;
    let (mut host, ..) = behind(proxy).await;
    host.send(&request(1, "initialize"));
    let failure = host.failure(Some(1)).await;
    assert!(
        matches!(failure, UpstreamError::Unreachable { sent: false, .. }),
        "{failure:?}"
    );
    let text = failure.to_string();
    assert!(
        text.contains("the proxy 127.0.0.1") && text.contains("hint"),
        "{text}"
    );
}

#[tokio::test]
async fn loopback_is_reached_without_proxy() {
    let (proxy, mut destinations) = proxy("http", "200 OK").await;
    let (url, certificate, mut calls) = tls::start(&[b"h2"], "localhost", tls::ALWAYS).await;
    let client = Client::new(ClientOptions {
        extra_roots: vec![certificate],
        proxy,
        ..ClientOptions::default()
    });
    let mut host = Host::with(client.unwrap(), &url, Transport::Auto);
    host.send(&request(1, "initialize"));
    soon(calls.recv()).await.unwrap().initialized("s");
    assert!(host.message().await.result().is_some());
    assert!(destinations.try_recv().is_err());
}
