//! Settings of outbound connections: trusted certificates, the proxy, and the client metadata
//! document.
//!
//! Owns: reading them from the environment and the configuration. A bridge builds its two HTTP
//! clients, of the relay and of sign-ins, from them once when it starts. A command that connects by
//! itself builds its own clients from the same settings.

use std::error::Error;
use std::path::{Path, PathBuf};

use control::Home;
use model::config::{BridgeSettings, ClientMetadataUrl, Proxy};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{ConfigError, Options, config_file};

/// Settings of outbound connections.
#[derive(Debug)]
pub struct OutboundConfig {
    /// Certificates to trust in addition to the system's.
    pub roots: Vec<CertificateDer<'static>>,
    /// The proxy to use.
    pub proxy: Proxy,
    /// The client metadata document, by which authorization servers identify this client.
    pub(crate) client_metadata: Option<ClientMetadataUrl>,
}

/// Errors of reading the settings.
#[derive(Debug, thiserror::Error)]
pub enum OutboundConfigError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that the configuration or the environment names contains no certificates.
    #[error(transparent)]
    Roots(#[from] CaFileError),
}

/// A file from which no certificates can be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct CaFileError {
    file: PathBuf,
    reason: String,
}

impl OutboundConfig {
    /// Reads the settings from the configuration and from the files `extra_roots`, which the
    /// environment names.
    ///
    /// # Errors
    /// Returns [`OutboundConfigError`] if any of them cannot be used.
    pub fn load(home: &Home, extra_roots: &[PathBuf]) -> Result<Self, OutboundConfigError> {
        let settings = config_file::read(&home.config_file())?.bridge;
        let mut roots = read_ca_files(extra_roots)?;
        roots.extend(read_ca_files(&settings.extra_ca_files)?);
        Ok(Self::with(roots, settings))
    }

    /// Reads the settings for a bridge, which starts whatever the configuration says. Skips what
    /// cannot be used of it; the bridge reports that as a problem of the configuration.
    pub(crate) fn load_lenient(options: &Options) -> Result<Self, CaFileError> {
        let config = config_file::read(&options.home.config_file()).unwrap_or_default();
        let mut roots = read_ca_files(&options.extra_roots)?;
        for file in &config.bridge.extra_ca_files {
            roots.extend(read_ca_files(std::slice::from_ref(file)).unwrap_or_default());
        }
        Ok(Self::with(roots, config.bridge))
    }

    fn with(roots: Vec<CertificateDer<'static>>, settings: BridgeSettings) -> Self {
        Self {
            roots,
            proxy: settings.proxy,
            client_metadata: settings.client_metadata_url,
        }
    }
}

/// Reads the certificates in PEM files.
pub(crate) fn read_ca_files(
    files: &[PathBuf],
) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let mut roots = Vec::new();
    for file in files {
        let found = read_file(file).map_err(|reason| CaFileError {
            file: file.clone(),
            reason: reason.to_string(),
        })?;
        roots.extend(found);
    }
    Ok(roots)
}

fn read_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
    let bundle = std::fs::read(file)?;
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        let certificate = certificate?;
        // Checked here because the clients would reject it without naming the file.
        store
            .add(certificate.clone())
            .map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
        found.push(certificate);
    }
    if found.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(found)
}
