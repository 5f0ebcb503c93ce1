//! The named secrets, and texts that contain their values.
//!
//! Invariant: a value is never printed, and is in no error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use model::config::gateway::{GatewayConfig, SecretSource, Template, TemplatePart};
use secrecy::{ExposeSecret, SecretString};

/// The values of a configuration's secrets, by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, SecretString>,
    /// The folder to which paths of the configuration are relative.
    base: PathBuf,
}

/// Why a secret has no usable value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("the secret `{name}` cannot be read from {}: {error}; hint: {hint}", path.display())]
    File {
        /// The secret.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Its variable is not set.
    #[error("the secret `{name}` is not in the environment; hint: set {variable}")]
    Environment {
        /// The secret.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The value is empty or a placeholder of an example.
    #[error("the secret `{name}` is empty or a placeholder; hint: give it a value of its own")]
    Placeholder {
        /// The secret.
        name: String,
    },
    /// A text names a secret that has no value.
    #[error("the secret `{name}` is named but has no value; hint: add a [secrets.{name}]")]
    Missing {
        /// The secret.
        name: String,
    },
}

impl Secrets {
    /// Finds the value of every secret of `config`: files relative to `base`, the folder of
    /// `gateway.toml`, and variables through `environment`.
    ///
    /// # Errors
    /// The first secret without a usable value.
    pub fn resolve(
        config: &GatewayConfig,
        base: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SecretError> {
        let mut secrets = Self {
            base: base.to_owned(),
            ..Self::default()
        };
        for (name, source) in &config.secrets {
            let value = read(name, source, base, &environment)?;
            secrets = secrets.with(name, value)?;
        }
        Ok(secrets)
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// If the value is empty or a placeholder.
    pub fn with(mut self, name: &str, value: SecretString) -> Result<Self, SecretError> {
        if is_placeholder(value.expose_secret()) {
            return Err(SecretError::Placeholder {
                name: name.to_owned(),
            });
        }
        self.values.insert(name.to_owned(), value);
        Ok(self)
    }

    /// Returns the text, with the names replaced by their values.
    pub(crate) fn fill(&self, template: &Template) -> Result<SecretString, SecretError> {
        let mut text = String::new();
        for part in template.parts() {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Secret(name) => text.push_str(self.value(name)?.expose_secret()),
            }
        }
        Ok(text.into())
    }

    /// Returns the values that a text names.
    pub(crate) fn named(&self, template: &Template) -> Result<Vec<SecretString>, SecretError> {
        let names = template.secrets();
        names.map(|name| self.value(name).cloned()).collect()
    }

    /// Resolves a path of the configuration, which is relative to `gateway.toml`.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    fn value(&self, name: &str) -> Result<&SecretString, SecretError> {
        self.values.get(name).ok_or_else(|| SecretError::Missing {
            name: name.to_owned(),
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

fn read(
    name: &str,
    source: &SecretSource,
    base: &Path,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<SecretString, SecretError> {
    match source {
        SecretSource::File(path) => {
            // On Windows, a path that begins with a backslash is not absolute, but relative to the
            // current drive.
            let hint = if path.has_root() {
                "put the secret there, and let the gateway's user read it"
            } else {
                "it is looked for relative to gateway.toml"
            };
            let path = base.join(path);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).into()),
                Err(error) => Err(SecretError::File {
                    name: name.to_owned(),
                    path,
                    error,
                    hint,
                }),
            }
        }
        SecretSource::Env(variable) => {
            environment(variable)
                .map(Into::into)
                .ok_or_else(|| SecretError::Environment {
                    name: name.to_owned(),
                    variable: variable.clone(),
                })
        }
        SecretSource::Value(value) => Ok(value.expose().into()),
    }
}

fn is_placeholder(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    value.is_empty()
        || [
            "changeme",
            "change-me",
            "placeholder",
            "secret",
            "password",
            "todo",
            "xxx",
        ]
        .contains(&value.as_str())
        || (value.starts_with('<') && value.ends_with('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(source: &str) -> GatewayConfig {
        let text = format!(
            "public_url = \"https://g.example\"\n\
             [entra]\nauthority = \"https://login.example/t/v2.0\"\nclient_id = \"c\"\n\
             [secrets.key]\n{source}\n\
             [servers.a]\nurl = \"http://127.0.0.1:1/mcp\"\nheaders = {{ x-key = \"k={{{{key}}}}\" }}\n"
        );
        GatewayConfig::parse(&text).unwrap()
    }

    fn resolve(source: &str, base: &Path) -> Result<String, SecretError> {
        let config = config(source);
        let found = |name: &str| (name == "KEY").then(|| "from-environment".to_owned());
        let secrets = Secrets::resolve(&config, base, found)?;
        assert!(!format!("{secrets:?}").contains("from-"));
        let server = &config.servers.values().next().unwrap();
        Ok(secrets
            .fill(&server.headers["x-key"])?
            .expose_secret()
            .to_owned())
    }

    #[test]
    fn secret_is_read_from_file_variable_or_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "from-file\r\n").unwrap();
        let value = |source| resolve(source, folder.path()).unwrap();
        assert_eq!(value("file = \"key\""), "k=from-file");
        assert_eq!(value("env = \"KEY\""), "k=from-environment");
        assert_eq!(value("value = \"from-here\""), "k=from-here");
    }

    #[test]
    fn t60_missing_or_placeholder_secret_prevents_start() {
        let folder = tempfile::tempdir().unwrap();
        for (source, hint) in [
            ("file = \"absent\"", "relative to gateway.toml"),
            (
                "file = \"/nonexistent/key\"",
                "let the gateway's user read it",
            ),
            ("env = \"OTHER\"", "set OTHER"),
            ("value = \"\"", "a value of its own"),
            ("value = \"<your key>\"", "a value of its own"),
            ("value = \"ChangeMe\"", "a value of its own"),
        ] {
            let error = resolve(source, folder.path()).unwrap_err().to_string();
            assert!(error.contains("`key`") && error.contains(hint), "{error}");
        }
    }
}
