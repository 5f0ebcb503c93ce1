//! The tenant's keys: two RSA keys that sign, and one that seals what only the emulator reads.
//!
//! Invariant: private keys leave this module only towards the key file, which its owner alone
//! can read. What is sealed for one purpose and binding opens for no other.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kept;
use crate::pem;
use crate::random;

const FILE: &str = "entra-keys.json";
const FORMAT: u32 = 1;
const NONCE: usize = 12;

/// What a sealed value is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A sign-in under way, in a form of a page.
    Flow,
    /// Who is signed in, in a cookie.
    Accounts,
    /// A refresh token.
    Refresh,
}

/// A key that signs tokens.
pub(crate) struct SigningKey {
    /// The key id, `kid` in tokens.
    pub(crate) kid: String,
    /// The modulus, base64url.
    pub(crate) n: String,
    /// The exponent, base64url.
    pub(crate) e: String,
    private: EncodingKey,
}

/// All keys of the tenant.
pub(crate) struct Keys {
    signing: Vec<SigningKey>,
    sealing: RandomizedNonceKey,
}

impl Keys {
    /// Reads the keys from `folder`, or makes new ones and keeps them there. RSA keys take their
    /// time: call it where blocking is allowed.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            return Material::generate()?.try_into();
        };
        let file = folder.join(FILE);
        if let Some(kept) = Material::read(&file)? {
            return kept.try_into();
        }
        let made = Material::generate()?;
        kept::write(folder, FILE, &serde_json::to_vec(&made)?)?;
        made.try_into()
    }

    /// The keys that clients may meet in tokens.
    pub(crate) fn signing(&self) -> &[SigningKey] {
        &self.signing
    }

    /// The key that signs today.
    pub(crate) fn active(&self) -> &SigningKey {
        &self.signing[0]
    }

    /// Seals `value` for `purpose`; it opens only with the same `binding`.
    pub(crate) fn seal<T: Serialize>(
        &self,
        purpose: Purpose,
        binding: &str,
        value: &T,
    ) -> anyhow::Result<String> {
        let mut sealed = serde_json::to_vec(value)?;
        let nonce = self
            .sealing
            .seal_in_place_append_tag(context(purpose, binding), &mut sealed)
            .map_err(|_| anyhow::anyhow!("sealing failed"))?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens what [`Keys::seal`] made, or nothing.
    pub(crate) fn open_sealed<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        binding: &str,
        sealed: &str,
    ) -> Option<T> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .sealing
            .open_in_place(nonce, context(purpose, binding), body)
            .ok()?;
        serde_json::from_slice(plain).ok()
    }
}

impl SigningKey {
    /// Signs a JWS signing input with RS256; the signature as base64url.
    pub(crate) fn sign(&self, input: &str) -> anyhow::Result<String> {
        Ok(jsonwebtoken::crypto::sign(
            input.as_bytes(),
            &self.private,
            Algorithm::RS256,
        )?)
    }

    /// Whether `signature` is this key's over `input`.
    pub(crate) fn verifies(&self, input: &str, signature: &str) -> bool {
        DecodingKey::from_rsa_components(&self.n, &self.e)
            .and_then(|key| {
                jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::RS256)
            })
            .unwrap_or(false)
    }

    fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let private = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let public = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        let AlgorithmParameters::RSA(public) = public.algorithm else {
            anyhow::bail!("not an RSA key");
        };
        let mut kid = random::sha256(format!("{}.{}", public.n, public.e));
        kid.truncate(27);
        Ok(Self {
            kid,
            n: public.n,
            e: public.e,
            private,
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn context(purpose: Purpose, binding: &str) -> Aad<String> {
    Aad::from(format!("{purpose:?}:{binding}"))
}

/// The keys as they lie in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Material {
    version: u32,
    /// PKCS#8 in PEM; the first one signs.
    signing: Vec<String>,
    /// 32 bytes, base64.
    sealing: String,
}

impl Material {
    fn generate() -> anyhow::Result<Self> {
        Ok(Self {
            version: FORMAT,
            signing: vec![rsa_pem()?, rsa_pem()?],
            sealing: STANDARD.encode(random::bytes::<32>()),
        })
    }

    fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let hint = || {
            format!(
                "the emulator's keys in {} cannot be used; hint: delete the file, and sign in again",
                file.display()
            )
        };
        let Some(text) = kept::read(file).with_context(hint)? else {
            return Ok(None);
        };
        let material: Self = serde_json::from_slice(&text).with_context(hint)?;
        anyhow::ensure!(material.version == FORMAT, hint());
        Ok(Some(material))
    }
}

impl TryFrom<Material> for Keys {
    type Error = anyhow::Error;

    fn try_from(material: Material) -> anyhow::Result<Self> {
        let signing = material
            .signing
            .iter()
            .map(|pem| SigningKey::from_pem(pem))
            .collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(signing.len() > 1, "a tenant has at least two signing keys");
        let secret = STANDARD.decode(material.sealing)?;
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &secret)
            .map_err(|_| anyhow::anyhow!("the sealing key is not 32 bytes long"))?;
        Ok(Self { signing, sealing })
    }
}

fn rsa_pem() -> anyhow::Result<String> {
    let refused = |_| anyhow::anyhow!("no RSA key could be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(refused)?;
    let der = pair.as_der().map_err(refused)?;
    let der: &Pkcs8V1Der<'_> = &der;
    Ok(pem::encode("PRIVATE KEY", der.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::{Keys, Purpose};

    #[test]
    fn keeps_keys_in_a_file_of_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("emulator");
        let first = Keys::open(Some(&data)).unwrap();
        let sealed = first.seal(Purpose::Refresh, "", &"kept").unwrap();
        let again = Keys::open(Some(&data)).unwrap();
        assert_eq!(first.active().kid, again.active().kid);
        assert_ne!(first.signing()[0].kid, first.signing()[1].kid);
        assert_eq!(
            again.open_sealed::<String>(Purpose::Refresh, "", &sealed),
            Some("kept".to_owned())
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = std::fs::metadata(data.join(super::FILE)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(data.join(super::FILE), "{}").unwrap();
        let error = Keys::open(Some(&data)).unwrap_err();
        assert!(
            error.to_string().contains("hint: delete the file"),
            "{error}"
        );
    }

    #[test]
    fn opens_nothing_for_another_purpose_or_binding() {
        let keys = Keys::open(None).unwrap();
        let sealed = keys.seal(Purpose::Flow, "this browser", &7).unwrap();
        let open = |purpose, binding, text: &str| keys.open_sealed::<u32>(purpose, binding, text);
        assert_eq!(open(Purpose::Flow, "this browser", &sealed), Some(7));
        assert_eq!(open(Purpose::Flow, "another", &sealed), None);
        assert_eq!(open(Purpose::Refresh, "this browser", &sealed), None);
        assert_eq!(open(Purpose::Flow, "this browser", &sealed[1..]), None);
        assert_eq!(open(Purpose::Flow, "this browser", "AAAA"), None);
        assert_ne!(
            keys.seal(Purpose::Flow, "this browser", &7).unwrap(),
            sealed
        );
    }
}
