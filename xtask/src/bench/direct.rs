//! A host that uses Streamable HTTP directly, with its own session at the gateway.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    http::{Answer, Connection},
    messages,
    world::World,
};

/// The example of RFC 7636, appendix B. It is sufficient for a demo that ends with this program.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) struct Direct {
    connection: Connection,
    path: String,
    headers: Vec<(String, String)>,
    last_id: u64,
}

impl Direct {
    /// Registers, signs in with the demo's browser, and performs the handshake.
    pub(super) fn sign_in(world: &World) -> Result<Self> {
        let resource = format!("{}/snippets/mcp", world.gateway);
        let browser = |page: &str| world.postern(&["demo-browser", page]);
        let tokens = sign_in(&world.gateway, &resource, browser)?;
        Self::with_token(&resource, &tokens.access)
    }

    /// Performs the handshake with an existing session.
    pub(super) fn with_token(endpoint: &str, token: &str) -> Result<Self> {
        let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
        Self::connect(endpoint, vec![bearer])
    }

    /// Performs the handshake with a server that requires no credential.
    pub(super) fn unauthenticated(endpoint: &str) -> Result<Self> {
        Self::connect(endpoint, Vec::new())
    }

    fn connect(endpoint: &str, mut headers: Vec<(String, String)>) -> Result<Self> {
        let (connection, path) = Connection::open(endpoint)?;
        headers.push((
            "accept".into(),
            "application/json, text/event-stream".into(),
        ));
        headers.push(("content-type".into(), "application/json".into()));
        let mut host = Self {
            connection,
            path,
            headers,
            last_id: 0,
        };
        let answer = host.post(&messages::handshake())?;
        ensure!(answer.status == 200, "no handshake: {}", answer.body);
        if let Some(session) = answer.header("mcp-session-id") {
            host.headers
                .push(("mcp-session-id".into(), session.to_owned()));
        }
        host.headers
            .push(("mcp-protocol-version".into(), "2025-11-25".into()));
        host.post(messages::INITIALIZED)?;
        Ok(host)
    }

    pub(super) fn call(&mut self) -> Result<()> {
        self.last_id += 1;
        let answer = self.post(&messages::call(self.last_id))?;
        ensure!(
            answer.body.contains("\"content\""),
            "not an answer: {}",
            answer.body
        );
        Ok(())
    }

    /// Calls the tool that returns its argument.
    pub(super) fn echo(&mut self, text: &str) -> Result<()> {
        self.last_id += 1;
        let answer = self.post(&messages::echo(self.last_id, text, 1))?;
        ensure!(answer.body.contains(text), "not an answer: {}", answer.body);
        Ok(())
    }

    fn post(&mut self, message: &str) -> Result<Answer> {
        self.connection.post(&self.path, &self.headers, message)
    }
}

/// The tokens of a sign-in at the gateway.
pub(super) struct Tokens {
    pub(super) client: String,
    pub(super) access: String,
    pub(super) refresh: String,
}

/// Signs in for `resource`, like any client. `browser` opens a page and completes the sign-in.
pub(super) fn sign_in(
    gateway: &str,
    resource: &str,
    browser: impl FnOnce(&str) -> Command,
) -> Result<Tokens> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let redirect = format!(
        "http://127.0.0.1:{}/callback",
        listener.local_addr()?.port()
    );
    let (mut connection, _) = Connection::open(gateway)?;
    let client = register(&mut connection, "bench", &redirect, &[])?;
    let page = gateway.to_owned() + &authorize_path(&client, &redirect, Some(resource));
    let mut browser = browser(&page).spawn()?;
    let code = code(&listener)?;
    browser.wait()?;
    let request = format!(
        "grant_type=authorization_code&client_id={client}&code={code}&redirect_uri={}\
         &code_verifier={VERIFIER}&resource={}",
        encoded(&redirect),
        encoded(resource),
    );
    let tokens = connection.post("/token", &form(), &request)?;
    Ok(Tokens {
        client,
        access: text(&tokens, "access_token")?,
        refresh: text(&tokens, "refresh_token")?,
    })
}

/// Registers a client and returns its id.
pub(super) fn register(
    connection: &mut Connection,
    name: &str,
    redirect: &str,
    more: &[(String, String)],
) -> Result<String> {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend_from_slice(more);
    let document = json!({
        "client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none",
    });
    text(
        &connection.post("/register", &headers, &document.to_string())?,
        "client_id",
    )
}

/// Returns the path of an authorization request.
pub(super) fn authorize_path(client: &str, redirect: &str, resource: Option<&str>) -> String {
    let resource = resource.map(|resource| format!("&resource={}", encoded(resource)));
    format!(
        "/authorize?response_type=code&client_id={client}&redirect_uri={}&state=bench\
         &code_challenge={CHALLENGE}&code_challenge_method=S256{}",
        encoded(redirect),
        resource.unwrap_or_default(),
    )
}

/// Returns the header of a form.
pub(super) fn form() -> [(String, String); 1] {
    [(
        "content-type".to_owned(),
        "application/x-www-form-urlencoded".to_owned(),
    )]
}

/// Receives the browser's redirect. Returns its code, still encoded.
fn code(listener: &TcpListener) -> Result<String> {
    let (stream, _) = listener.accept()?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut header = String::new();
    while stream.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut stream: TcpStream = stream.into_inner();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")?;
    let query = line.split(['?', ' ']).nth(2).context("no query")?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("code="))
        .map(str::to_owned)
        .with_context(|| format!("no code in {line}"))
}

pub(super) fn text(answer: &Answer, field: &str) -> Result<String> {
    let value: Value = serde_json::from_str(&answer.body)?;
    let text = value[field].as_str();
    Ok(text
        .with_context(|| format!("no {field}: {}", answer.body))?
        .to_owned())
}

pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
