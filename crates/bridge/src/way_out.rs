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
    pub(crate) roots: Roots,
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
        let mut roots = Roots::read(&options.extra_roots).map_err(ServeError::Tls)?;
        for file in &config.bridge.extra_ca_files {
            roots.merge(Roots::read(std::slice::from_ref(file)).unwrap_or_default());
        }
        Ok(Self {
            roots,
            proxy: config.bridge.proxy,
            client_metadata: config.bridge.client_metadata_url,
        })
    }
}

/// Extra certificates, in the two forms that the two HTTP clients take.
#[derive(Default)]
pub(crate) struct Roots {
    pub(crate) reqwest: Vec<reqwest::Certificate>,
    pub(crate) rustls: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those in PEM files.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, String> {
        let mut roots = Self::default();
        for file in files {
            let added = roots.add(file);
            added.map_err(|reason| format!("{}: {reason}", file.display()))?;
        }
        Ok(roots)
    }

    fn merge(&mut self, other: Self) {
        self.reqwest.extend(other.reqwest);
        self.rustls.extend(other.rustls);
    }

    fn add(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        let before = self.rustls.len();
        let bundle = std::fs::read(file)?;
        let mut store = RootCertStore::empty();
        self.reqwest
            .extend(reqwest::Certificate::from_pem_bundle(&bundle)?);
        for certificate in CertificateDer::pem_slice_iter(&bundle) {
            let certificate = certificate?;
            // The clients would refuse it without saying where it stands.
            store
                .add(certificate.clone())
                .map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
            self.rustls.push(certificate);
        }
        if self.rustls.len() == before {
            return Err("there is no certificate in it".into());
        }
        Ok(())
    }
}
