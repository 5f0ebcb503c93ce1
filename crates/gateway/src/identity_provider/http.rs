//! Requests to Entra, without redirects and with limits of time and size. Only this module builds the
//! HTTP client for them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};

/// The maximum size of a response, in bytes. Entra's key sets have about ten thousand.
const MAX_BODY: usize = 1 << 20;

/// Why there is no usable response. A later attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("it responds with the status {0}")]
    Status(u16),
    #[error("its response is longer than {MAX_BODY} bytes")]
    Long,
    #[error("its response is invalid: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// An HTTP client. Clones share its connections.
#[derive(Clone)]
pub(super) struct Http(reqwest::Client);

impl Http {
    /// Creates a client. `direct` ignores a configured proxy, for endpoints on this machine and its
    /// link.
    pub(super) fn new(direct: bool) -> anyhow::Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of the gateway that may"
        )]
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(20));
        if direct {
            builder = builder.no_proxy();
        }
        Ok(Self(builder.build()?))
    }

    /// Fetches a JSON document.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
    ) -> Result<T, HttpError> {
        let response = self
            .0
            .get(url)
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        if !response.status().is_success() {
            return Err(HttpError::Status(response.status().as_u16()));
        }
        Ok(serde_json::from_slice(&body(response).await?)?)
    }

    /// Fetches a JSON document, sending a header.
    pub(super) async fn json_with(
        &self,
        url: url::Url,
        header: (&'static str, &str),
    ) -> Result<serde_json::Value, HttpError> {
        let request = self.0.get(url).header(header.0, header.1);
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        if !response.status().is_success() {
            return Err(HttpError::Status(response.status().as_u16()));
        }
        Ok(serde_json::from_slice(&body(response).await?)?)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let mut response = self
            .0
            .execute(request)
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = response.status();
        if status.is_server_error() || status == ::http::StatusCode::TOO_MANY_REQUESTS {
            return Err(HttpError::Status(status.as_u16()));
        }
        let headers = std::mem::take(response.headers_mut());
        let mut answer = HttpResponse::new(body(response).await?);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)?
    {
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(HttpError::Long);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}
