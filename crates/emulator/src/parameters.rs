//! The parameters of a request from its query or form body. Each is unique and not empty.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use http::Method;
use model::RepeatedParameter;
use secrecy::SecretString;

use crate::fault::Fault;

/// Parameters by name. They can contain codes, tokens and secrets, so there is no `Debug`.
pub(crate) struct Parameters(model::UniqueParameters);

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`. A parameter without a value counts as absent
    /// (RFC 6749 §3.1).
    ///
    /// # Errors
    /// If a parameter occurs twice.
    pub(crate) fn parse(encoded: &[u8]) -> Result<Self, Fault> {
        let parameters = model::Parameters::decode(encoded).unique();
        parameters
            .map(Self)
            .map_err(|RepeatedParameter(name)| Fault::DuplicatedParameter(name))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<&str, Fault> {
        self.optional(name).ok_or(Fault::MissingParameter(name))
    }

    /// Returns a copy of a parameter, or `None` if it is absent.
    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.optional(name).map(str::to_owned)
    }

    /// Returns whether the client requests `client_info`, as MSAL does.
    pub(crate) fn wants_client_info(&self) -> bool {
        self.optional("client_info") == Some("1")
    }

    /// Returns a parameter that must not be printed.
    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        self.optional(name).map(SecretString::from)
    }
}

/// The encoded parameters of an endpoint that answers GET and POST: the body of a POST, and the
/// query of other requests.
pub(crate) struct EncodedParameters(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for EncodedParameters {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, BytesRejection> {
        if request.method() == Method::POST {
            return Bytes::from_request(request, state).await.map(Self);
        }
        let query = request.uri().query().unwrap_or_default();
        Ok(Self(Bytes::copy_from_slice(query.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::Parameters;
    use crate::fault::Fault;

    #[test]
    fn duplicate_parameter_is_rejected_and_empty_is_absent() {
        let parameters = Parameters::parse(b"scope=a+b%2Fc&state=").unwrap();
        assert_eq!(parameters.required("scope"), Ok("a b/c"));
        assert_eq!(parameters.optional("state"), None);
        assert_eq!(
            parameters.required("client_id"),
            Err(Fault::MissingParameter("client_id"))
        );
        assert_eq!(
            Parameters::parse(b"a=1&a=").err(),
            Some(Fault::DuplicatedParameter("a".to_owned()))
        );
    }
}
