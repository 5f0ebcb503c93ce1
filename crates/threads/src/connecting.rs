//! Connecting with blocking steps: asking the system which proxy a destination needs, and whether a
//! certificate was revoked.
//!
//! Owns: that such steps block no other task. Does not own: the connector and the verifier.

use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio_util::task::AbortOnDropHandle;
use tower::{Layer, Service};

use crate::{blocking, join};

/// Delegates to another verifier, and lets other tasks run meanwhile.
///
/// The verifiers of Windows and macOS may query the network for ten seconds, and rustls waits for
/// them in the middle of a handshake. So connect in an [`OwnTask`].
#[derive(Debug)]
pub struct Verifier<V>(pub V);

impl<V: ServerCertVerifier> ServerCertVerifier for Verifier<V> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        blocking(|| self.0.verify_server_cert(leaf, others, name, ocsp, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

/// A connector whose calls run in their own tasks. While one blocks, the task that waits for the
/// connection can still time out. A call ends when its future is dropped.
#[derive(Clone, Debug)]
pub struct OwnTask<S>(pub S);

impl<S, R> Service<R> for OwnTask<S>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // The connector that is ready must be the one that is called.
        let next = self.0.clone();
        let mut ready = std::mem::replace(&mut self.0, next);
        Box::pin(async move {
            let task = tokio::spawn(async move { ready.call(request).await });
            join(AbortOnDropHandle::new(task)).await
        })
    }
}

/// Wraps each connector in an [`OwnTask`].
#[derive(Clone, Copy, Debug, Default)]
pub struct InOwnTask;

impl<S> Layer<S> for InOwnTask {
    type Service = OwnTask<S>;

    fn layer(&self, connector: S) -> OwnTask<S> {
        OwnTask(connector)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Ready;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
    use tokio::runtime::Builder;
    use tower::service_fn;

    use super::*;
    use crate::tests::{hears, is_passed_by};

    /// Trusts every certificate once another task has run.
    #[derive(Debug)]
    struct Waits(Mutex<mpsc::Receiver<()>>);

    impl ServerCertVerifier for Waits {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            match hears(&self.0.lock().unwrap()) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(Error::General("no other task has run".to_owned())),
            }
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// Performs a handshake with a server in memory.
    fn shake_hands(verifier: impl ServerCertVerifier + 'static) -> Result<(), Error> {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.into()], key)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let mut server = ServerConnection::new(Arc::new(server))?;
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        while client.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn verifier_that_blocks_lets_other_tasks_run() {
        let verified = |told| shake_hands(Verifier(Waits(Mutex::new(told))));
        assert!(is_passed_by(move |told| verified(told).is_ok()));
    }

    #[test]
    fn timeout_fires_while_connecting_blocks() {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (tell, told) = mpsc::channel();
        let told = Arc::new(Mutex::new(told));
        runtime.block_on(async {
            let connector = service_fn(move |(): ()| {
                // Only the timeout ends this.
                let has_fired = blocking(|| hears(&told.lock().unwrap()));
                assert!(has_fired, "the timeout did not fire");
                std::future::ready(Ok(())) as Ready<Result<(), Infallible>>
            });
            let connecting = OwnTask(connector).call(());
            let connected = tokio::time::timeout(Duration::from_millis(50), connecting).await;
            assert!(connected.is_err());
            tell.send(()).unwrap();
        });
    }
}
