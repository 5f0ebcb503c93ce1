//! TLS with the emulator's own certificate authority, which is created once and stored.
//!
//! Owns: the certificate authority, and a new server certificate for each run.
//! Does not own: trust in the authority. Clients get its certificate file.
//! Invariants: only its owner can read the file with the authority's key. Name constraints limit
//! the authority to names of loopback, so that trust in it covers nothing else.

mod listener;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::pem;
use crate::private_file;
pub(crate) use listener::TlsListener;

const CERTIFICATE: &str = "entra-ca.pem";
const KEY: &str = "entra-ca-key.pem";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years. To renew the authority, delete its files.
const AUTHORITY_LIFETIME_DAYS: u32 = 3650;
/// The maximum lifetime that clients accept.
const SERVER_LIFETIME_DAYS: u32 = 397;

/// The transport of an emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP, for clients that allow it on loopback.
    Http,
    /// TLS, for clients that require it, such as MSAL.
    Https {
        /// The folder of the certificate authority, which is created if missing.
        folder: PathBuf,
    },
}

impl Transport {
    /// Returns the base URL of an emulator that listens on `address`, without a trailing slash.
    #[must_use]
    pub fn base_url(&self, address: SocketAddr) -> String {
        match self {
            Self::Http => format!("http://{address}"),
            Self::Https { .. } => format!("https://{address}"),
        }
    }

    /// Returns the PEM file that clients must trust. It exists once the emulator serves.
    #[must_use]
    pub fn authority_file(&self) -> Option<PathBuf> {
        match self {
            Self::Http => None,
            Self::Https { folder } => Some(folder.join(CERTIFICATE)),
        }
    }
}

/// Returns the server settings, with a new certificate of the authority in `folder`.
pub(crate) fn server_config(folder: &Path, now: SystemTime) -> anyhow::Result<ServerConfig> {
    let authority = authority(folder, now)?;
    let key = KeyPair::generate()?;
    let certificate = server_parameters(now)?.signed_by(&key, &authority)?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads or creates the authority. Server certificates refer to it by name and key only, so the
/// stored certificate is for clients alone.
fn authority(folder: &Path, now: SystemTime) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let parameters = authority_parameters(now);
    let file = folder.join(KEY);
    let hint = || {
        format!(
            "the emulator's certificate authority in {} cannot be used; hint: delete {KEY} and \
             {CERTIFICATE}, and trust the new one",
            folder.display()
        )
    };
    let stored = private_file::read(&file).with_context(hint)?;
    let key = match stored {
        Some(bytes) if folder.join(CERTIFICATE).is_file() => {
            let key = PrivateKeyDer::from_pem_slice(&bytes).with_context(hint)?;
            KeyPair::try_from(&key).with_context(hint)?
        }
        Some(_) | None => {
            let key = KeyPair::generate()?;
            let certificate = parameters.self_signed(&key)?;
            let key_pem = pem::encode("PRIVATE KEY", key.serialized_der());
            let certificate_pem = pem::encode("CERTIFICATE", certificate.der());
            private_file::write(folder, KEY, key_pem.as_bytes())?;
            private_file::write(folder, CERTIFICATE, certificate_pem.as_bytes())?;
            key
        }
    };
    Ok(Issuer::new(parameters, key))
}

fn authority_parameters(now: SystemTime) -> CertificateParams {
    let mut parameters = lasting(CertificateParams::default(), now, AUTHORITY_LIFETIME_DAYS);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Postern Entra ID emulator");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let addresses = [
        (IpAddr::from(Ipv4Addr::LOCALHOST), 8),
        (IpAddr::from(Ipv6Addr::LOCALHOST), 128),
    ]
    .map(|(address, prefix)| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix))
    });
    let mut permitted_subtrees = vec![GeneralSubtree::DnsName("localhost".to_owned())];
    permitted_subtrees.extend(addresses);
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees,
        excluded_subtrees: Vec::new(),
    });
    parameters
}

fn server_parameters(now: SystemTime) -> anyhow::Result<CertificateParams> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut parameters = lasting(CertificateParams::new(names)?, now, SERVER_LIFETIME_DAYS);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// Sets a validity from one day ago, for clients whose clocks are behind.
fn lasting(mut parameters: CertificateParams, now: SystemTime, days: u32) -> CertificateParams {
    parameters.not_before = (now - DAY).into();
    parameters.not_after = (now + DAY * days).into();
    parameters
}

#[cfg(test)]
mod tests {
    use model::Clock;

    use super::{CERTIFICATE, KEY, server_config};

    #[test]
    fn authority_is_stored_with_private_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let now = Clock::system().now();
        server_config(folder.path(), now).unwrap();
        let (certificate, key) = (read(CERTIFICATE), read(KEY));
        server_config(folder.path(), now).unwrap();
        assert_eq!((read(CERTIFICATE), read(KEY)), (certificate, key));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = std::fs::metadata(folder.path().join(KEY)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(folder.path().join(KEY), "no key").unwrap();
        let error = server_config(folder.path(), now).unwrap_err();
        assert!(error.to_string().contains("hint: delete"), "{error}");
    }
}
