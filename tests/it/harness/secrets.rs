//! Every secret that passed a proxy, and the search for it where it must not be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{Servers, program, recording_proxy::RecordingProxy};

/// What precedes a secret in what clients say to the gateway, and what kind it is.
const SAID: [(&str, &str); 12] = [
    ("Bearer ", "session key"),
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

/// The same for its answers, redirects among them.
const ANSWERED: [(&str, &str); 8] = [
    ("\"access_token\":\"", "session key"),
    ("\"refresh_token\":\"", "refresh token"),
    ("\"id_token\":\"", "id token"),
    ("\"client_secret\":\"", "client secret"),
    ("\"device_code\":\"", "device code"),
    ("code=", "authorization code"),
    ("state=", STATE),
    ("nonce=", "nonce"),
];

/// Whoever opens a browser passes it on, as an argument.
const STATE: &str = "state";

/// Files that a case writes for the gateway or the bridge, with secrets in them.
const CONFIGURED: [&str; 4] = [
    "gateway.toml",
    "functions-key",
    "program-key.pem",
    "federated-token",
];

/// The shortest value that counts: anything shorter stands in files by chance.
const SHORTEST: usize = 20;

/// Secrets by kind.
pub(crate) struct Secrets(BTreeSet<(&'static str, String)>);

impl Secrets {
    /// All that passed between clients and the gateway so far.
    pub(crate) fn seen(servers: &Servers) -> Self {
        Self::passed(&[&servers.front])
    }

    /// All that passed these proxies so far.
    pub(crate) fn passed(proxies: &[&RecordingProxy]) -> Self {
        let mut found = BTreeSet::new();
        let passed = proxies
            .iter()
            .flat_map(|proxy| [(proxy.said(), &SAID[..]), (proxy.answered(), &ANSWERED[..])]);
        for (texts, markers) in passed {
            for (marker, kind) in markers {
                for value in texts.iter().flat_map(|text| after(text, marker)) {
                    found.insert((*kind, value));
                }
            }
        }
        Self(found)
    }

    /// Looks for another one, which everybody knows from a configuration.
    pub(crate) fn add(&mut self, kind: &'static str, value: &str) {
        self.0.insert((kind, value.to_owned()));
    }

    /// How many different ones of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(one, _)| *one == kind).count()
    }

    /// Looks for them in every file under `folder`, but those that say what the gateway is to
    /// know, and in what processes that ended long ago were started with.
    pub(crate) fn search(&self, folder: &Path, started: &Started) -> Vec<String> {
        let mut finds = Vec::new();
        for file in files(folder) {
            if !CONFIGURED.iter().any(|name| file.ends_with(name)) {
                let bytes = fs::read(&file).expect("a file of ours");
                self.look(&file.display().to_string(), &bytes, &mut finds);
            }
        }
        for (place, bytes) in started.seen() {
            self.look_in_passed(&place, &bytes, &mut finds);
        }
        finds
    }

    /// Looks for them in what a program was given as an argument.
    pub(crate) fn search_argument(&self, argument: &str) -> Vec<String> {
        let mut finds = Vec::new();
        self.look_in_passed("an argument", argument.as_bytes(), &mut finds);
        finds
    }

    fn look_in_passed(&self, place: &str, bytes: &[u8], finds: &mut Vec<String>) {
        let mut all = Vec::new();
        self.look(place, bytes, &mut all);
        finds.extend(all.into_iter().filter(|find| !find.starts_with(STATE)));
    }

    fn look(&self, place: &str, bytes: &[u8], finds: &mut Vec<String>) {
        for (kind, value) in &self.0 {
            if contains(bytes, value.as_bytes()) {
                finds.push(format!("{kind} in {place}"));
            }
        }
        if let Some(kind) = looks_like_entras(bytes) {
            finds.push(format!("{kind} of Entra in {place}"));
        }
    }
}

/// What was passed to processes: the place in `/proc`, and what stands there.
type Passed = BTreeSet<(String, Vec<u8>)>;

/// The arguments and variables of every process that was given a folder, however short it lived.
pub(crate) struct Started {
    seen: Arc<Mutex<Passed>>,
    watching: AbortHandle,
}

impl Started {
    /// Watches from now on.
    pub(crate) fn under(folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let seen = Arc::<Mutex<Passed>>::default();
        let sink = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut rounds = tokio::time::interval(Duration::from_millis(10));
            loop {
                rounds.tick().await;
                let found = passed(&folder);
                sink.lock().expect("what was seen").extend(found);
            }
        });
        Self {
            seen,
            watching: watching.abort_handle(),
        }
    }

    fn seen(&self) -> Passed {
        self.seen.lock().expect("what was seen").clone()
    }

    /// Whether one of them was started with this among its arguments.
    pub(crate) fn has(&self, argument: &str) -> bool {
        let seen = self.seen();
        seen.iter()
            .any(|(place, bytes)| place.contains("cmdline") && contains(bytes, argument.as_bytes()))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn passed(folder: &str) -> Vec<(String, Vec<u8>)> {
    let places =
        |process: u32| ["cmdline", "environ"].map(|part| format!("/proc/{process}/{part}"));
    let places = program::processes_with(folder).into_iter().flat_map(places);
    places
        // It may have ended since.
        .filter_map(|place| Some((place.clone(), fs::read(place).ok()?)))
        .collect()
}

/// The values behind a marker, as they stand there and decoded.
fn after(text: &str, marker: &str) -> Vec<String> {
    let value_of = |rest: &str| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_graphic() || "\"&;,".contains(letter))
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    text.match_indices(marker)
        .map(|(at, _)| value_of(&text[at + marker.len()..]))
        .filter(|value| value.len() >= SHORTEST)
        .flat_map(|value| {
            let decoded = url::form_urlencoded::parse(value.as_bytes())
                .map(|(key, _)| key.into_owned())
                .next();
            [Some(value), decoded]
        })
        .flatten()
        .collect()
}

/// What passes between the gateway and Entra is not seen, but it has a shape: access and id
/// tokens are JWTs, codes and refresh tokens are `1.` and a long random text.
fn looks_like_entras(bytes: &[u8]) -> Option<&'static str> {
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

/// The gateway's seals, `v1.{key}.{nonce}.{ciphertext}`, are as random as a token and may lie
/// where they like.
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

/// Every regular file below a folder, but the programs that were installed there.
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
