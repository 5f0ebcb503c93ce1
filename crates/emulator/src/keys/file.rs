//! The key file, which keeps the keys across restarts. Only its owner can read it.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::private_file;

pub(super) const FILE: &str = "entra-keys.json";
pub(super) const FORMAT: u32 = 1;

/// The content of the key file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) version: u32,
    /// PKCS#8 in PEM. The first one signs.
    pub(super) signing: Vec<String>,
    /// 32 bytes, base64.
    pub(super) sealing: String,
}

impl KeyFile {
    pub(super) fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let hint = || {
            format!(
                "the emulator's keys in {} cannot be used; hint: delete the file, and sign in again",
                file.display()
            )
        };
        let Some(text) = private_file::read(file).with_context(hint)? else {
            return Ok(None);
        };
        let key_file: Self = serde_json::from_slice(&text).with_context(hint)?;
        anyhow::ensure!(key_file.version == FORMAT, hint());
        Ok(Some(key_file))
    }

    /// Writes the file atomically.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        private_file::write(folder, FILE, &serde_json::to_vec(self)?)
    }
}
