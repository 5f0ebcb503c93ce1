//! Probes a server and records the issuer of its certificate, also if that is not trusted.
//!
//! Invariant: it trusts no certificate that the other clients would not trust.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use threads::connecting;
use url::Url;

use texts::text;

use super::{
    HttpClients, HttpError, NetworkZone, builder, builder_without_tls, certificate, send, tls,
};

/// The timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a probe.
#[derive(Debug)]
pub(crate) struct ProbeResult {
    /// The headers of the response, whatever its status.
    pub(crate) response: Result<HeaderMap, HttpError>,
    /// The issuer of the last certificate in the chain.
    pub(crate) authority: Option<String>,
}

/// Sends HEAD to the origin of `url`, which a party in `zone` names, and records the TLS issuer.
pub(crate) async fn probe(clients: &HttpClients, zone: NetworkZone, url: &Url) -> ProbeResult {
    let authority = Arc::new(Mutex::new(None));
    let response = ask(clients, zone, url, &authority).await;
    let authority = authority.lock().unwrap_or_else(PoisonError::into_inner);
    ProbeResult {
        response,
        authority: authority.clone(),
    }
}

async fn ask(
    clients: &HttpClients,
    zone: NetworkZone,
    url: &Url,
    authority: &Arc<Mutex<Option<String>>>,
) -> Result<HeaderMap, HttpError> {
    let unusable = |error: &dyn std::fmt::Display| {
        HttpError::Unreachable(text!(TrustStoreUnusable {
            reason: error.to_string()
        }))
    };
    let builder = match url.scheme() {
        "https" => {
            // This reads the system's trust store.
            let tls = threads::blocking(|| {
                tls(&clients.roots, |verifier| {
                    let authority = Arc::clone(authority);
                    connecting::Verifier(RecordingVerifier {
                        verifier,
                        authority,
                    })
                })
            });
            let tls = tls.map_err(|error| unusable(&error))?;
            builder_without_tls(&clients.proxies).tls_backend_preconfigured(tls)
        }
        _ => builder(&[], &clients.proxies).map_err(|error| unusable(&error))?,
    };
    let client = match zone {
        NetworkZone::Local => builder,
        NetworkZone::Public => builder.dns_resolver(clients.public_resolver()),
    };
    let client = client.build().map_err(|error| unusable(&error))?;
    let mut origin = url.clone();
    origin.set_path("/");
    origin.set_query(None);
    let request = client.head(origin).timeout(PROBE_TIMEOUT);
    // A cached response would have an older date.
    let request = request.header("cache-control", "no-cache");
    Ok(send(request).await?.headers)
}

/// Delegates to the system's verifier, and records the issuer.
#[derive(Debug)]
struct RecordingVerifier {
    verifier: Verifier,
    authority: Arc<Mutex<Option<String>>>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let last = others.last().unwrap_or(leaf);
        *self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = certificate::issuer(last);
        self.verifier
            .verify_server_cert(leaf, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
