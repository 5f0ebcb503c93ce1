//! The reverse proxies with which a gateway is compared, as Debian installs them: nginx, which
//! compares a token with one in its configuration, and HAProxy, which verifies the signature of one.
//!
//! Both have one worker, keep their connections to the backend open, and log each request like the
//! gateway, unless requests are not logged.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, anyhow};

use super::{
    jwt,
    loopback::on,
    server::{Server, free_address},
    site::Logging,
};
use crate::tree;

const NGINX: &str = "/usr/sbin/nginx";
const HAPROXY: &str = "/usr/sbin/haproxy";

/// The length of a token of the gateway.
const TOKEN_LENGTH: usize = 200;

/// A proxy and the token that it accepts.
pub(super) struct Proxy {
    pub(super) server: Server,
    pub(super) token: String,
}

/// Returns an empty folder for their files.
pub(super) fn folder() -> Result<PathBuf> {
    let folder = tree::root().join("target/bench-proxies");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot empty target/bench-proxies")?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Starts nginx in `folder`, for this number of connections.
pub(super) fn nginx(
    processor: u32,
    folder: &Path,
    backend: SocketAddr,
    connections: usize,
    logging: Logging,
) -> Result<Proxy> {
    let address = free_address()?;
    let token = "t".repeat(TOKEN_LENGTH);
    let access_log = match logging {
        Logging::Lines => "nginx-access.log",
        Logging::Nothing => "off",
    };
    // Each connection needs another one to the backend.
    let worker_connections = 2 * connections + 64;
    let config = format!(
        r#"
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {worker_connections};
error_log nginx-error.log;
pid nginx.pid;
events {{ worker_connections {worker_connections}; }}
http {{
    access_log {access_log};
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-proxy;
    fastcgi_temp_path nginx-fastcgi;
    uwsgi_temp_path nginx-uwsgi;
    scgi_temp_path nginx-scgi;
    keepalive_requests 1000000000;
    upstream backend {{
        server {backend};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    map_hash_bucket_size 512;
    map $http_authorization $is_allowed {{
        default 0;
        "Bearer {token}" 1;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            if ($is_allowed = 0) {{ return 401; }}
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"#
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = on(processor, NGINX);
    command.arg("-p").arg(folder).arg("-c").arg(&file);
    command.stderr(File::create(folder.join("nginx-start.log"))?);
    let server = Server::start(&mut command, address).map_err(|error| with_hint(&error))?;
    Ok(Proxy { server, token })
}

/// Starts HAProxy in `folder`.
pub(super) fn haproxy(
    processor: u32,
    folder: &Path,
    backend: SocketAddr,
    logging: Logging,
) -> Result<Proxy> {
    let address = free_address()?;
    let token = jwt::issue(folder)?;
    let log = match logging {
        Logging::Lines => "log stdout format raw local0\n    option httplog",
        Logging::Nothing => "",
    };
    let config = format!(
        r#"
global
    nbthread 1
    maxconn 1000

defaults
    mode http
    {log}
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h

frontend gateway
    bind {address}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.algorithm) var(txn.token),jwt_header_query('$.alg')
    http-request set-var(txn.expires) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.algorithm) -m str RS256 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.algorithm,"{key}") -m int 1 }}
    http-request deny deny_status 401 if {{ var(txn.expires),sub(txn.now) -m int lt 0 }}
    http-request del-header authorization
    default_backend echo

backend echo
    server echo {backend}
"#,
        key = folder.join(jwt::KEY).display(),
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config)?;
    let log = File::create(folder.join("haproxy.log"))?;
    let mut command = on(processor, HAPROXY);
    command.arg("-db").arg("-f").arg(&file);
    command.stdout(Stdio::from(log.try_clone()?)).stderr(log);
    let server = Server::start(&mut command, address).map_err(|error| with_hint(&error))?;
    Ok(Proxy { server, token })
}

/// Adds a hint where to look if a proxy does not start.
fn with_hint(error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}; hint: its log is in target/bench-proxies")
}
