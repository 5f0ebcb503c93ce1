//! The key file: what a tenant keeps across restarts. Its owner alone can read it.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::private_file;

pub(super) const FILE: &str = "entra-keys.json";
pub(super) const FORMAT: u32 = 1;

/// The keys as they lie in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) version: u32,
    /// PKCS#8 in PEM; the first one signs.
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

    /// Puts the file in place in one step.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        private_file::write(folder, FILE, &serde_json::to_vec(self)?)
    }
}
