//! Reads and edits `config.toml`. Edits keep the rest of the file and are written by rename.

use std::io;
use std::path::{Path, PathBuf};

use model::ServerName;
use model::config::{BridgeConfig, Contradiction, ServerConfig, field_at, offset_of};
use toml_edit::{DocumentMut, Item, Table};

/// Errors of reading or changing the configuration.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists and cannot be read or written.
    #[error("{path} cannot be used: {reason}; hint: check who may read and write it", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The content is invalid.
    #[error(
        "{path}, line {line}, column {column}: {reason}; hint: correct the file, Postern reads it again by itself",
        path = path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The field and what is wrong with it.
        reason: String,
    },
}

/// Reads the file. A missing file counts as empty.
///
/// # Errors
/// Returns [`ConfigError`] if the file cannot be read or is invalid.
pub(crate) fn read(path: &Path) -> Result<BridgeConfig, ConfigError> {
    let text = text(path)?;
    let config: BridgeConfig =
        toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
    let check = config.check();
    check.map_err(|wrong| contradictory(path, &text, &wrong))?;
    Ok(config)
}

/// Adds or replaces a server. Leaves everything else unchanged.
///
/// # Errors
/// Returns [`ConfigError`]. The file is then unchanged.
pub(crate) fn put(
    path: &Path,
    name: &ServerName,
    server: &ServerConfig,
) -> Result<(), ConfigError> {
    edit(path, |document| {
        let servers = document.entry("servers").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let fields = toml_edit::ser::to_document(server).map(|fields| fields.as_table().clone());
        if let (Some(servers), Ok(fields)) = (servers.as_table_like_mut(), fields) {
            servers.insert(name.as_str(), Item::Table(fields));
        }
    })
}

/// Removes a server.
///
/// # Errors
/// Returns [`ConfigError`]. The file is then unchanged.
pub(crate) fn remove(path: &Path, name: &ServerName) -> Result<(), ConfigError> {
    edit(path, |document| {
        if let Some(servers) = document
            .get_mut("servers")
            .and_then(Item::as_table_like_mut)
        {
            servers.remove(name.as_str());
        }
    })
}

fn edit(path: &Path, change: impl FnOnce(&mut DocumentMut)) -> Result<(), ConfigError> {
    let before = text(path)?;
    read(path)?;
    let mut document: DocumentMut =
        before
            .parse()
            .map_err(|error: toml_edit::TomlError| ConfigError::Io {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
    if before.trim().is_empty() {
        document.insert("version", toml_edit::value(1));
    }
    change(&mut document);
    write(path, &document.to_string()).map_err(|error| ConfigError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn text(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(ConfigError::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// Writes a temporary file next to the old one and renames it over it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    // A symbolic link stays one: some users keep their settings in another folder.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    files::replace(&path, text.as_bytes())
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let field = field_at(text, offset);
    invalid(path, text, offset, field, error.message())
}

fn contradictory(path: &Path, text: &str, wrong: &Contradiction) -> ConfigError {
    let offset = offset_of(text, &wrong.path).unwrap_or(0);
    let field = Some(wrong.path.join("."));
    invalid(path, text, offset, field, &wrong.reason)
}

fn invalid(
    path: &Path,
    text: &str,
    offset: usize,
    field: Option<String>,
    why: &str,
) -> ConfigError {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    ConfigError::Invalid {
        path: path.to_owned(),
        line,
        column,
        reason: match field {
            Some(field) => format!("`{field}`: {why}"),
            None => why.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use model::config::ServerConfig;

    use super::{ConfigError, put, read, remove};

    fn server(url: &str) -> ServerConfig {
        ServerConfig::at(url.parse().unwrap())
    }

    #[test]
    fn edit_keeps_comments_and_other_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.toml");
        put(
            &path,
            &"one".parse().unwrap(),
            &server("https://a.example/mcp"),
        )
        .unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("\n# mine\n[bridge]\nport = 5000 # odd\n");
        std::fs::write(&path, &text).unwrap();
        put(
            &path,
            &"two".parse().unwrap(),
            &server("https://b.example/mcp"),
        )
        .unwrap();
        remove(&path, &"one".parse().unwrap()).unwrap();
        let config = read(&path).unwrap();
        assert_eq!(config.bridge.port, 5000);
        assert_eq!(
            config
                .servers
                .keys()
                .map(|name| name.as_str())
                .collect::<Vec<_>>(),
            ["two"]
        );
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("port = 5000 # odd")
        );
    }

    #[test]
    fn config_error_names_line_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "version = 1\n[bridge]\nprot = 5\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, ConfigError::Invalid { line: 3, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("prot"), "{error}");
        std::fs::write(&path, "[bridge]\nsign_in_wait_seconds = 3601\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, ConfigError::Invalid { line: 2, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("3600"), "{error}");
        std::fs::write(&path, "[bridge]\nport = 'many'\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("`bridge.port`"),
            "{error}"
        );
        std::fs::write(&path, "[servers.x]\nurl = 'http://far.example/'\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("https"));
    }

    #[test]
    fn remote_http_needs_allow_http_and_forbids_auth() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let reading = |more: &str| {
            let text = format!("[servers.x]\nurl = 'http://far.example/mcp?k=hush'\n{more}\n");
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        let refused = reading("").unwrap_err();
        for part in ["line 2", "`servers.x.url`", "https", "`allow_http = true`"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(!refused.contains("hush"), "{refused}");
        let refused =
            reading("allow_http = true\nauth = { kind = 'client', client_id = 'c' }").unwrap_err();
        assert!(
            refused.contains("line 4") && refused.contains("`servers.x.auth`"),
            "{refused}"
        );
        let allowed = reading("allow_http = true").unwrap();
        assert!(
            allowed
                .servers
                .values()
                .all(|server| server.url.is_exposed())
        );
    }

    #[test]
    fn invalid_header_error_names_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let refusal = |headers: &str| {
            let text = format!(
                "[servers.crm]\nurl = 'https://a.example/'\n[servers.crm.headers]\nX-Team = 'blue'\n{headers}\n"
            );
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        for (headers, expected) in [
            (
                "Content-Type = 'text/plain'",
                "`servers.crm.headers.Content-Type`",
            ),
            (
                "authorization = 'Basic eA=='",
                "`servers.crm.headers.authorization`",
            ),
            ("X-Key = { secret = 'No!' }", "`servers.crm.headers.X-Key"),
        ] {
            let error = refusal(headers).unwrap_err();
            assert!(error.contains("line 5"), "{error}");
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("hint:"), "{error}");
        }
        let open = "authorization = 'Basic eA=='\n[servers.crm.auth]\nkind = 'none'";
        assert!(refusal(open).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn edit_keeps_symbolic_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("config.toml"), dir.path().join("mine.toml"));
        std::fs::write(&target, "version = 1\n").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        put(
            &path,
            &"one".parse().unwrap(),
            &server("https://a.example/mcp"),
        )
        .unwrap();
        assert!(path.is_symlink());
        assert!(read(&target).unwrap().servers.len() == 1);
    }
}
