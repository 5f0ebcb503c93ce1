//! The way out of this machine: whose certificates are trusted, which proxy is gone through, and
//! by what this program is known out there.
//!
//! Owns: what the environment and the configuration say of that. The two HTTP clients, that of
//! the relay and that of sign-ins, are made of it once, when the bridge starts.

use std::error::Error;
use std::path::{Path, PathBuf};

use model::config::{ClientMetadataUrl, Proxy};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{Options, ServeError, config_file};

/// See the module.
pub(crate) struct WayOut {
    /// The certificates to trust beside the system's.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) proxy: Proxy,
    /// By what authorization servers out there know this program.
    pub(crate) client_metadata: Option<ClientMetadataUrl>,
}

impl WayOut {
    /// As the environment says, and the configuration as far as it can be read: what cannot be
    /// is told with the configuration.
    ///
    /// # Errors
    /// [`ServeError::Tls`] names a file of the environment that is no certificate.
    pub(crate) fn of(options: &Options) -> Result<Self, ServeError> {
        let config = config_file::read(&options.home.config_file()).unwrap_or_default();
        let mut roots = read_roots(&options.extra_roots).map_err(ServeError::Tls)?;
        for file in &config.bridge.extra_ca_files {
            roots.extend(read_roots(std::slice::from_ref(file)).unwrap_or_default());
        }
        Ok(Self {
            roots,
            proxy: config.bridge.proxy,
            client_metadata: config.bridge.client_metadata_url,
        })
    }
}

/// The certificates in PEM files.
///
/// # Errors
/// Names the file, and what is wrong with it.
pub(crate) fn read_roots(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = Vec::new();
    for file in files {
        let found = read_file(file).map_err(|reason| format!("{}: {reason}", file.display()))?;
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
