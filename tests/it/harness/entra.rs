//! The emulator over TLS for Microsoft's clients, and the settings of such a client.

use std::{ffi::OsStr, fs, path::PathBuf, process::Stdio};

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::{Engine, prelude::BASE64_STANDARD};
use emulator::{FederatedCredential, demo};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use super::{program, servers::Server, within};

/// The emulator with the demo's tenants and a certificate of the gateway.
pub(crate) struct Entra {
    base: String,
    certificate: ClientCertificate,
    folder: TempDir,
    _server: Server,
}

/// A client certificate in the forms that clients are configured with.
pub(crate) struct ClientCertificate {
    pub(crate) pem: String,
    pub(crate) key: String,
    sha1: String,
    sha256: String,
}

impl Entra {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-entra-")
            .tempdir()
            .expect("a temporary folder");
        let certificate = ClientCertificate::new();
        fs::write(folder.path().join("gateway.pem"), &certificate.pem).expect("a certificate");
        let arguments = [
            "--data-dir",
            "entra",
            "--tls",
            "--gateway-certificate",
            "gateway.pem",
        ];
        let (server, address) = Server::start(folder.path(), "emulator", &arguments).await;
        Self {
            base: format!("https://{address}"),
            certificate,
            folder,
            _server: server,
        }
    }

    /// Returns the settings of a client registration. `tenant` is the last part of its authority.
    pub(crate) fn settings(&self, tenant: &str, client: &str, scope: &str) -> Value {
        json!({
            "authority": format!("{}/{tenant}", self.base),
            "client": client,
            "scope": scope,
            "challenge": r#"{"access_token":{"nbf":{"essential":true,"value":"1800000000"}}}"#,
            "gateway": demo::GATEWAY_CLIENT_ID,
            "secret": demo::GATEWAY_SECRET,
            "certificate": self.certificate.pem,
            "key": self.certificate.key,
            "thumbprint": self.certificate.sha1,
            "thumbprintSha256": self.certificate.sha256,
            "downstream": format!("api://{}/.default", demo::REPORTS_CLIENT_ID),
            "identity": demo::HOST_CLIENT_ID,
            "exchange": FederatedCredential::AUDIENCE,
        })
    }

    /// Runs a client, lets `user` act on each line of JSON, and returns the final result. The
    /// settings contain secrets, so they go to stdin and not into the arguments.
    pub(crate) async fn run(
        &self,
        mut client: Command,
        settings: &Value,
        user: impl AsyncFn(&Value),
    ) -> Value {
        let authority = self.authority_file();
        let mut process = client
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", program::search_path())
            .env("REQUESTS_CA_BUNDLE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority)
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &self.base)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("a client; hint: `cargo xtask tools` installs it");
        let mut input = process.stdin.take().expect("its input");
        let settings = settings.to_string();
        let written = input.write_all(settings.as_bytes()).await;
        written.expect("a client that reads");
        drop(input);
        let output = process.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = within("a client", lines.next_line())
            .await
            .expect("its output")
        {
            let mut line: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if line.get("done").is_some() {
                return line["done"].take();
            }
            user(&line).await;
        }
        let shown: Vec<&OsStr> = client.as_std().get_args().take(3).collect();
        panic!("{shown:?} ended before it was done");
    }

    fn authority_file(&self) -> PathBuf {
        self.folder.path().join("entra/entra-ca.pem")
    }
}

impl ClientCertificate {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let key = key.expect("an RSA key");
        let certificate = CertificateParams::default().self_signed(&key);
        let der = certificate.expect("a certificate").der().to_vec();
        Self {
            key: pem("PRIVATE KEY", key.serialized_der()),
            sha1: hexadecimal(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref()),
            sha256: hexadecimal(digest::digest(&SHA256, &der).as_ref()),
            pem: pem("CERTIFICATE", &der),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
