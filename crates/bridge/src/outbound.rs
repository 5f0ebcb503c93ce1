//! The way out of this machine: whose certificates are trusted, which proxy is gone through, and
//! by what this program is known out there.
//!
//! Owns: what the environment and the configuration say of that. The two HTTP clients of a bridge,
//! that of the relay and that of sign-ins, are made of it once, when it starts; a command that goes
//! out by itself makes its own of the same.

use std::error::Error;
use std::path::{Path, PathBuf};

use control::Home;
use model::config::{BridgeSettings, ClientMetadataUrl, Proxy};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{ConfigError, Options, config_file};

/// How this program goes out.
#[derive(Debug)]
pub struct OutboundConfig {
    /// The certificates to trust beside the system's.
    pub roots: Vec<CertificateDer<'static>>,
    /// The proxy to go through.
    pub proxy: Proxy,
    /// By what authorization servers out there know this program.
    pub(crate) client_metadata: Option<ClientMetadataUrl>,
}

/// Why the way out is not known.
#[derive(Debug, thiserror::Error)]
pub enum OutboundConfigError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that the configuration or the environment names holds no certificates.
    #[error(transparent)]
    Roots(#[from] CaFileError),
}

/// A file that no certificates can be read from.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct CaFileError {
    file: PathBuf,
    reason: String,
}

impl OutboundConfig {
    /// As the configuration says, and the environment, which names the files of `extra_roots`.
    ///
    /// # Errors
    /// [`OutboundConfigError`] if any of it cannot be used.
    pub fn load(home: &Home, extra_roots: &[PathBuf]) -> Result<Self, OutboundConfigError> {
        let settings = config_file::read(&home.config_file())?.bridge;
        let mut roots = read_ca_files(extra_roots)?;
        roots.extend(read_ca_files(&settings.extra_ca_files)?);
        Ok(Self::with(roots, settings))
    }

    /// The same for a bridge, which starts whatever its configuration says: what cannot be used of
    /// that is left out, and told with the configuration.
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

/// The certificates in PEM files.
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
        // The clients would refuse it without saying where it stands.
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
