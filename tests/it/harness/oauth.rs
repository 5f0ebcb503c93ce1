//! A third-party OAuth client: it registers, sends a user to the authorization server, receives the
//! callback, and redeems the code.

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use url::Url;

use super::{wire, within};

/// The parameters of a redirect.
pub(crate) type Parameters = Vec<(String, String)>;

/// A client with a loopback redirect URI of its own.
pub(crate) struct OAuthClient {
    http: reqwest::Client,
    callbacks: mpsc::UnboundedReceiver<Parameters>,
    pub(crate) redirect_uri: String,
    verifier: String,
    state: String,
}

impl OAuthClient {
    /// Creates a client whose redirect URI has this host and path and a free port.
    pub(crate) async fn new(host: &str, path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let redirect_uri = format!("http://{host}:{port}{path}");
        let here = Url::parse(&redirect_uri).expect("a URL");
        let (sender, callbacks) = mpsc::unbounded_channel();
        // Ends once the receiver is dropped.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(parameters) = receive_callback(stream, &here).await
                    && sender.send(parameters).is_err()
                {
                    break;
                }
            }
        });
        Self {
            http: wire::client(),
            callbacks,
            redirect_uri,
            verifier: random(),
            state: random(),
        }
    }

    /// Registers at `endpoint` and returns the client id.
    pub(crate) async fn register(&self, endpoint: &str) -> String {
        let document = json!({
            "client_name": "A third-party client",
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        });
        let response = self.http.post(endpoint).json(&document).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 201);
        let answer: Value = response.json().await.expect("JSON");
        answer["client_id"]
            .as_str()
            .expect("a client id")
            .to_owned()
    }

    /// Returns the authorization request.
    pub(crate) fn authorize_url(
        &self,
        endpoint: &str,
        client: &str,
        more: &[(&str, &str)],
    ) -> String {
        let challenge = digest::digest(&digest::SHA256, self.verifier.as_bytes());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(challenge);
        let mut url = Url::parse(endpoint).expect("an endpoint");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("state", &self.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        url.into()
    }

    /// Waits for the callback and returns its parameters.
    pub(crate) async fn callback(&mut self) -> Parameters {
        within("the redirect", self.callbacks.recv())
            .await
            .expect("the listener goes on")
    }

    /// Checks the state and returns the code.
    pub(crate) fn code(&self, parameters: &Parameters) -> String {
        let find = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(find("state"), Some(self.state.as_str()), "{parameters:?}");
        find("code")
            .unwrap_or_else(|| panic!("no code: {parameters:?}"))
            .to_owned()
    }

    /// Redeems a code. Returns the status and the body.
    pub(crate) async fn redeem(
        &self,
        endpoint: &str,
        client: &str,
        code: &str,
        more: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &self.verifier),
        ];
        form.extend_from_slice(more);
        self.token(endpoint, &form).await
    }

    /// Sends a token request. Returns the status and the body.
    pub(crate) async fn token(&self, endpoint: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.http.post(endpoint).form(form).send();
        let response = within(endpoint, request).await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }
}

/// Answers a browser. Returns the parameters, or `None` if the request is not the callback, such as
/// one for an icon.
async fn receive_callback(stream: TcpStream, here: &Url) -> Option<Parameters> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let target = here.join(line.split(' ').nth(1)?).ok()?;
    let page = "<!doctype html><p id=back>You are back.</p>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    (target.path() == here.path()).then(|| target.query_pairs().into_owned().collect())
}

fn random() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("random bytes");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
