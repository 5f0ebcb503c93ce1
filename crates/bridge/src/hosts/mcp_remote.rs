//! Recognises entries that start `mcp-remote`, and reads their settings.
//!
//! Owns: the ways to start it, its options, and which of them a Postern server entry supports.
//! Does not own: where secrets are stored, and the files that options name; the caller reads those.
//!
//! Invariant: no error and no warning repeats a value that may be a secret.

mod options;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use control::api::HeaderSecret;
use model::config::{HeaderName, Transport, is_header_value};
use model::{EndpointUrl, UrlError};
use serde_json::Value;

pub(super) use start::arguments;

/// An entry that starts another program.
pub(crate) struct LaunchEntry {
    /// Its key.
    pub(crate) name: String,
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

/// The settings of an entry that Postern supports for a server.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The URL of the server, which may be http to another machine.
    pub(crate) url: EndpointUrl,
    pub(crate) transport: Transport,
    /// The headers to send. Any of them may be a secret.
    pub(crate) headers: BTreeMap<HeaderName, HeaderSecret>,
    /// The preregistered client.
    pub(crate) client: Option<Client>,
    /// What is not imported and why, and what the user has to do.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    pub(crate) fn has_secrets(&self) -> bool {
        let client = self.client.as_ref();
        !self.headers.is_empty() || client.is_some_and(|client| client.secret.is_some())
    }
}

/// A client at an authorization server.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<HeaderSecret>,
    pub(crate) scopes: Vec<String>,
    /// Whether it uses the client credentials grant.
    pub(crate) uses_client_credentials: bool,
}

/// Reads a file that an option names.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

impl LaunchEntry {
    /// Returns the settings of the entry. Returns `None` if it does not start `mcp-remote`.
    ///
    /// # Errors
    /// Returns why the entry cannot be imported.
    pub(crate) fn settings(&self, read: ReadFile<'_>) -> Option<Result<Settings, String>> {
        match arguments(&self.command, &self.args) {
            Some(args) => Some(EntryReader::new(self, read).settings(args)),
            None => self
                .args
                .iter()
                .any(|arg| arg.contains("mcp-remote"))
                .then(|| {
                    Err("it starts `mcp-remote` in a way that Postern does not know".to_owned())
                }),
        }
    }
}

/// Reads the settings of one entry.
struct EntryReader<'a> {
    env: &'a BTreeMap<String, String>,
    read: ReadFile<'a>,
    used: BTreeSet<String>,
    warnings: Vec<String>,
}

impl<'a> EntryReader<'a> {
    fn new(entry: &'a LaunchEntry, read: ReadFile<'a>) -> Self {
        Self {
            env: &entry.env,
            read,
            used: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }

    fn settings(mut self, args: &[String]) -> Result<Settings, String> {
        let given = options::read(args);
        let url = given.url.ok_or("it names no URL")?;
        let url = EndpointUrl::allowing_http(url).map_err(|error| unusable(&error))?;
        self.warnings.extend(given.warnings);
        let transport = self.transport(given.transport);
        let headers = self.headers(&given.headers, &given.header_files)?;
        let mut client = self.client(
            given.client_info,
            given.client_metadata,
            given.uses_client_credentials,
        )?;
        if headers.keys().any(is_authorization) && client.take().is_some() {
            self.warn(
                "--static-oauth-client-info",
                "the header Authorization replaces a sign-in",
            );
        }
        self.warn_unused_environment();
        Ok(Settings {
            url,
            transport,
            headers,
            client,
            warnings: self.warnings,
        })
    }

    fn warn(&mut self, option: &str, why: &str) {
        self.warnings.push(format!("`{option}`: {why}"));
    }

    fn transport(&mut self, given: Option<&str>) -> Transport {
        match given {
            Some("sse-only") => Transport::Sse,
            Some("http-only") => Transport::Http,
            None | Some("http-first") => Transport::Auto,
            Some("sse-first") => {
                self.warn(
                    "--transport sse-first",
                    "Postern tries Streamable HTTP first",
                );
                Transport::Auto
            }
            Some(_) => {
                self.warn("--transport", "`mcp-remote` does not know its value either");
                Transport::Auto
            }
        }
    }

    fn headers(
        &mut self,
        given: &[&str],
        files: &[&str],
    ) -> Result<BTreeMap<HeaderName, HeaderSecret>, String> {
        let mut lines: Vec<String> = given.iter().map(|&line| line.to_owned()).collect();
        for file in files {
            let text = self.file(file, "--header-file")?;
            let is_header = |line: &&str| !line.is_empty() && !line.starts_with('#');
            lines.extend(
                text.lines()
                    .map(str::trim)
                    .filter(is_header)
                    .map(str::to_owned),
            );
        }
        let mut headers = BTreeMap::new();
        for line in &lines {
            if let Some((name, value)) = self.header(line)? {
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    /// Parses `Name: value`. Returns `None` and adds a warning if the header cannot be sent.
    fn header(&mut self, line: &str) -> Result<Option<(HeaderName, HeaderSecret)>, String> {
        let Some((name, value)) = header_parts(line) else {
            self.warn("--header", "one is not of the form NAME: VALUE");
            return Ok(None);
        };
        let value = self.filled(value, &format!("header {name}"))?;
        let value = value.trim();
        if !is_header_value(value) {
            return Err(format!("its header {name} has a value that cannot be sent"));
        }
        match HeaderName::try_from(name.to_owned()) {
            Ok(name) => Ok(Some((name, HeaderSecret::from(value)))),
            Err(error) => {
                self.warnings.push(format!(
                    "`--header {name}`: {}",
                    before_hint(&error.to_string())
                ));
                Ok(None)
            }
        }
    }

    fn client(
        &mut self,
        info: Option<&str>,
        metadata: Option<&str>,
        uses_client_credentials: bool,
    ) -> Result<Option<Client>, String> {
        let scopes = self.scopes(metadata)?;
        let Some(info) = info else {
            if uses_client_credentials {
                return Err(
                    "`--client-credentials` comes without `--static-oauth-client-info`".to_owned(),
                );
            }
            if !scopes.is_empty() {
                self.warn("--static-oauth-client-metadata", "Postern asks for the scopes that the server names, unless a client id is given");
            }
            return Ok(None);
        };
        let info = self.document(info, "--static-oauth-client-info", true)?;
        let text = |key: &str| info.get(key).and_then(Value::as_str);
        let id = text("client_id").ok_or("`--static-oauth-client-info` has no `client_id`")?;
        let secret = text("client_secret").filter(|secret| !secret.is_empty());
        if secret.is_some_and(|secret| !is_header_value(secret)) {
            return Err("its client secret has characters that Postern cannot keep".to_owned());
        }
        if uses_client_credentials && secret.is_none() {
            return Err("`--client-credentials` comes without a `client_secret`".to_owned());
        }
        if !uses_client_credentials {
            self.warn("--static-oauth-client-info", "the client needs the redirect URI http://127.0.0.1/callback at its authorization server, with any port");
        }
        Ok(Some(Client {
            id: id.to_owned(),
            secret: secret.map(HeaderSecret::from),
            scopes,
            uses_client_credentials,
        }))
    }

    fn scopes(&mut self, metadata: Option<&str>) -> Result<Vec<String>, String> {
        const OPTION: &str = "--static-oauth-client-metadata";
        let Some(metadata) = metadata else {
            return Ok(Vec::new());
        };
        let metadata = self.document(metadata, OPTION, false)?;
        for key in metadata
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
        {
            if key != "scope" {
                self.warn(
                    &format!("{OPTION}: {key}"),
                    "Postern sets this as the authorization server requires",
                );
            }
        }
        let scope = metadata
            .get("scope")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(scope.split_whitespace().map(str::to_owned).collect())
    }

    /// Parses the JSON of an option: its value, or the file after an `@`.
    fn document(&mut self, text: &str, option: &str, fill: bool) -> Result<Value, String> {
        let mut text = match text.strip_prefix('@') {
            Some(path) => self.file(path, option)?,
            None => text.to_owned(),
        };
        if fill {
            text = self.filled(&text, option)?;
        }
        serde_json::from_str(&text).map_err(|_| format!("`{option}` is not JSON"))
    }

    fn file(&self, path: &str, option: &str) -> Result<String, String> {
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(format!("the file of `{option}` needs an absolute path"));
        }
        (self.read)(path).map_err(|error| format!("the file of `{option}` cannot be read: {error}"))
    }

    /// Replaces `${NAME}` by the entry's own variables.
    fn filled(&mut self, text: &str, place: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            let Some(value) = self.env.get(name) else {
                let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let shown = if name.bytes().all(is_word) {
                    name
                } else {
                    "…"
                };
                return Err(format!(
                    "its {place} needs the variable {shown}, which the entry does not set"
                ));
            };
            self.used.insert(name.to_owned());
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn warn_unused_environment(&mut self) {
        for name in self.env.keys().filter(|name| !self.used.contains(*name)) {
            let why = match name.to_ascii_uppercase().as_str() {
                "NODE_EXTRA_CA_CERTS" => {
                    "use `extra_ca_files` under [bridge] of config.toml instead"
                }
                "HTTP_PROXY" | "HTTPS_PROXY" | "NO_PROXY" | "ALL_PROXY" => {
                    "use `proxy` under [bridge] of config.toml instead"
                }
                _ => "Postern does not use this variable",
            };
            self.warnings.push(format!("`{name}`: {why}"));
        }
    }
}

/// Describes why a URL cannot be imported, without quoting text that is not a URL.
fn unusable(error: &UrlError) -> String {
    match error {
        UrlError::Malformed(_) => "its address is not a URL".to_owned(),
        UrlError::Insecure(_) | UrlError::Decorated(_) => {
            before_hint(&error.to_string()).to_owned()
        }
    }
}

/// Splits a header as `mcp-remote` does.
fn header_parts(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!name.is_empty() && name.bytes().all(fits)).then(|| (name, value.trim_start()))
}

pub(crate) fn is_authorization(name: &HeaderName) -> bool {
    name.as_str().eq_ignore_ascii_case("authorization")
}

/// Removes the hint, which is for the owner of config.toml.
fn before_hint(text: &str) -> &str {
    text.split("; hint:").next().unwrap_or_default()
}
