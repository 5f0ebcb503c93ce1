//! JSON Web Tokens (RFC 7519), signed with the tenant's keys: creates and verifies them.
//!
//! The signature of a token for Graph covers another header than the one in the token, so that only
//! Graph can verify it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entra::Entra;
use crate::random;

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
    /// In v1 tokens, the same value as `kid`. There is no certificate behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct GraphHeader {
    typ: String,
    nonce: String,
    alg: String,
    kid: String,
}

impl GraphHeader {
    /// Returns the header that the signature covers.
    fn signed(self) -> Self {
        Self {
            nonce: random::sha256(&self.nonce),
            ..self
        }
    }
}

/// The three encoded parts of a token.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a str,
    pub(crate) claims: &'a str,
    pub(crate) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let mut parts = token.split('.');
        let these = Self {
            header: parts.next()?,
            claims: parts.next()?,
            signature: parts.next()?,
        };
        parts.next().is_none().then_some(these)
    }

    /// Returns the signing input.
    pub(crate) fn signed(self) -> String {
        format!("{}.{}", self.header, self.claims)
    }
}

/// Signs an id token, or an access token of version 2.
pub(crate) fn sign(entra: &Entra, claims: &impl Serialize) -> anyhow::Result<String> {
    sign_with(entra, claims, false)
}

/// Signs an access token of version 1.
pub(crate) fn sign_v1(entra: &Entra, claims: &impl Serialize) -> anyhow::Result<String> {
    sign_with(entra, claims, true)
}

fn sign_with(entra: &Entra, claims: &impl Serialize, x5t: bool) -> anyhow::Result<String> {
    let key = entra.keys.active();
    let header = Header {
        typ: "JWT",
        alg: "RS256",
        kid: &key.kid,
        x5t: x5t.then_some(&key.kid),
    };
    let input = format!("{}.{}", encode(&header)?, encode(claims)?);
    let signature = key.sign(&input)?;
    Ok(format!("{input}.{signature}"))
}

/// Signs an access token for Graph.
pub(crate) fn sign_for_graph(entra: &Entra, claims: &impl Serialize) -> anyhow::Result<String> {
    let key = entra.keys.active();
    let header = GraphHeader {
        typ: "JWT".to_owned(),
        nonce: random::token::<32>(),
        alg: "RS256".to_owned(),
        kid: key.kid.clone(),
    };
    let (shown, claims) = (encode(&header)?, encode(claims)?);
    let signature = key.sign(&format!("{}.{claims}", encode(&header.signed())?))?;
    Ok(format!("{shown}.{claims}.{signature}"))
}

/// Returns the claims of a token for any resource except Graph. Returns `None` if the signature is
/// invalid.
pub(crate) fn read<T: DeserializeOwned>(entra: &Entra, token: &str) -> Option<T> {
    #[derive(Deserialize)]
    struct Kid {
        kid: String,
    }
    let parts = Parts::parse(token)?;
    let Kid { kid } = decode(parts.header)?;
    verify_and_decode(entra, &kid, &parts.signed(), parts)
}

/// Returns the claims of a token for Graph. Returns `None` if the signature is invalid.
pub(crate) fn read_for_graph<T: DeserializeOwned>(entra: &Entra, token: &str) -> Option<T> {
    let parts = Parts::parse(token)?;
    let shown: GraphHeader = decode(parts.header)?;
    let kid = shown.kid.clone();
    let input = format!("{}.{}", encode(&shown.signed()).ok()?, parts.claims);
    verify_and_decode(entra, &kid, &input, parts)
}

fn verify_and_decode<T: DeserializeOwned>(
    entra: &Entra,
    kid: &str,
    input: &str,
    parts: Parts<'_>,
) -> Option<T> {
    let keys = entra.keys.signing();
    let key = keys.iter().find(|key| key.kid == kid)?;
    key.verifies(input, parts.signature)
        .then(|| decode(parts.claims))?
}

fn encode(part: &impl Serialize) -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

/// Decodes one part of a token. Returns `None` if it is malformed.
pub(crate) fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
