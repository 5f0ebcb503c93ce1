//! A client for looking: it notes who vouches for whom it asks, also where that is not trusted.
//!
//! Invariant: it trusts nobody whom the other clients would not trust.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use threads::connecting;
use url::Url;

use super::{Clients, Fault, Side, builder, certificate, send, tls, without_trust};

/// How long somebody may take to answer.
const LOOK: Duration = Duration::from_secs(10);

/// What was seen of somebody.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The head of the answer, whatever it says.
    pub(crate) answer: Result<HeaderMap, Fault>,
    /// The name of the authority at the end of the certificates that were shown.
    pub(crate) authority: Option<String>,
}

/// Asks the origin of `url`, which somebody on this side names, for nothing in particular.
pub(crate) async fn look(clients: &Clients, side: Side, url: &Url) -> Seen {
    let authority = Arc::new(Mutex::new(None));
    let answer = ask(clients, side, url, &authority).await;
    let authority = authority.lock().unwrap_or_else(PoisonError::into_inner);
    Seen {
        answer,
        authority: authority.clone(),
    }
}

async fn ask(
    clients: &Clients,
    side: Side,
    url: &Url,
    authority: &Arc<Mutex<Option<String>>>,
) -> Result<HeaderMap, Fault> {
    let unusable = |error: &dyn std::fmt::Display| {
        Fault::Unreachable(format!("the trust store cannot be used: {error}"))
    };
    let builder = match url.scheme() {
        "https" => {
            // This reads the system's trust store.
            let tls = threads::blocking(|| {
                tls(&clients.roots, |verifier| {
                    let authority = Arc::clone(authority);
                    connecting::Verifier(Witness {
                        verifier,
                        authority,
                    })
                })
            });
            let tls = tls.map_err(|error| unusable(&error))?;
            without_trust(&clients.proxies).tls_backend_preconfigured(tls)
        }
        _ => builder(&[], &clients.proxies).map_err(|error| unusable(&error))?,
    };
    let client = match side {
        Side::Inside => builder,
        Side::Outside => builder.dns_resolver(clients.outside_only()),
    };
    let client = client.build().map_err(|error| unusable(&error))?;
    let mut origin = url.clone();
    origin.set_path("/");
    origin.set_query(None);
    let request = client.head(origin).timeout(LOOK);
    // An answer from somewhere on the way would tell an older time.
    let request = request.header("cache-control", "no-cache");
    Ok(send(request).await?.headers)
}

/// Leaves the judgement to the system, and notes what was judged.
#[derive(Debug)]
struct Witness {
    verifier: Verifier,
    authority: Arc<Mutex<Option<String>>>,
}

impl ServerCertVerifier for Witness {
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
