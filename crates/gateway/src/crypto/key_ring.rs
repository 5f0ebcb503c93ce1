//! Sealing with AES-256-GCM under a ring of keys.
//!
//! Invariants: a sealed value opens only for the purpose it was made for. Opening any other value
//! returns `None`, whatever is wrong with it. Keys are in no log and in no error.
//!
//! A sealed value is `v1.{key id}.{nonce}.{ciphertext}`. The first key of the ring seals, and all keys
//! open. So a key is replaced by putting a new one in front of it and removing the old one later.

use std::fmt;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{base64url, random};

const VERSION: &str = "v1";

/// The purpose of a sealed value. It opens for no other purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// An access token of the gateway.
    AccessToken,
    /// Tokens of Entra in the store.
    ProviderTokens,
    /// A sign-in at Entra, in a cookie or in the store.
    SignIn,
    /// The successor of a refresh token, stored in case the response is lost.
    Successor,
    /// The cookie that identifies a browser.
    BrowserCookie,
    /// The cookie that stores the user who signed in last.
    UserCookie,
    /// The authorization request in a consent form.
    ConsentForm,
    /// The id of a backend's MCP session.
    McpSession,
    /// The message endpoint of a backend's HTTP+SSE session.
    MessageEndpoint,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            // The label is part of what is sealed. Another label would end all sessions.
            Self::AccessToken => "session-key",
            Self::ProviderTokens => "upstream-tokens",
            Self::SignIn => "sign-in",
            Self::Successor => "successor",
            Self::BrowserCookie => "browser-cookie",
            Self::UserCookie => "person-cookie",
            Self::ConsentForm => "consent-form",
            Self::McpSession => "mcp-session",
            Self::MessageEndpoint => "message-endpoint",
        }
    }
}

/// The keys, newest first. There is at least one.
pub(crate) struct KeyRing {
    newest: Key,
    older: Vec<Key>,
}

struct Key {
    id: String,
    key: RandomizedNonceKey,
}

impl KeyRing {
    /// Reads the ring from `path`. If the file does not exist, creates it with one key, readable by
    /// its owner only.
    pub(crate) fn open_file(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            create(path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        check_permissions(path)?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text.into()).with_context(|| format!("in {}", path.display()))
    }

    /// Reads the lines `id base64` of a ring, newest first.
    pub(crate) fn parse(text: &SecretString) -> anyhow::Result<Self> {
        let lines = text.expose_secret().lines().map(str::trim);
        let mut keys = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(Key::parse)
            .collect::<anyhow::Result<Vec<_>>>()?;
        if keys.is_empty() {
            bail!(
                "there is no session key; hint: write one per line: an id, a space and 32 bytes in base64"
            );
        }
        for (place, key) in keys.iter().enumerate() {
            if keys[..place].iter().any(|before| before.id == key.id) {
                bail!(
                    "two session keys have the id `{}`; hint: give each key an id of its own",
                    key.id
                );
            }
        }
        let newest = keys.remove(0);
        Ok(Self {
            newest,
            older: keys,
        })
    }

    /// Seals `plain` for `purpose`.
    ///
    /// # Panics
    ///
    /// Above 64 GiB. No value here is that long.
    pub(crate) fn seal(&self, purpose: Purpose, plain: &[u8]) -> String {
        let Key { id, key } = &self.newest;
        let mut sealed = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(associated(id, purpose), &mut sealed)
            .expect("AES-GCM seals anything below 64 GiB");
        let nonce = base64url(nonce.as_ref());
        format!("{VERSION}.{id}.{nonce}.{}", base64url(&sealed))
    }

    /// Opens what [`Self::seal`] made for the same purpose.
    pub(crate) fn open(&self, purpose: Purpose, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let mut parts = sealed.split('.');
        let (version, id) = (parts.next()?, parts.next()?);
        let (nonce, text) = (parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let key = self.key(id)?;
        let mut nonce_bytes = [0; NONCE_LEN];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut nonce_bytes).ok()?;
        if length != NONCE_LEN {
            return None;
        }
        let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let nonce = Nonce::assume_unique_for_key(nonce_bytes);
        let length = key
            .key
            .open_in_place(nonce, associated(id, purpose), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// Seals `value` as JSON.
    pub(crate) fn seal_json(&self, purpose: Purpose, value: &impl serde::Serialize) -> String {
        let plain = Zeroizing::new(serde_json::to_vec(value).expect("our own types are JSON"));
        self.seal(purpose, &plain)
    }

    /// Opens what [`Self::seal_json`] made for the same purpose.
    pub(crate) fn open_json<T: serde::de::DeserializeOwned>(
        &self,
        purpose: Purpose,
        sealed: &str,
    ) -> Option<T> {
        serde_json::from_slice(&self.open(purpose, sealed)?).ok()
    }

    fn key(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.newest)
            .chain(&self.older)
            .find(|key| key.id == id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing")
            .field(&self.newest.id)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let malformed = "a line is not an id, a space and 32 bytes in base64; \
            hint: `openssl rand -base64 32` makes a key";
        let (id, text) = line.split_once(char::is_whitespace).context(malformed)?;
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok().context(malformed)?);
        let named = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
        if !named || bytes.len() != 32 {
            bail!(malformed);
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            bail!(
                "the session key `{id}` is not random; hint: `openssl rand -base64 32` makes one"
            );
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
            .ok()
            .context(malformed)?;
        Ok(Self {
            id: id.to_owned(),
            key,
        })
    }
}

/// Binds a seal to its version, its key and its purpose.
fn associated(id: &str, purpose: Purpose) -> Aad<String> {
    Aad::from(format!("{VERSION}.{id}.{}", purpose.label()))
}

fn create(path: &Path) -> std::io::Result<()> {
    let id: String = random::bytes::<4>().map(|b| format!("{b:02x}")).concat();
    let key = Zeroizing::new(STANDARD.encode(random::bytes::<32>()));
    let mut options = files::private_options();
    let mut file = options.write(true).create_new(true).open(path)?;
    writeln!(
        file,
        "# Keys that seal sessions, newest first. They open everything in the store."
    )?;
    writeln!(file, "{id} {}", key.as_str())?;
    file.sync_all()
}

fn check_permissions(path: &Path) -> anyhow::Result<()> {
    if !files::is_private(&std::fs::metadata(path)?) {
        bail!(
            "{path} can be read by others; hint: chmod 600 {path}",
            path = path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[(&str, u8)]) -> KeyRing {
        let line = |(id, seed): &(&str, u8)| {
            let mut bytes = [*seed; 32];
            bytes[0] ^= 1;
            format!("{id} {}\n", STANDARD.encode(bytes))
        };
        KeyRing::parse(&keys.iter().map(line).collect::<String>().into()).unwrap()
    }

    #[test]
    fn sealed_value_opens_for_its_purpose_and_after_rotation() {
        let old = ring(&[("a", 1)]);
        let sealed = old.seal(Purpose::AccessToken, b"hello");
        assert!(sealed.starts_with("v1.a."));
        assert_ne!(sealed, old.seal(Purpose::AccessToken, b"hello"));
        let rotated = ring(&[("b", 2), ("a", 1)]);
        assert_eq!(
            *rotated.open(Purpose::AccessToken, &sealed).unwrap(),
            b"hello"
        );
        assert!(rotated.seal(Purpose::AccessToken, b"").starts_with("v1.b."));
        assert!(old.open(Purpose::BrowserCookie, &sealed).is_none());
        assert!(
            ring(&[("b", 2)])
                .open(Purpose::AccessToken, &sealed)
                .is_none()
        );
        assert!(
            ring(&[("a", 2)])
                .open(Purpose::AccessToken, &sealed)
                .is_none()
        );
    }

    #[test]
    fn t51_altered_sealed_value_does_not_open() {
        let ring = ring(&[("a", 1)]);
        let sealed = ring.seal(Purpose::AccessToken, b"some claims of a session");
        for position in 0..sealed.len() {
            for bit in 0..8 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                if let Ok(text) = String::from_utf8(bytes) {
                    assert!(ring.open(Purpose::AccessToken, &text).is_none(), "{text}");
                }
            }
        }
        for cut in 0..sealed.len() {
            assert!(ring.open(Purpose::AccessToken, &sealed[..cut]).is_none());
        }
        for longer in [
            format!("{sealed}."),
            format!("{sealed}A"),
            format!("{sealed}="),
        ] {
            assert!(ring.open(Purpose::AccessToken, &longer).is_none());
        }
    }

    #[test]
    fn key_file_is_created_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let sealed = KeyRing::open_file(&path)
            .unwrap()
            .seal(Purpose::ConsentForm, b"x");
        assert!(
            KeyRing::open_file(&path)
                .unwrap()
                .open(Purpose::ConsentForm, &sealed)
                .is_some()
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(
                KeyRing::open_file(&path)
                    .unwrap_err()
                    .to_string()
                    .contains("chmod 600")
            );
        }
    }

    #[test]
    fn duplicate_key_id_is_rejected() {
        let line = |seed: u8| format!("a {}\n", STANDARD.encode([seed, 1].repeat(16)));
        let error = KeyRing::parse(&(line(2) + &line(3)).into()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("two session keys have the id `a`")
        );
    }

    #[test]
    fn t60_weak_or_malformed_key_is_rejected() {
        for text in [
            "",
            "a",
            "a short",
            "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "a.b x",
        ] {
            assert!(KeyRing::parse(&text.to_owned().into()).is_err(), "{text}");
        }
    }
}
