//! The secrets that passed a proxy, and the search for them where they must not be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{Servers, program, recording_proxy::RecordingProxy};

/// The text before a secret in requests to the gateway, and the kind of the secret.
const IN_REQUESTS: [(&str, &str); 12] = [
    ("Bearer ", "access token"),
    ("x-desk-key: ", "stored secret"),
    ("code=", "authorization code"),
    ("code_verifier=", "PKCE verifier"),
    ("refresh_token=", "refresh token"),
    ("token=", "revoked token"),
    ("state=", STATE),
    ("nonce=", "nonce"),
    ("client_secret=", "client secret"),
    ("client_assertion=", "client assertion"),
    ("assertion=", "assertion"),
    ("device_code=", "device code"),
];

/// The same for its responses, redirects included.
const IN_RESPONSES: [(&str, &str); 8] = [
    ("\"access_token\":\"", "access token"),
    ("\"refresh_token\":\"", "refresh token"),
    ("\"id_token\":\"", "id token"),
    ("\"client_secret\":\"", "client secret"),
    ("\"device_code\":\"", "device code"),
    ("code=", "authorization code"),
    ("state=", STATE),
    ("nonce=", "nonce"),
];

/// The one kind that may be in arguments: whatever opens a browser passes it on.
const STATE: &str = "state";

/// Files with secrets that a case writes for the gateway or the bridge.
const CONFIGURED: [&str; 4] = [
    "gateway.toml",
    "functions-key",
    "program-key.pem",
    "federated-token",
];

/// The minimum length of a secret. Shorter values occur in files by chance.
const MIN_LENGTH: usize = 20;

/// Secrets by kind.
pub(crate) struct Secrets(BTreeSet<(&'static str, String)>);

impl Secrets {
    /// Returns all secrets that clients and the gateway exchanged so far.
    pub(crate) fn from_gateway(servers: &Servers) -> Self {
        Self::from_proxies(&[&servers.gateway_proxy])
    }

    /// Returns all secrets that passed these proxies so far.
    pub(crate) fn from_proxies(proxies: &[&RecordingProxy]) -> Self {
        let mut found = BTreeSet::new();
        let traffic = proxies.iter().flat_map(|proxy| {
            [
                (proxy.requests(), &IN_REQUESTS[..]),
                (proxy.responses(), &IN_RESPONSES[..]),
            ]
        });
        for (texts, markers) in traffic {
            for (marker, kind) in markers {
                for value in texts.iter().flat_map(|text| after(text, marker)) {
                    found.insert((*kind, value));
                }
            }
        }
        Self(found)
    }

    /// Adds a secret that comes from a configuration.
    pub(crate) fn add(&mut self, kind: &'static str, value: &str) {
        self.0.insert((kind, value.to_owned()));
    }

    /// Returns how many different secrets of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(one, _)| *one == kind).count()
    }

    /// Searches every file under `folder`, except [`CONFIGURED`], and the data of all started
    /// processes. Returns the finds.
    pub(crate) fn search(&self, folder: &Path, started: &StartedProcesses) -> Vec<String> {
        let mut finds = Vec::new();
        for file in files(folder) {
            if !CONFIGURED.iter().any(|name| file.ends_with(name)) {
                let bytes = fs::read(&file).expect("a file of ours");
                self.search_bytes(&file.display().to_string(), &bytes, &mut finds);
            }
        }
        for (place, bytes) in started.seen() {
            self.search_process(&place, &bytes, &mut finds);
        }
        finds
    }

    /// Searches an argument of a program.
    pub(crate) fn search_argument(&self, argument: &str) -> Vec<String> {
        let mut finds = Vec::new();
        self.search_process("an argument", argument.as_bytes(), &mut finds);
        finds
    }

    fn search_process(&self, place: &str, bytes: &[u8], finds: &mut Vec<String>) {
        let mut all = Vec::new();
        self.search_bytes(place, bytes, &mut all);
        finds.extend(all.into_iter().filter(|find| !find.starts_with(STATE)));
    }

    fn search_bytes(&self, place: &str, bytes: &[u8], finds: &mut Vec<String>) {
        for (kind, value) in &self.0 {
            if contains(bytes, value.as_bytes()) {
                finds.push(format!("{kind} in {place}"));
            }
        }
        if let Some(kind) = find_entra_token(bytes) {
            finds.push(format!("{kind} of Entra in {place}"));
        }
    }
}

/// The arguments and environments of processes, by path in `/proc`.
type ProcessData = BTreeSet<(String, Vec<u8>)>;

/// The arguments and environment of every process with `folder` in its arguments, even if it runs
/// only briefly.
pub(crate) struct StartedProcesses {
    seen: Arc<Mutex<ProcessData>>,
    watching: AbortHandle,
}

impl StartedProcesses {
    /// Starts watching.
    pub(crate) fn watch(folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let seen = Arc::<Mutex<ProcessData>>::default();
        let sink = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut rounds = tokio::time::interval(Duration::from_millis(10));
            loop {
                rounds.tick().await;
                let found = process_data(&folder);
                sink.lock().expect("what was seen").extend(found);
            }
        });
        Self {
            seen,
            watching: watching.abort_handle(),
        }
    }

    fn seen(&self) -> ProcessData {
        self.seen.lock().expect("what was seen").clone()
    }

    /// Returns true if a process was started with this argument.
    pub(crate) fn has(&self, argument: &str) -> bool {
        let seen = self.seen();
        seen.iter()
            .any(|(place, bytes)| place.contains("cmdline") && contains(bytes, argument.as_bytes()))
    }
}

impl Drop for StartedProcesses {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn process_data(folder: &str) -> Vec<(String, Vec<u8>)> {
    let places =
        |process: u32| ["cmdline", "environ"].map(|part| format!("/proc/{process}/{part}"));
    let places = program::processes_with(folder).into_iter().flat_map(places);
    places
        // The process may have exited.
        .filter_map(|place| Some((place.clone(), fs::read(place).ok()?)))
        .collect()
}

/// Returns the values after a marker, both raw and decoded.
fn after(text: &str, marker: &str) -> Vec<String> {
    let value_of = |rest: &str| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_graphic() || "\"&;,".contains(letter))
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    text.match_indices(marker)
        .map(|(at, _)| value_of(&text[at + marker.len()..]))
        .filter(|value| value.len() >= MIN_LENGTH)
        .flat_map(|value| {
            let decoded = url::form_urlencoded::parse(value.as_bytes())
                .map(|(key, _)| key.into_owned())
                .next();
            [Some(value), decoded]
        })
        .flatten()
        .collect()
}

/// Finds Entra's secrets by their form, because the traffic between gateway and Entra is not
/// recorded: access and id tokens are JWTs, codes and refresh tokens are `1.` and a long random
/// text.
fn find_entra_token(bytes: &[u8]) -> Option<&'static str> {
    let text = without_seals(&String::from_utf8_lossy(bytes));
    let is_jwt = |(at, _): (usize, &str)| {
        let head = base64_length(&text[at..]);
        text[at + head..].starts_with(".eyJ")
    };
    if text.match_indices("eyJ").any(is_jwt) {
        return Some("a token");
    }
    let is_opaque = |(at, _): (usize, &str)| base64_length(&text[at + 2..]) >= 60;
    text.match_indices("1.")
        .any(is_opaque)
        .then_some("a code or refresh token")
}

/// Removes the gateway's sealed values, `v1.{key}.{nonce}.{ciphertext}`. They look as random as a
/// token and may be stored.
fn without_seals(text: &str) -> String {
    let mut parts = text.split("v1.");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| {
        let mut rest = part;
        for _ in ["key", "nonce"] {
            let end = base64_length(rest);
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
        kept + "v1." + &rest[base64_length(rest)..]
    })
}

fn base64_length(text: &str) -> usize {
    text.bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        .count()
}

fn contains(bytes: &[u8], value: &[u8]) -> bool {
    bytes.windows(value.len()).any(|window| window == value)
}

/// Returns every regular file below a folder, except installed programs.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let kind = entry.file_type().expect("a kind");
        if entry.path().ends_with(program::INSTALLED) {
            continue;
        }
        if kind.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
