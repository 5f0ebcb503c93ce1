//! HTTP+SSE (2024-11-05): one stream from the server, whose first event names the endpoint that
//! messages are posted to. The stream is the session.
//!
//! Owns: opening that stream and reading it to its end.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::in_flight::Lane;
use super::outgoing::{HttpSession, Outgoing};
use super::response::{self, RequestContext};
use super::state::SseSession;
use super::stream::{EventStream, StreamPosition};
use super::{Generation, Shared, UpstreamError, UpstreamEvent};
use crate::RequestId;

/// How long the server may take to name the endpoint. A Streamable HTTP server never does.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

impl Shared {
    /// Opens the stream, sends `initialize`, and reads until the stream ends.
    ///
    /// # Errors
    ///
    /// If the stream could not be opened.
    pub(super) async fn open_sse(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        id: &RequestId,
        generation: Generation,
    ) -> Result<(), UpstreamError> {
        let mut stream = self.get_sse().await?;
        let naming = tokio::time::timeout(ENDPOINT_TIMEOUT, self.read_endpoint(&mut stream));
        let endpoint = match naming.await {
            Ok(endpoint) => endpoint?,
            Err(_) => return Err(not_sse("a stream that names no `endpoint`")),
        };
        if !self.state().begin_sse(generation, endpoint.clone()) {
            return Ok(());
        }
        let posting = async {
            let session = SseSession {
                endpoint,
                generation,
            };
            if let Err(failure) = self.post_sse(&session, outgoing).await {
                self.fail(id.clone(), failure).await;
            }
        };
        let reading = async {
            while let Ok(message) = stream.message().await {
                self.deliver(message, None).await;
            }
        };
        tokio::pin!(reading);
        // The response may come on the stream before the POST is accepted, and so may the stream's
        // end.
        tokio::select! {
            () = &mut reading => {}
            () = posting => reading.await,
        }
        self.on_sse_lost(generation).await;
        Ok(())
    }

    async fn get_sse(&self) -> Result<EventStream, UpstreamError> {
        let authorization = self.state().authorization.clone();
        let uri = self.uri()?;
        let request = HttpSession::default().get(uri, &self.headers(), authorization, None);
        let response = self.client.request(Lane::Exchanges, request).await;
        let response = response.map_err(|error| error.to_upstream_error(uri))?;
        let context = RequestContext {
            id: None,
            session: None,
        };
        let stream = response::stream(
            response,
            context,
            self.client.limit(),
            StreamPosition::default(),
            &self.memory,
        )
        .await?;
        stream.ok_or_else(|| not_sse("no event stream"))
    }

    async fn read_endpoint(&self, stream: &mut EventStream) -> Result<Uri, UpstreamError> {
        loop {
            let Ok(event) = stream.event().await else {
                return Err(UpstreamError::StreamEnded);
            };
            if event.event.as_deref() == Some("endpoint") {
                return self.resolve_endpoint(&event.data);
            }
        }
    }

    /// Resolves the endpoint against the stream's URL. Rejects another origin, because the messages
    /// and the token are for that server only.
    fn resolve_endpoint(&self, reference: &[u8]) -> Result<Uri, UpstreamError> {
        let base = self.url.url();
        let reference = std::str::from_utf8(reference).ok();
        let url = reference.and_then(|reference| base.join(reference.trim()).ok());
        match url {
            Some(url) if url.origin() != base.origin() => Err(not_sse(&format!(
                "its `endpoint` is at another origin, {}",
                url.origin().ascii_serialization()
            ))),
            Some(url) => url
                .as_str()
                .parse()
                .map_err(|_| not_sse("an `endpoint` that is not a URL")),
            None => Err(not_sse("an `endpoint` that is not a URL")),
        }
    }

    /// Posts a message. Its response, if any, comes on the stream.
    pub(super) async fn post_sse(
        &self,
        session: &SseSession,
        outgoing: &Outgoing,
    ) -> Result<(), UpstreamError> {
        let http = HttpSession::default();
        let request = outgoing.post(&session.endpoint, &self.headers(), &http, Vec::new());
        let response = self.client.request(outgoing.lane(), request).await;
        let response = response.map_err(|error| error.to_upstream_error(&session.endpoint))?;
        let context = RequestContext {
            id: None,
            session: Some(session.generation),
        };
        match response::read(response, context, self.client.limit(), &self.memory).await {
            Err(UpstreamError::Rejected {
                status: 400 | 410, ..
            }) => Err(UpstreamError::SessionGone {
                generation: session.generation,
            }),
            other => other.map(drop),
        }
    }

    /// Ends the session, because its stream has ended.
    async fn on_sse_lost(self: &Arc<Self>, generation: Generation) {
        let Some(orphans) = self.state().end_sse(generation) else {
            return;
        };
        Arc::clone(self).fail_orphans(orphans).await;
        self.report(UpstreamEvent::Failed {
            request: None,
            failure: UpstreamError::SessionGone { generation },
        })
        .await;
    }
}

fn not_sse(what: &str) -> UpstreamError {
    UpstreamError::NotMcp {
        status: 200,
        what: what.to_owned(),
    }
}
