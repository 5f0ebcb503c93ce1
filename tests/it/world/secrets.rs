//! Every secret that passed a door, and the search for it where it must not be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Servers, program};

/// What precedes a secret in what clients say to the gateway, and what kind it is.
const SAID: [(&str, &str); 6] = [
    ("Bearer ", "session key"),
    ("x-desk-key: ", "stored secret"),
    ("code=", "authorization code"),
    ("code_verifier=", "PKCE verifier"),
    ("refresh_token=", "refresh token"),
    ("token=", "revoked token"),
];

/// The same for its answers.
const ANSWERED: [(&str, &str); 3] = [
    ("\"access_token\":\"", "session key"),
    ("\"refresh_token\":\"", "refresh token"),
    ("code=", "authorization code"),
];

/// The shortest value that counts: anything shorter stands in files by chance.
const SHORTEST: usize = 20;

/// Secrets by kind.
pub(crate) struct Secrets(BTreeSet<(&'static str, String)>);

impl Secrets {
    /// All that passed between clients and the gateway so far.
    pub(crate) fn seen(servers: &Servers) -> Self {
        let mut found = BTreeSet::new();
        for (texts, markers) in [
            (servers.front.said(), &SAID[..]),
            (servers.front.answered(), &ANSWERED[..]),
        ] {
            for (marker, kind) in markers {
                for value in texts.iter().flat_map(|text| after(text, marker)) {
                    found.insert((*kind, value));
                }
            }
        }
        Self(found)
    }

    /// How many different ones of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|(one, _)| *one == kind).count()
    }

    /// Looks for them in every file under `folder` and in the arguments and variables of every
    /// process that was given it.
    pub(crate) fn search(&self, folder: &Path) -> Vec<String> {
        let mut finds = Vec::new();
        for file in files(folder) {
            let bytes = fs::read(&file).expect("a file of ours");
            self.look(&file.display().to_string(), &bytes, &mut finds);
        }
        for process in program::processes_with(&folder.display().to_string()) {
            for part in ["cmdline", "environ"] {
                let place = format!("/proc/{process}/{part}");
                // It may have ended since.
                let bytes = fs::read(&place).unwrap_or_default();
                self.look(&place, &bytes, &mut finds);
            }
        }
        finds
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
