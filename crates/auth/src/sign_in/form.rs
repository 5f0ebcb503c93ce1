//! Reads the forms that browsers send.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};

use super::page::{Page, refused};

/// The maximum size of a form. A code and a state have less than 4 KiB.
const MAX_FORM: usize = 64 * 1024;

/// Reads the body of a form.
///
/// # Errors
///
/// The page to show, if it is not a form or too long.
pub(super) async fn form(request: Request<Incoming>) -> Result<Bytes, Page> {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        kind.as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "This address accepts forms only.",
        ));
    }
    match Limited::new(request.into_body(), MAX_FORM).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "This response is too long.",
        )),
    }
}
